"""`bindsearch compare`: one query, two spaces, side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import Parser, Verbs, add_common, add_filters, tags_of, where_of, words_of
from bindsearch.cli.screen import Screen, address, columns, complain, cut, padded, shown
from bindsearch.cli.search import query_of
from bindsearch.cli.wording import moment

if TYPE_CHECKING:
    from bindsearch.results import Hit
    from bindsearch.retrieval.comparison import Answer, Comparison

DESCRIPTION = """\
Ask the space that the library has and the one beside it the same, and show both answers side by side: during a
migration the one that is coming, as far as it is made, and after it the one that is kept. `was` is the rank that a
file of the second answer has in the first.
"""
EPILOG = """\
examples:
  bindsearch compare "rain on a roof"
  bindsearch compare waves + gulls.wav - crowd.jpg --modality audio -k 20
"""
NARROW = 24
"""Columns that a path gets at least."""
NEW = "–"
"""Instead of the rank that a file has in the other answer, where it has none."""
WORDS = {"pending": "pending", "previous": "previous", "current": "current"}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "compare",
        help="ask two spaces the same",
        usage="%(prog)s WORD [+ WORD] [- WORD] ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="words",
    )
    parser.add_argument(
        "words", nargs="+", metavar="WORD", help="a query as in `search`; `-` reads it from standard input"
    )
    add_filters(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ask both and show what they say; give 1 if neither found anything."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        told = library.compare(
            query_of(words_of(args)),
            k=args.k,
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=where_of(args),
            tag=tags_of(args),
            raw=args.raw,
        )
    found = max(len(told.now.hits), len(told.other.hits))
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(told.as_json()))
    elif found:
        _write_table(told, screen, quiet=args.quiet)
    if not found:
        complain("nothing found in either space")
    return DONE if found else FAILED


def _write_table(told: Comparison, screen: Screen, *, quiet: bool) -> None:
    pairs = [*zip_longest(told.now.hits, told.other.hits)]
    rows = [_cells(rank, *pair, told) for rank, pair in enumerate(pairs, 1)]
    header = ("", _title(told.now), "moment", _title(told.other), "moment", "was")
    widths = _widths(rows if quiet else [header, *rows], screen.width)
    if not quiet:
        screen.write(screen.styled(_line(_fitted(header, widths), widths), "dim"))
    for row, (left, right) in zip(rows, pairs, strict=True):
        rank, here, when, there, then, was = _fitted(row, widths)
        here, there = _linked(here, left, screen), _linked(there, right, screen)
        was = screen.styled(was, "dim" if was == NEW else "green")
        screen.write(_line([screen.styled(rank, "dim"), here, when, there, then, was], widths))
    if not quiet:
        screen.write(screen.styled(_legend(told), "dim"))


def _legend(told: Comparison) -> str:
    most = max(len(told.now.hits), len(told.other.hits))
    unfinished = f"; {told.other.space} is not complete yet" if told.other.edition == "pending" else ""
    return f"{told.shared} of {most} are in both{unfinished}"


def _title(answer: Answer) -> str:
    return f"{answer.space} ({WORDS[answer.edition]})"


def _cells(rank: int, left: Hit | None, right: Hit | None, told: Comparison) -> tuple[str, ...]:
    was = None if right is None else told.rank_now(right)
    return (
        str(rank),
        "" if left is None else shown(left.path),
        "" if left is None else moment(left.start, left.end),
        "" if right is None else shown(right.path),
        "" if right is None else moment(right.start, right.end),
        "" if right is None else str(was or NEW),
    )


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return each column what it needs, and the two of paths no more than the line has room for."""
    widths = [max(columns(line[place]) for line in lines) for place in range(6)]
    for place in (2, 4):  # the header alone is no reason for a column
        if not any(line[place] for line in lines if line[place] != "moment"):
            widths[place] = 0
    others = sum(widths[place] for place in (0, 2, 4, 5)) + 2 * (sum(map(bool, widths)) - 1)
    half = max(NARROW, (room - others) // 2)
    if widths[1] + widths[3] + others > room:
        left = max(half, room - others - widths[3])
        widths[1], widths[3] = min(widths[1], left), min(widths[3], max(half, room - others - widths[1]))
    return widths


def _fitted(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cut(cell, width, middle="/" in cell) for cell, width in zip(cells, widths, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align cells; columns of width 0 are left out."""
    filled = [
        padded(cell, width, right=not place) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(cell for cell, width in zip(filled, widths, strict=True) if width).rstrip()


def _linked(words: str, hit: Hit | None, screen: Screen) -> str:
    return words if hit is None else screen.linked(words, address(hit.path, start=hit.start, end=hit.end))
