"""`bindsearch status`: what is in the library."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, complain, escaped, shown
from bindsearch.cli.wording import counted, reason, size, span
from bindsearch.storage.settings import DEFAULT_RECALL

if TYPE_CHECKING:
    from bindsearch.library.status import Status
    from bindsearch.types import Devices

MAX_TAGS_SHOWN = 12
DESCRIPTION = "Show what is in the library, what is quarantined and why, and how much space it takes."


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "status", help="show what is in the library", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument("--quarantine", action="store_true", help="list the files that cannot be read, and why")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show the status."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        status = library.status()
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(status.as_json()))
    elif args.quarantine:
        for path, told in status.quarantine.items():
            screen.write(f"{shown(path)}: {escaped(reason(str(path), told))}")
        if not status.quarantine and not args.quiet:
            complain("no file is quarantined")
    else:
        for name, told in _facts(status):
            screen.write(f"{screen.styled(f'{name:<10}', 'bold')}  {told}")
    return 0


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    yield "library", shown(status.path)
    yield "space", f"{status.space}, {status.dim} dimensions" + (status.licence and f", licence {status.licence}")
    for place, root in enumerate(status.indexed_folders):
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
    if status.tags:
        more = f" and {len(status.tags) - MAX_TAGS_SHOWN:,} more" if len(status.tags) > MAX_TAGS_SHOWN else ""
        yield "tags", f"{', '.join(map(escaped, status.tags[:MAX_TAGS_SHOWN]))}{more} (`bindsearch tag` counts them)"
    yield from _other_spaces(status)
    if status.quarantine:
        yield "unreadable", f"{counted(len(status.quarantine), 'file')} (`status --quarantine` says why)"
    yield from _indexes(status)
    kinds = ", ".join(sorted(set(status.indexes.values())))
    yield "on disk", f"{size(status.ledger_bytes)} ledger, {size(status.index_bytes)} index" + (kinds and f" ({kinds})")


def _indexes(status: Status) -> Iterator[tuple[str, str]]:
    """Say of each index what it takes and what it finds, what they are chosen by, and what searches."""
    for place, (modality, told) in enumerate(status.generations.items()):
        built = "" if told.build_s is None else f", made in {span(told.build_s)}"
        each = f"{told.bytes_per_segment:,.0f} bytes a segment"
        yield "" if place else "index", f"{modality}: {told.kind}, {each}{built}{_finds(told.certificate)}"
        if told.why and told.kind != "exact":
            yield "", f"{modality}: {told.kind}, because {told.why}"
    settings = status.settings
    wished = [f"recall {settings.recall:.2%}"] if settings.recall != DEFAULT_RECALL else []
    wished += [f"{size(settings.memory)} of memory"] if settings.memory is not None else []
    wished += [f"on {settings.device}"] if settings.device != "auto" else []
    wished += [] if settings.centring else ["no centring"]
    wished += ["hubs count less"] if settings.hubness else []
    if wished:
        yield "wished", ", ".join(wished)
    yield "faiss", _faiss(status.devices)


def _finds(certificate: dict[str, Any] | None) -> str:
    """Say what an index was measured to find, of the ten and the hundred best, for the worst origin of queries."""
    if certificate is None:
        return ""
    worst = {at: min(certificate[at].items(), key=lambda pair: pair[1]["share"]) for at in ("at10", "at100")}
    found = [
        f"{recall['share']:.1%} of the {best} best ({recall['low']:.1%} to {recall['high']:.1%}, asked by {origin})"
        for best, (origin, recall) in zip(("ten", "hundred"), worst.values(), strict=True)
    ]
    when = f", measured {certificate['measured'][:10]}" if "measured" in certificate else ""
    return f"; finds {' and '.join(found)}: {counted(certificate['queries'], 'query', 'queries')}{when}"


def _faiss(devices: Devices) -> str:
    packages = devices.faiss_packages
    text = "none (pip install 'bindsearch[faiss]')" if devices.faiss is None else devices.faiss
    if len(packages) == 1:
        text += f" ({packages[0]})"
    elif packages:
        text += f": {' and '.join(packages)} all bring it, so uninstall all but one"
    if devices.faiss_gpus:
        text += f", {len(devices.faiss_runs)} of {counted(devices.faiss_gpus, 'GPU')} run"
    return f"{text}; {devices.why}"


def _other_spaces(status: Status) -> Iterator[tuple[str, str]]:
    """Say what a migration left undone, and what the spaces beside the one that answers cost."""
    if status.unseen:
        yield (
            "not seen",
            f"{counted(status.unseen, 'file')} that a migration missed; the next `index` reads what is there",
        )
    if status.pending:
        far = f"{status.pending.files:,} of {counted(status.files, 'file')}, {size(status.pending.bytes)}"
        yield "pending", f"space {status.pending.space}: {far} (`migrate` goes on, `migrate --cancel` gives up)"
    if status.previous:
        cost = f"space {status.previous.space}, {size(status.previous.bytes)}"
        yield "previous", f"{cost} (`migrate --rollback` goes back to it, `migrate --drop-old` frees it)"
