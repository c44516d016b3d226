"""`bindsearch status`: what is in the library."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, escaped, shown
from bindsearch.cli.wording import counted, reason, size, span

if TYPE_CHECKING:
    from bindsearch.status import Status

DESCRIPTION = "Say what is in the library, what is put aside and why, and how much room it takes."


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "status", help="say what is in the library", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument("--quarantine", action="store_true", help="list the files that cannot be read, and why")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look and tell."""
    from bindsearch.library import Library

    with Library.open(args.library, create=False) as library:
        status = library.status()
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(status.as_json()))
    elif args.quarantine:
        for path, told in status.quarantine.items():
            screen.write(f"{shown(path)}: {escaped(reason(str(path), told))}")
    else:
        for name, told in _facts(status):
            screen.write(f"{screen.styled(f'{name:<10}', 'bold')}  {told}")
    return 0


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    yield "library", shown(status.path)
    yield "space", f"{status.space}, {status.dim} dimensions"
    for place, root in enumerate(status.roots):
        yield "" if place else "folders", shown(root)
    for modality, items in status.items_by_modality.items():
        segments = status.segments_by_modality[modality]
        if items or segments:
            yield modality, f"{counted(items, 'item')}, {counted(segments, 'segment')}"
    yield "together", f"{counted(status.items, 'item')}, {counted(status.segments, 'segment')}"
    if status.hours:
        yield "length", f"{span(status.hours * 3600)} of sound and video"
    if status.dormant:
        yield (
            "gone",
            f"{counted(status.dormant, 'item')}, kept in case the files return (`forget --gone` drops them)",
        )
    if status.quarantine:
        yield "unreadable", f"{counted(len(status.quarantine), 'file')} (`status --quarantine` says why)"
    for modality, found in status.certificates.items():
        measured = f"{found['queries']} queries, of the worst kind"
        yield (
            "index",
            f"{modality}: {status.indexes[modality]}, finds {found['worst']:.1%} of the ten best ({measured})",
        )
    kinds = ", ".join(sorted(set(status.indexes.values()))) or "no"
    yield "on disk", f"{size(status.ledger_bytes)} ledger, {size(status.index_bytes)} index ({kinds})"
