"""A list of hits, as text, as JSON, or as bare paths."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import filters_of
from bindsearch.cli.screen import Screen, address, columns, complain, cut, escaped, padded, shown
from bindsearch.cli.wording import chance, counted, moment
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.results import Hit, Hits, Moment, Why

HEADER = ("", "by chance", "score", "kind", "moment", "path")
TO_THE_RIGHT = (True, True, True, False, False, False)
SURELY, HARDLY = 0.01, 1.0
"""Expectations up to which a hit is shown as a good one, and from which as one that chance may have brought."""
EMPTY = "the library is empty: `bindsearch index FOLDER` fills it"
SNIPPET_FROM = 16
TOLD = 80
"""Columns of a sentence that is quoted as a reason."""


def show(hits: Hits, args: argparse.Namespace) -> int:
    """Write hits as the options say; complain and give 1 if there are none. Raises `BadQuery`."""
    if args.paths0 and args.json:
        raise BadQuery("--paths0 and --json are two ways to write the same: say one of them")
    listed = kept(hits, args)
    if args.paths0:
        sys.stdout.buffer.write(b"".join(os.fsencode(hit.path) + b"\0" for hit in listed))
    elif args.json:
        sys.stdout.writelines(json.dumps(hit.as_json()) + "\n" for hit in listed)
    elif listed:
        _write_table(listed, hits.searched, Screen.of(sys.stdout), quiet=args.quiet)
    if not listed:
        complain(_nothing(hits, args))
    return DONE if listed else FAILED


def kept(hits: Iterable[Hit], args: argparse.Namespace) -> list[Hit]:
    """Return the hits that are likely enough."""
    return [hit for hit in hits if args.max_expect is None or hit.expect <= args.max_expect]


def _nothing(hits: Hits, args: argparse.Namespace) -> str:
    if not hits.searched:
        filters = filters_of(args)
        why = f"no file passes {', '.join(filters)}" if filters else EMPTY
        return f"nothing found: {why}"
    if not len(hits):
        return "nothing found"
    best = min(hit.expect for hit in hits)
    return f"nothing found with an expectation of at most {args.max_expect:g}; the best has {best:.2g}"


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
        for line in reasons(hit.why):
            screen.write(screen.styled(f"    {line}", "dim"))
    if not quiet:
        screen.write(screen.styled(_legend(searched), "dim"))


def _cells(rank: int, hit: Hit, screen: Screen) -> tuple[str, ...]:
    path = screen.linked(shown(hit.path), address(hit.path, start=hit.start, end=hit.end))
    copies = f" (+{counted(len(hit.copies), 'copy', 'copies')})" if hit.copies else ""
    return str(rank), chance(hit.expect), f"{hit.score:.2f}", _kind(hit), moment(hit.start, hit.end), path + copies


def reasons(why: Why | None) -> Iterator[str]:
    """Say what a score is made of, and which moments of the file are the best."""
    if why is None:
        return
    for term in why.terms:
        yield f"{term.part:+.2f}  {escaped(term.word)}"
    for answer in why.answers:
        word = "wanted" if answer.wanted else "unwanted"
        yield f"{word}  {escaped(answer.query)}: {_moment(answer.moment)}, by chance {chance(answer.moment.expect)}"
    if why.telling is not None and why.telling.words:
        yield f"words  {escaped(', '.join(why.telling.words))}, in “{cut(escaped(why.telling.sentence), TOLD)}”"
    if len(why.moments) > 1:
        mixed = len({told.segment.modality for told in why.moments}) > 1
        yield f"moments  {', '.join(_moment(told, mixed=mixed) for told in why.moments)}"


def _moment(told: Moment, *, mixed: bool = False) -> str:
    """Say where a segment lies, if it is a part of its file, whether it is seen or heard, and its score."""
    span, text = told.segment.span, told.segment.text
    where = moment(span.start, span.end) or (f"“{cut(escaped(text), SNIPPET_FROM)}”" if text else "")
    part = ("sound" if told.segment.modality == "audio" else "picture") if mixed else ""
    return " ".join(word for word in (where, part, f"{told.score:.2f}") if word)


def _kind(hit: Hit) -> str:
    """Name the item's modality, and what of it was found where that is not the same."""
    part = {"audio": "sound"}.get(hit.segment.modality, str(hit.segment.modality))
    return str(hit.modality) if hit.modality == hit.segment.modality else f"{hit.modality}·{part}"


def _coloured(row: tuple[str, ...], hit: Hit, widths: list[int], screen: Screen) -> tuple[str, ...]:
    style = "green" if hit.expect <= SURELY else "dim" if hit.expect >= HARDLY else "yellow"
    rank, likely, *others = row
    return screen.styled(rank, "dim"), screen.styled(likely, style), *others


def _row(cells: tuple[str, ...], widths: list[int]) -> str:
    """Align cells; columns of width 0 are left out, and the last one ends where its words do."""
    aligned = [
        padded(cell, width, right=right)
        for cell, width, right in zip(cells, widths, TO_THE_RIGHT, strict=False)
        if width
    ]
    return "  ".join([*aligned, cells[-1]])


def _snippet(hit: Hit, row: tuple[str, ...], widths: list[int], screen: Screen) -> str:
    """Quote as much of a passage as the line has room for."""
    taken = sum(width + 2 for width in widths if width) + columns(row[-1])
    room = screen.width - taken - 4
    if not hit.segment.text or room < SNIPPET_FROM:
        return ""
    return screen.styled(f"  “{cut(escaped(hit.segment.text), room)}”", "dim")


def _legend(searched: int) -> str:
    what = "this segment" if searched == 1 else f"these {counted(searched, 'segment')}"
    return f"by chance: how often unrelated files score this high in a search of {what}"
