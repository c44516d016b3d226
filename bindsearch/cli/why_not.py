"""`bindsearch why-not`: explain why a file is not among the results."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING

from bindsearch.cli.listing import explanation
from bindsearch.cli.parser import Parser, Verbs, add_common, add_filters, positive, words_of
from bindsearch.cli.screen import Screen, escaped, shown
from bindsearch.cli.search import add_query_options, parse_query, request_of
from bindsearch.cli.wording import chance

if TYPE_CHECKING:
    from bindsearch.results import WhyNot

DESCRIPTION = """\
Explain why a file is, or is not, among the results of a search: its rank and score, with what each operand adds to the
score; the filter that removed it; or that it is not in the library, or cannot be read.
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
        help="explain why a file is not found",
        usage="%(prog)s FILE WORD [+ WORD] [- WORD] ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="words",
    )
    parser.add_argument("file", metavar="FILE", help="the file that you expected to find")
    parser.add_argument(
        "words", nargs="+", metavar="WORD", help="a query as in `search`; `-` reads it from standard input"
    )
    add_query_options(parser)
    add_filters(parser)
    parser.add_argument(
        "--max-expect",
        type=positive,
        default=math.inf,
        metavar="E",
        help="as in `search`: only results with an E-value of at most E",
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain the place of the file in the search."""
    from bindsearch.library.library import Library

    request = request_of(parse_query(words_of(args)), args)
    with Library.open(args.library, create=False) as library:
        explained = library.why_not(args.file, request)
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(explained.as_json()))
    else:
        _write(explained, screen)
    return 0


def _write(explained: WhyNot, screen: Screen) -> None:
    screen.write(f"{shown(explained.path)}: {escaped(explained.reason)}")
    if explained.score is not None and explained.expect is not None:
        rank = f"number {explained.rank}, " if explained.rank else ""
        prefix = "without filters: " if explained.verdict == "filtered" else ""
        screen.write(f"    {prefix}{rank}score {explained.score:.2f}, by chance {chance(explained.expect)}")
    for line in explanation(explained.why):
        screen.write(screen.styled(f"    {line}", "dim"))
