"""`bindsearch search`: find things by meaning."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE
from bindsearch.cli.listing import kept, show
from bindsearch.cli.parser import (
    Parser,
    Verbs,
    add_common,
    add_ranking,
    at_least_one,
    numbers,
    picture,
    tags_of,
    where_of,
    words_of,
)
from bindsearch.cli.screen import complain, never_fail_to_decode, shown
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.library.library import Library
    from bindsearch.query.language import Query
    from bindsearch.query.request import SearchRequest
    from bindsearch.results import Hit, Hits

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
  bindsearch search "a red boat" --why-image why.png      # draw where the first result shows it
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
    parser.add_argument(
        "--why-image",
        type=picture,
        metavar="FILE",
        help="draw the reason for the first result: the place in a picture, the seconds of a sound or video",
    )
    parser.add_argument("--of", type=at_least_one, metavar="N", help="draw that of result N instead (1)")
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


def question_of(args: argparse.Namespace) -> SearchRequest:
    """Read all that is asked."""
    from bindsearch.query.language import parse
    from bindsearch.query.request import SearchRequest

    return SearchRequest(
        query_of(words_of(args)),
        also=tuple(map(parse, args.also or ())),
        excluding=tuple(map(parse, args.excluding or ())),
        more_like=tuple(dict.fromkeys(args.more_like or ())),
        less_like=tuple(dict.fromkeys(args.less_like or ())),
    )


def run(args: argparse.Namespace) -> int:
    """Search and list what was found."""
    from bindsearch.library.library import Library

    _see_to(args)
    asked = question_of(args)
    with Library.open(args.library, create=False) as library:
        hits = library.search(
            asked.query,
            also=asked.also,
            excluding=asked.excluding,
            more_like=asked.more_like,
            less_like=asked.less_like,
            why=args.why or args.why_image is not None,
            k=args.k if args.why_image is None else max(args.k, args.of),
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=where_of(args),
            tag=tags_of(args),
            raw=args.raw,
        )
        status = show(_listed(hits, args), args)
        if args.why_image is not None and status == DONE:
            draw(library, kept(hits, args), args)
    return status


def _see_to(args: argparse.Namespace) -> None:
    """Refuse what does not go together. Raises `BadQuery`."""
    if args.of is not None and args.why_image is None:
        raise BadQuery("--of says which result is drawn: say into which file, with --why-image why.png")
    args.of = args.of or 1


def _listed(hits: Hits, args: argparse.Namespace) -> Hits:
    """Leave out what was found only to be drawn."""
    listed = hits if args.why else (replace(hit, why=None) for hit in hits)
    return replace(hits, hits=tuple(islice(listed, args.k)))


def draw(library: Library, hits: Sequence[Hit], args: argparse.Namespace) -> None:
    """Draw why a result is one into the file that is named. Raises `BadQuery`, `MediaError`."""
    if args.of > len(hits):
        raise BadQuery(f"there is no result {args.of} to draw: the search finds {len(hits)}")
    library.picture(hits[args.of - 1]).save(args.why_image)
    if not args.quiet:
        complain(f"drew why result {args.of} is one into {shown(args.why_image)}")


def query_of(words: list[str]) -> Query:
    """Read the query that words make; a single `-` stands for standard input."""
    from bindsearch.query.language import parse, parse_one

    if words != ["-"]:
        return parse(words)
    never_fail_to_decode(sys.stdin)
    told = sys.stdin.read().strip()
    if "\0" in told:
        raise BadQuery("what comes from standard input is no text: to search by a file, name it")
    return parse_one(told)
