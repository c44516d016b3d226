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
from bindsearch.storage.settings import DEFAULT_RECALL, Settings

if TYPE_CHECKING:
    from bindsearch.library.status import Status
    from bindsearch.types import Devices

MAX_TAGS_SHOWN = 12
DESCRIPTION = "Show what is in the library, its settings, and how much disk space it takes."


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "status", help="show what is in the library", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument("--quarantine", action="store_true", help="list the unreadable files, with the reason for each")
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
        for path, message in status.quarantine.items():
            screen.write(f"{shown(path)}: {escaped(reason(str(path), message))}")
        if not status.quarantine and not args.quiet:
            complain("no file is in quarantine")
    else:
        for label, fact in _facts(status):
            screen.write(f"{screen.styled(f'{label:<10}', 'bold')}  {fact}")
    return 0


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    yield "library", shown(status.path)
    yield "space", f"{status.space}, {status.dim} dimensions" + (status.licence and f", licence {status.licence}")
    for place, folder in enumerate(status.indexed_folders):
        yield "" if place else "folders", shown(folder)
    for modality, items in status.items_by_modality.items():
        segments = status.segments_by_modality[modality]
        if items or segments:
            yield modality, f"{counted(items, 'item')}, {counted(segments, 'segment')}"
    yield "total", f"{counted(status.items, 'item')}, {counted(status.segments, 'segment')}"
    if status.hours:
        yield "duration", f"{span(status.hours * 3600)} of sound and video"
    if status.dormant:
        dormant = counted(status.dormant, "item")
        yield "gone", f"{dormant} without files, kept in case the files return (`forget --gone` deletes them)"
    if status.tags:
        more = f" and {len(status.tags) - MAX_TAGS_SHOWN:,} more" if len(status.tags) > MAX_TAGS_SHOWN else ""
        yield "tags", f"{', '.join(map(escaped, status.tags[:MAX_TAGS_SHOWN]))}{more} (`bindsearch tag` shows counts)"
    yield from _other_spaces(status)
    if status.quarantine:
        yield "quarantine", f"{counted(len(status.quarantine), 'unreadable file')} (`status --quarantine` lists them)"
    yield from _indexes(status)
    kinds = ", ".join(sorted(set(status.indexes.values())))
    yield "on disk", f"{size(status.ledger_bytes)} ledger, {size(status.index_bytes)} index" + (kinds and f" ({kinds})")


def _indexes(status: Status) -> Iterator[tuple[str, str]]:
    """Return the size, build time and recall of each index, the changed settings, and the state of FAISS."""
    for place, (modality, index) in enumerate(status.generations.items()):
        built = "" if index.build_s is None else f", built in {span(index.build_s)}"
        why = f" ({index.why})" if index.why and index.kind != "exact" else ""
        each = f"{index.bytes_per_segment:,.0f} bytes a segment"
        yield "" if place else "index", f"{modality}: {index.kind}{why}, {each}{built}"
        yield from (("", line) for line in _recall(modality, index.certificate))
    if settings := [*_changed_settings(status.settings)]:
        yield "settings", ", ".join(settings)
    yield "faiss", _faiss(status.devices)


def _changed_settings(settings: Settings) -> Iterator[str]:
    """Return the settings that differ from the defaults."""
    if settings.recall != DEFAULT_RECALL:
        yield f"recall {settings.recall:.2%}"
    if settings.memory is not None:
        yield f"memory {size(settings.memory)}"
    if settings.device != "auto":
        yield f"device {settings.device}"
    if not settings.centring:
        yield "centring off"
    if settings.hubness:
        yield "hubness reduction on"


def _recall(modality: str, certificate: dict[str, Any] | None) -> Iterator[str]:
    """Return the measured recall of the ten and the hundred best, each for the kind of query where it is lowest."""
    if certificate is None:
        return
    worst = {at: min(certificate[at].items(), key=lambda pair: pair[1]["share"]) for at in ("at10", "at100")}
    for best, (origin, recall) in zip(("ten", "hundred"), worst.values(), strict=True):
        interval = f"95 % interval {recall['low']:.1%} to {recall['high']:.1%}, {origin} queries"
        yield f"{modality}: recall of the {best} best {recall['share']:.1%} ({interval})"
    when = f" on {certificate['measured'][:10]}" if "measured" in certificate else ""
    yield f"{modality}: recall measured with {counted(certificate['queries'], 'query', 'queries')}{when}"


def _faiss(devices: Devices) -> str:
    packages = devices.faiss_packages
    version = devices.faiss or "not installed (pip install 'bindsearch[faiss]')"
    if len(packages) == 1:
        version += f" ({packages[0]})"
    elif packages:
        version += f": {' and '.join(packages)} all contain it; uninstall all but one"
    if devices.faiss_gpus:
        version += f", {len(devices.faiss_runs)} of {counted(devices.faiss_gpus, 'GPU')} usable"
    return f"{version}; {devices.why}"


def _other_spaces(status: Status) -> Iterator[tuple[str, str]]:
    """Return what a migration could not embed, and the size of the pending and the previous space."""
    if status.unseen:
        files = counted(status.unseen, "file")
        yield "missing", f"{files} could not be migrated; the next `index` embeds those that are back"
    if status.pending:
        done = f"{status.pending.files:,} of {counted(status.files, 'file')}, {size(status.pending.bytes)}"
        yield "pending", f"space {status.pending.space}: {done} (`migrate` continues, `migrate --cancel` cancels)"
    if status.previous:
        previous = f"space {status.previous.space}, {size(status.previous.bytes)}"
        yield "previous", f"{previous} (`migrate --rollback` returns to it, `migrate --drop-old` deletes it)"
