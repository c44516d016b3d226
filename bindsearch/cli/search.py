"""`bindsearch search`: find things by meaning."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from bindsearch.cli.listing import show
from bindsearch.cli.parser import Parser, Verbs, add_common, add_ranking, numbers
from bindsearch.cli.screen import never_fail_to_decode

if TYPE_CHECKING:
    from bindsearch.query import Query
    from bindsearch.question import Question

DESCRIPTION = """\
Find pictures, sounds, videos and texts by meaning. A word that names a file stands for that file, any other for
itself; `+` and `-` between words add and take away, and a number before a word weighs it. `concept:NAME` is what
was saved with `bindsearch concepts`. Ctrl-click a result on a terminal to open it.
"""
EPILOG = """\
examples:
  bindsearch search "rain on a roof" --modality audio
  bindsearch search waves + gulls.wav - crowd.jpg
  bindsearch search "2:golden retriever" + snow --under ~/Pictures --since 2026-01-01
  bindsearch search "clip.mp4#t=12,14"                   # from second 12 to 14
  bindsearch search dog --and rain --not night           # what answers both, without what answers the last
  bindsearch search rain --more-like 2,3 --less-like 1   # by the numbers of the results of the same search
  bindsearch search concept:harbour + fog --why          # a saved concept; what each part adds to the scores
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
    add_question(parser)
    parser.add_argument(
        "--why", action="store_true", help="say what each operand adds to a score, and show the best moments"
    )
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def add_question(parser: Parser) -> None:
    """Add what can be asked besides the query."""
    add = parser.add_argument
    add(
        "--and",
        dest="also",
        action="append",
        nargs="+",
        metavar="WORD",
        help="only what answers this query too; a result is worth what its less likely answer is; can be given again",
    )
    add(
        "--not",
        dest="excluding",
        action="append",
        nargs="+",
        metavar="WORD",
        help="nothing that answers this query: by chance at most 0.1 a search, or as well as what is asked for",
    )
    add("--more-like", action="extend", type=numbers, metavar="N,...", help="more like these results of this search")
    add("--less-like", action="extend", type=numbers, metavar="N,...", help="less like these results of this search")


def question_of(args: argparse.Namespace) -> Question:
    """Read all that is asked."""
    from bindsearch.query import parse
    from bindsearch.question import Question

    return Question(
        query_of(args.words),
        also=tuple(map(parse, args.also or ())),
        excluding=tuple(map(parse, args.excluding or ())),
        more_like=tuple(dict.fromkeys(args.more_like or ())),
        less_like=tuple(dict.fromkeys(args.less_like or ())),
    )


def run(args: argparse.Namespace) -> int:
    """Search and list what was found."""
    from bindsearch.library import Library

    asked = question_of(args)
    with Library.open(args.library, create=False) as library:
        hits = library.search(
            asked.query,
            also=asked.also,
            excluding=asked.excluding,
            more_like=asked.more_like,
            less_like=asked.less_like,
            why=args.why,
            k=args.k,
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=dict(args.where or ()),
            raw=args.raw,
        )
    return show(hits, args)


def query_of(words: list[str]) -> Query:
    """Read the query that words make; a single `-` stands for standard input."""
    from bindsearch.query import parse, parse_one

    if words != ["-"]:
        return parse(words)
    never_fail_to_decode(sys.stdin)
    return parse_one(sys.stdin.read().strip())
