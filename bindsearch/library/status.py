"""The content of a library, its quarantine, and its size on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bindsearch.core.file_state import NO_CONTENT, UNSEEN
from bindsearch.core.files import folder_size
from bindsearch.indexing.generations import Generation
from bindsearch.library.edition import OpenEdition
from bindsearch.registry import devices
from bindsearch.storage.manifest import EditionRole, Manifest
from bindsearch.storage.settings import Settings
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Devices, Modality


@dataclass(frozen=True)
class EditionStatus:
    """The previous or the pending edition of a library."""

    space: str
    fingerprint: str
    dim: int
    files: int
    """Paths in its ledger."""
    bytes: int
    """Size on disk."""


@dataclass(frozen=True)
class Status:
    """The state of a library."""

    path: Path
    space: str
    fingerprint: str
    dim: int
    licence: str
    """The licence of the space's weights, and what it does not allow; empty for libraries that did not record it."""
    schema: int
    items_by_modality: dict[str, int]
    segments_by_modality: dict[str, int]
    hours: float
    """Duration of all sounds and videos."""
    dormant: int
    """Items whose files are gone; their vectors stay in case the files come back."""
    quarantine: dict[Path, str]
    indexed_folders: list[Path]
    ledger_bytes: int
    index_bytes: int
    indexes: dict[str, str]
    """Modality -> kind of index."""
    generations: dict[str, Generation]
    """Modality -> its index on disk: why it is of its kind, its size and its measured recall."""
    settings: Settings
    """What the owner configured."""
    devices: Devices
    certificates: dict[str, dict[str, Any]]
    """Modality -> measured recall of its index, for approximate indexes."""
    files: int
    """Known paths, whatever their content."""
    unseen: int
    """Paths known by name only, because their files were missing when the library was migrated."""
    pending: EditionStatus | None
    """The edition that a migration is building."""
    previous: EditionStatus | None
    """The edition before the last migration."""
    tags: tuple[str, ...] = ()
    """Labels that items are tagged with."""

    @property
    def items(self) -> int:
        """Live items."""
        return sum(self.items_by_modality.values())

    @property
    def segments(self) -> int:
        """Segments of live items."""
        return sum(self.segments_by_modality.values())

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        values = asdict(self)
        values["path"] = str(self.path)
        values["hours"] = round(self.hours, 6)
        values["quarantine"] = {str(path): reason for path, reason in self.quarantine.items()}
        values["indexed_folders"] = [str(folder) for folder in self.indexed_folders]
        return values | {"items": self.items, "segments": self.segments}


def status_of(
    snapshot: Snapshot, path: Path, manifest: Manifest, now: OpenEdition, others: Mapping[EditionRole, OpenEdition]
) -> Status:
    """Count what a snapshot of the ledger holds, and measure the other editions."""
    items = dict.fromkeys(map(str, Modality), 0)
    segments = dict.fromkeys(map(str, Modality), 0)
    dormant, seconds = 0, 0.0
    for _, record in snapshot.items():
        if not snapshot.is_live(record.digest):
            dormant += 1
            continue
        items[record.modality] += 1
        seconds += record.duration or 0.0
        for run in record.runs:
            segments[run.modality] += run.count
    generations = now.index_store.generations()
    return Status(
        path=path,
        space=now.edition.space,
        fingerprint=now.edition.fingerprint,
        dim=now.edition.dim,
        licence=now.edition.licence,
        schema=manifest.schema,
        items_by_modality=items,
        segments_by_modality=segments,
        hours=seconds / 3600,
        dormant=dormant,
        quarantine=quarantine_of(snapshot),
        indexed_folders=snapshot.indexed_folders(),
        ledger_bytes=now.ledger.environment.bytes_used(),
        index_bytes=now.index_store.bytes_used(),
        indexes={modality: generation.kind for modality, generation in generations.items()},
        generations=generations,
        settings=manifest.settings,
        devices=devices(),
        certificates={name: saved.certificate for name, saved in generations.items() if saved.certificate},
        files=snapshot.path_count(),
        unseen=sum(record.stamp == UNSEEN for record in snapshot.paths()),
        pending=_edition_status(path, others.get(EditionRole.PENDING)),
        previous=_edition_status(path, others.get(EditionRole.PREVIOUS)),
        tags=tuple(snapshot.tag_columns()),
    )


def _edition_status(folder: Path, opened: OpenEdition | None) -> EditionStatus | None:
    if opened is None:
        return None
    edition = opened.edition
    with opened.ledger.read() as snapshot:
        files = snapshot.path_count()
    size = folder_size(edition.ledger(folder)) + folder_size(edition.index(folder))
    return EditionStatus(edition.space, edition.fingerprint, edition.dim, files, size)


def quarantine_of(snapshot: Snapshot) -> dict[Path, str]:
    """Return every unreadable path with the reason; it lies in the content or in the name of the file."""
    reasons = {record.path: record.refused for record in snapshot.paths() if record.refused}
    for digest, reason in snapshot.quarantine():
        reasons |= {record.path: reason for record in snapshot.owners(digest) if digest != NO_CONTENT}
    return dict(sorted(reasons.items()))
