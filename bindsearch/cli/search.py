"""`bindsearch search`: find files by meaning."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE
from bindsearch.cli.listing import show
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
Find images, sounds, videos and texts by meaning. A WORD that names a file stands for that file; anything else is text.
`+` and `-` between words add and subtract, and `2:` before a word is its weight. `concept:NAME` is a concept saved with
`bindsearch concepts`. In a terminal, Ctrl-click a result to open it.
"""
EPILOG = """\
examples:
  bindsearch search "rain on a roof" --modality audio
  bindsearch search waves + gulls.wav - crowd.jpg
  bindsearch search "2:golden retriever" + snow --under ~/Pictures --since 2026-01-01
  bindsearch search "clip.mp4#t=12,14"                   # from second 12 to 14
  bindsearch search dog --and rain --not night           # matches of both, without matches of the last
  bindsearch search rain --more-like 2,3 --less-like 1   # feedback on numbered results of the same search
  bindsearch search concept:harbour + fog --why          # a saved concept; what each operand adds to the scores
  bindsearch search "a red boat" --why-image why.png     # mark the region that matches in the first result
  bindsearch search dogs --max-expect 0.01 --paths0 | xargs -0 ls -l
  echo "a dark stormy night" | bindsearch search -

`text:` before a word makes it text, even if it names a file or is an operator; `file:` makes it a file. Words after
`--` are never options.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "search",
        help="find files by meaning",
        usage="%(prog)s WORD [+ WORD] [- WORD] ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="words",
    )
    parser.add_argument("words", nargs="+", metavar="WORD", help="the query; a single `-` reads it from standard input")
    add_query_options(parser)
    parser.add_argument(
        "--why",
        action="store_true",
        help="explain each result: what each operand adds to its score, and its best moments",
    )
    parser.add_argument(
        "--why-image",
        type=picture,
        metavar="FILE",
        help="draw why the first result matches, into this image file: the region of an image, the seconds of a sound "
        "or video",
    )
    parser.add_argument(
        "--of", type=at_least_one, metavar="N", help="with --why-image, draw result N instead of the first"
    )
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def add_query_options(parser: Parser) -> None:
    """Add the options that say more about the query."""
    add = parser.add_argument
    add(
        "--and",
        dest="also",
        action="append",
        nargs="+",
        metavar="WORD",
        help="also require this query; results are ranked by their weaker match; repeatable",
    )
    add(
        "--not",
        dest="excluding",
        action="append",
        nargs="+",
        metavar="WORD",
        help="exclude matches of this query: results whose E-value for it is at most 0.1, or better than for the main "
        "query; repeatable",
    )
    add(
        "--more-like",
        action="extend",
        type=numbers,
        metavar="N,...",
        help="more like these results, by their numbers in the same search",
    )
    add(
        "--less-like",
        action="extend",
        type=numbers,
        metavar="N,...",
        help="less like these results, by their numbers in the same search",
    )


def run(args: argparse.Namespace) -> int:
    """Search, list the results, and draw one with --why-image."""
    from bindsearch.library.library import Library

    _check_options(args)
    request = request_of(parse_query(words_of(args)), args)
    if args.why_image is not None:
        request = replace(request, why=True, k=max(args.k, args.of))
    with Library.open(args.library, create=False) as library:
        hits = library.search(request)
        status = show(_listed(hits, args), args)
        if args.why_image is not None and status == DONE:
            _draw(library, hits, args)
    return status


def request_of(query: Query, args: argparse.Namespace) -> SearchRequest:
    """Make the search request that the options ask for; options that a verb does not have keep their defaults."""
    from bindsearch.query.language import parse
    from bindsearch.query.request import SearchRequest

    options = vars(args)
    max_expect = options.get("max_expect")
    return SearchRequest.of(
        query,
        also=tuple(map(parse, options.get("also") or ())),
        excluding=tuple(map(parse, options.get("excluding") or ())),
        more_like=options.get("more_like") or (),
        less_like=options.get("less_like") or (),
        k=args.k,
        raw=args.raw,
        modality=args.modality,
        under=args.under,
        since=args.since,
        ext=args.ext,
        where=where_of(args),
        tag=tags_of(args),
        max_expect=math.inf if max_expect is None else max_expect,
        why=options.get("why", False),
    )


def parse_query(words: list[str]) -> Query:
    """Parse the words of a query; a single `-` stands for a text on standard input."""
    from bindsearch.query.language import parse, parse_one

    if words != ["-"]:
        return parse(words)
    never_fail_to_decode(sys.stdin)
    text = sys.stdin.read().strip()
    if "\0" in text:
        raise BadQuery("standard input is not text: to search by a file, name the file")
    return parse_one(text)


def _check_options(args: argparse.Namespace) -> None:
    """Refuse options that need another one. Raises `BadQuery`."""
    if args.of is not None and args.why_image is None:
        raise BadQuery("--of chooses the result to draw: name the file to draw into, as in --why-image why.png")
    args.of = args.of or 1


def _listed(hits: Hits, args: argparse.Namespace) -> Hits:
    """Drop the hits and the explanations that are only needed for the drawing."""
    listed = hits if args.why else (replace(hit, why=None) for hit in hits)
    return replace(hits, hits=tuple(islice(listed, args.k)))


def _draw(library: Library, hits: Sequence[Hit], args: argparse.Namespace) -> None:
    """Draw the explanation of one result into a file. Raises `BadQuery`, `MediaError`."""
    if args.of > len(hits):
        raise BadQuery(f"there is no result {args.of} to draw: the search finds {len(hits)}")
    library.picture(hits[args.of - 1]).save(args.why_image)
    if not args.quiet:
        complain(f"drew the explanation of result {args.of} into {shown(args.why_image)}")
