"""`bindsearch why-not`: why a file is not among the results."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from bindsearch.cli.listing import reasons
from bindsearch.cli.parser import Parser, Verbs, add_common, add_filters, positive, tags_of, where_of
from bindsearch.cli.screen import Screen, escaped, shown
from bindsearch.cli.search import add_question, question_of
from bindsearch.cli.wording import chance

if TYPE_CHECKING:
    from bindsearch.results import WhyNot

DESCRIPTION = """\
Say why a file is not among the results of a search, or that it is: its number in the full list, its score and what
it is made of, or the filter that removed it, or that it is not in the library, or cannot be read.
"""
EPILOG = """\
examples:
  bindsearch why-not barking.wav "a dog"
  bindsearch why-not IMG_2041.jpg dog --and rain --not night --under ~/Pictures
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "why-not",
        help="say why a file is not found",
        usage="%(prog)s FILE WORD [+ WORD] [- WORD] ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="words",
    )
    parser.add_argument("file", metavar="FILE", help="the file that is missed")
    parser.add_argument("words", nargs="+", metavar="WORD", help="a query as in `search`; `-` reads standard input")
    add_question(parser)
    add_filters(parser)
    parser.add_argument(
        "--max-expect",
        type=positive,
        default=math.inf,
        metavar="E",
        help="as in `search`: results less likely by chance",
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look for the file and tell."""
    from bindsearch.library.library import Library

    asked = question_of(args)
    with Library.open(args.library, create=False) as library:
        told = library.why_not(
            args.file,
            asked.query,
            also=asked.also,
            excluding=asked.excluding,
            more_like=asked.more_like,
            less_like=asked.less_like,
            max_expect=args.max_expect,
            k=args.k,
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=where_of(args),
            tag=tags_of(args),
            raw=args.raw,
        )
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(told.as_json()))
    else:
        _write(told, screen)
    return 0


def _write(told: WhyNot, screen: Screen) -> None:
    screen.write(f"{shown(told.path)}: {escaped(told.reason)}")
    if told.score is not None and told.expect is not None:
        rank = f"number {told.rank}, " if told.rank else ""
        otherwise = "without filters: " if told.verdict == "filtered" else ""
        screen.write(f"    {otherwise}{rank}score {told.score:.2f}, by chance {chance(told.expect)}")
    for line in reasons(told.why):
        screen.write(screen.styled(f"    {line}", "dim"))
