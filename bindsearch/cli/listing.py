"""The list of hits: as a table, as JSON lines, or as bare paths."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import filters_of
from bindsearch.cli.screen import Screen, address, columns, complain, cut, escaped, padded, shown
from bindsearch.cli.wording import chance, counted, moment
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.results import Hit, Hits, Moment, Why

HEADER = ("", "by chance", "score", "modality", "moment", "path")
ALIGN_RIGHT = (True, True, True, False, False, False)
GOOD_EXPECT, CHANCE_EXPECT = 0.01, 1.0
"""E-values up to which a hit is shown as good (green), and from which as one that chance may explain (dim)."""
EMPTY = "the library is empty: `bindsearch index FOLDER` fills it"
MIN_SNIPPET_COLUMNS = 16
KEY_SENTENCE_COLUMNS = 80


def show(hits: Hits, args: argparse.Namespace) -> int:
    """Write hits in the format of the options; return 1, with a message, if there are none. Raises `BadQuery`."""
    if args.paths0 and args.json:
        raise BadQuery("--paths0 and --json are two output formats: choose one of them")
    listed = list(hits)
    if args.paths0:
        sys.stdout.buffer.write(b"".join(os.fsencode(hit.path) + b"\0" for hit in listed))
    elif args.json:
        sys.stdout.writelines(json.dumps(hit.as_json()) + "\n" for hit in listed)
    elif listed:
        _write_table(listed, hits.searched, Screen.of(sys.stdout), quiet=args.quiet)
    if not listed:
        complain(_nothing_found(hits, args))
    return DONE if listed else FAILED


def _nothing_found(hits: Hits, args: argparse.Namespace) -> str:
    if not hits.searched:
        filters = filters_of(args)
        return f"nothing found: no file passes {', '.join(filters)}" if filters else f"nothing found: {EMPTY}"
    if hits.best_expect is None:
        return "nothing found"
    return f"nothing found with an E-value of at most {args.max_expect:g}; the best has {hits.best_expect:.2g}"


def _write_table(hits: list[Hit], searched: int, screen: Screen, *, quiet: bool) -> None:
    rows = [_cells(rank, hit, screen) for rank, hit in enumerate(hits, 1)]
    lines = rows if quiet else [HEADER, *rows]
    widths = [max(columns(row[place]) for row in lines) for place in range(len(HEADER) - 1)]
    if not any(row[HEADER.index("moment")] for row in rows):
        widths[HEADER.index("moment")] = 0
    if not quiet:
        screen.write(screen.styled(_row(HEADER, widths), "dim"))
    for hit, row in zip(hits, rows, strict=True):
        screen.write(_row(_coloured(row, hit, widths, screen), widths) + _snippet(hit, row, widths, screen))
        for line in explanation(hit.why):
            screen.write(screen.styled(f"    {line}", "dim"))
    if not quiet:
        screen.write(screen.styled(_legend(searched), "dim"))


def _cells(rank: int, hit: Hit, screen: Screen) -> tuple[str, ...]:
    path = screen.linked(shown(hit.path), address(hit.path, start=hit.start, end=hit.end))
    copies = f" (+{counted(len(hit.copies), 'copy', 'copies')})" if hit.copies else ""
    return str(rank), chance(hit.expect), f"{hit.score:.2f}", _modality(hit), moment(hit.start, hit.end), path + copies


def explanation(why: Why | None) -> Iterator[str]:
    """Return the lines that explain a score: contributions, queries, key words and best moments."""
    if why is None:
        return
    for term in why.terms:
        yield f"{term.contribution:+.2f}  {escaped(term.operand)}"
    for match in why.matches:
        word = "wanted" if match.wanted else "unwanted"
        yield f"{word}  {escaped(match.query)}: {_moment(match.moment)}, by chance {chance(match.moment.expect)}"
    if why.key_phrase is not None and why.key_phrase.words:
        sentence = cut(escaped(why.key_phrase.sentence), KEY_SENTENCE_COLUMNS)
        yield f"words  {escaped(', '.join(why.key_phrase.words))}, in “{sentence}”"
    if len(why.moments) > 1:
        mixed = len({each.segment.modality for each in why.moments}) > 1
        yield f"moments  {', '.join(_moment(each, mixed=mixed) for each in why.moments)}"


def _moment(best: Moment, *, mixed: bool = False) -> str:
    """Return where a segment is in its file, its modality if moments are `mixed`, and its score."""
    span, text = best.segment.span, best.segment.text
    where = moment(span.start, span.end) or (f"“{cut(escaped(text), MIN_SNIPPET_COLUMNS)}”" if text else "")
    modality = str(best.segment.modality) if mixed else ""
    return " ".join(word for word in (where, modality, f"{best.score:.2f}") if word)


def _modality(hit: Hit) -> str:
    """Return the modality of the item, and that of the matching segment if it differs: `video·audio`."""
    return str(hit.modality) if hit.modality == hit.segment.modality else f"{hit.modality}·{hit.segment.modality}"


def _coloured(row: tuple[str, ...], hit: Hit, widths: list[int], screen: Screen) -> tuple[str, ...]:
    style = "green" if hit.expect <= GOOD_EXPECT else "dim" if hit.expect >= CHANCE_EXPECT else "yellow"
    rank, by_chance, *others = row
    return screen.styled(rank, "dim"), screen.styled(by_chance, style), *others


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    """Align the cells of a row; columns of width 0 are not shown, and the last one is not padded."""
    aligned = [
        padded(cell, width, right=right)
        for cell, width, right in zip(cells, widths, ALIGN_RIGHT, strict=False)
        if width
    ]
    return "  ".join([*aligned, cells[-1]])


def _snippet(hit: Hit, row: tuple[str, ...], widths: list[int], screen: Screen) -> str:
    """Return as much of a passage as the line has room for."""
    taken = sum(width + 2 for width in widths if width) + columns(row[-1])
    room = screen.width - taken - 4
    if not hit.segment.text or room < MIN_SNIPPET_COLUMNS:
        return ""
    return screen.styled(f"  “{cut(escaped(hit.segment.text), room)}”", "dim")


def _legend(searched: int) -> str:
    what = "this segment" if searched == 1 else f"these {counted(searched, 'segment')}"
    return f"by chance (E-value): how many hits this good an unrelated query would find in {what}"
