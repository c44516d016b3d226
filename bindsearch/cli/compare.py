"""`bindsearch compare`: search two spaces and show the results side by side."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import Parser, Verbs, add_common, add_filters, words_of
from bindsearch.cli.screen import Screen, address, columns, complain, cut, padded, shown
from bindsearch.cli.search import parse_query, request_of
from bindsearch.cli.wording import moment

if TYPE_CHECKING:
    from bindsearch.results import Hit
    from bindsearch.retrieval.comparison import Comparison, SpaceResults

DESCRIPTION = """\
Search the library in its current space and in its other space, and show the results side by side. During a migration,
the other space is the new one, which is not complete yet; afterwards, it is the previous one. The column `was` shows
the rank of a file of the second list in the first.
"""
EPILOG = """\
examples:
  bindsearch compare "rain on a roof"
  bindsearch compare waves + gulls.wav - crowd.jpg --modality audio -k 20
"""
MIN_PATH_COLUMNS = 24
NO_RANK = "–"
"""Shown for a file that the current space did not find."""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "compare",
        help="search two spaces side by side",
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
    """Search both spaces and show the results side by side; return 1 if neither found anything."""
    from bindsearch.library.library import Library

    request = request_of(parse_query(words_of(args)), args)
    with Library.open(args.library, create=False) as library:
        comparison = library.compare(request)
    found = max(len(comparison.current.hits), len(comparison.other.hits))
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(comparison.as_json()))
    elif found:
        _write_table(comparison, screen, quiet=args.quiet)
    if not found:
        complain("nothing found in either space")
    return DONE if found else FAILED


def _write_table(comparison: Comparison, screen: Screen, *, quiet: bool) -> None:
    pairs = [*zip_longest(comparison.current.hits, comparison.other.hits)]
    rows = [_cells(rank, *pair, comparison) for rank, pair in enumerate(pairs, 1)]
    header = ("", _title(comparison.current), "moment", _title(comparison.other), "moment", "was")
    widths = _widths(rows if quiet else [header, *rows], screen.width)
    if not quiet:
        screen.write(screen.styled(_line(_fitted(header, widths), widths), "dim"))
    for row, (left, right) in zip(rows, pairs, strict=True):
        rank, current, start, other, other_start, was = _fitted(row, widths)
        current, other = _linked(current, left, screen), _linked(other, right, screen)
        was = screen.styled(was, "dim" if was == NO_RANK else "green")
        screen.write(_line([screen.styled(rank, "dim"), current, start, other, other_start, was], widths))
    if not quiet:
        screen.write(screen.styled(_legend(comparison), "dim"))


def _legend(comparison: Comparison) -> str:
    longest = max(len(comparison.current.hits), len(comparison.other.hits))
    incomplete = f"; {comparison.other.space} is not complete yet" if comparison.other.edition == "pending" else ""
    return f"{comparison.shared} of {longest} results are in both lists{incomplete}"


def _title(results: SpaceResults) -> str:
    return f"{results.space} ({results.edition})"


def _cells(rank: int, left: Hit | None, right: Hit | None, comparison: Comparison) -> tuple[str, ...]:
    was = None if right is None else comparison.current_rank(right)
    return (
        str(rank),
        "" if left is None else shown(left.path),
        "" if left is None else moment(left.start, left.end),
        "" if right is None else shown(right.path),
        "" if right is None else moment(right.start, right.end),
        "" if right is None else str(was or NO_RANK),
    )


def _widths(lines: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return the width of each column: what it needs, but paths share what is left of the line."""
    widths = [max(columns(line[place]) for line in lines) for place in range(6)]
    for place in (2, 4):  # drop columns that hold nothing but their header
        if not any(line[place] for line in lines if line[place] != "moment"):
            widths[place] = 0
    others = sum(widths[place] for place in (0, 2, 4, 5)) + 2 * (sum(map(bool, widths)) - 1)
    half = max(MIN_PATH_COLUMNS, (room - others) // 2)
    if widths[1] + widths[3] + others > room:
        left = max(half, room - others - widths[3])
        widths[1], widths[3] = min(widths[1], left), min(widths[3], max(half, room - others - widths[1]))
    return widths


def _fitted(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cut(cell, width, middle="/" in cell) for cell, width in zip(cells, widths, strict=True)]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Align the cells of a row; columns of width 0 are not shown."""
    filled = [
        padded(cell, width, right=not place) for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(cell for cell, width in zip(filled, widths, strict=True) if width).rstrip()


def _linked(words: str, hit: Hit | None, screen: Screen) -> str:
    return words if hit is None else screen.linked(words, address(hit.path, start=hit.start, end=hit.end))
