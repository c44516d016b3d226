"""`bindsearch search`: find things by meaning."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bindsearch.cli.listing import show
from bindsearch.cli.parser import Parser, Verbs, add_common, add_ranking
from bindsearch.cli.screen import never_fail_to_decode

if TYPE_CHECKING:
    from bindsearch.query import Query

DESCRIPTION = """\
Find pictures, sounds, videos and texts by meaning. A word that names a file stands for that file, any other for
itself; `+` and `-` between words add and take away, and a number before a word weighs it. Ctrl-click a result on
a terminal to open it.
"""
EPILOG = """\
examples:
  bindsearch search "rain on a roof" --modality audio
  bindsearch search waves + gulls.wav - crowd.jpg
  bindsearch search "2:golden retriever" + snow --under ~/Pictures --since 2026-01-01
  bindsearch search "clip.mp4#t=12,14"                   # from second 12 to 14
  bindsearch search dogs --max-expect 0.01 --paths0 | xargs -0 ls -l
  echo "a dark stormy night" | bindsearch search -

A word that is an operator or looks like an option is quoted by text: or follows `--`; file: insists on a file.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "search",
        help="find things by meaning",
        usage="%(prog)s WORD [+ WORD] [- WORD] ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="words",
    )
    parser.add_argument("words", nargs="+", metavar="WORD", help="the query; a single `-` reads it from standard input")
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search and list what was found."""
    from bindsearch.library import Library

    with Library.open(args.library, create=False) as library:
        hits = library.search(
            _query(args.words),
            k=args.k,
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=dict(args.where or ()),
            raw=args.raw,
        )
    return show(hits, args)


def _query(words: list[str]) -> Query:
    from bindsearch.query import parse, parse_one

    if words != ["-"]:
        return parse(words)
    never_fail_to_decode(sys.stdin)
    return parse_one(sys.stdin.read().strip())
