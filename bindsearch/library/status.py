"""What is in a library, what is put aside and why, and what it costs."""

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
from bindsearch.types import Modality


@dataclass(frozen=True)
class EditionStatus:
    """Another space that the library has beside the one that answers."""

    space: str
    fingerprint: str
    dim: int
    files: int
    """Files that it knows."""
    bytes: int
    """What it costs on the disk."""


@dataclass(frozen=True)
class Status:
    """A library at one moment."""

    path: Path
    space: str
    fingerprint: str
    dim: int
    licence: str
    """Of the space's weights, and what it does not allow; nothing where the library was made before it was kept."""
    schema: int
    items_by_modality: dict[str, int]
    segments_by_modality: dict[str, int]
    hours: float
    """Of sound and video."""
    dormant: int
    """Items whose files are gone; their vectors are kept in case they come back."""
    quarantine: dict[Path, str]
    indexed_folders: list[Path]
    ledger_bytes: int
    index_bytes: int
    indexes: dict[str, str]
    """Modality -> kind of index."""
    generations: dict[str, Generation]
    """Modality -> its index on disk: why it is of its kind, what it takes, and what it was measured to find."""
    settings: Settings
    """What the indexes are chosen by."""
    devices: dict[str, Any]
    """Which FAISS searches here, which cards there are, and `why` none is used."""
    certificates: dict[str, dict[str, Any]]
    """Modality -> what its index was measured to find, for those that may not find everything."""
    files: int
    """Paths that are known, whatever they hold."""
    unseen: int
    """Paths that are known by name only, because their files were not there when the library was migrated."""
    pending: EditionStatus | None
    """The space that a migration is making."""
    previous: EditionStatus | None
    """The space before the last migration."""
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
        """Plain values, ready for `json.dumps`."""
        told = asdict(self)
        told["path"] = str(self.path)
        told["hours"] = round(self.hours, 6)
        told["quarantine"] = {str(path): reason for path, reason in self.quarantine.items()}
        told["indexed_folders"] = [str(folder) for folder in self.indexed_folders]
        return told | {"items": self.items, "segments": self.segments}


def status_of(
    snapshot: Snapshot, path: Path, manifest: Manifest, now: OpenEdition, others: Mapping[EditionRole, OpenEdition]
) -> Status:
    """Count what a view of the ledger holds, and what the editions beside it cost."""
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
        indexes={modality: told.kind for modality, told in generations.items()},
        generations=generations,
        settings=manifest.settings,
        devices=devices(),
        certificates={modality: told.certificate for modality, told in generations.items() if told.certificate},
        files=snapshot.path_count(),
        unseen=sum(record.stamp == UNSEEN for record in snapshot.paths()),
        pending=_beside(path, others.get(EditionRole.PENDING)),
        previous=_beside(path, others.get(EditionRole.PREVIOUS)),
        tags=tuple(snapshot.tag_columns()),
    )


def _beside(folder: Path, opened: OpenEdition | None) -> EditionStatus | None:
    if opened is None:
        return None
    edition = opened.edition
    with opened.ledger.read() as snapshot:
        files = snapshot.path_count()
    cost = folder_size(edition.ledger(folder)) + folder_size(edition.index(folder))
    return EditionStatus(edition.space, edition.fingerprint, edition.dim, files, cost)


def quarantine_of(snapshot: Snapshot) -> dict[Path, str]:
    """Return every path that cannot be read, and why: for its content, or for its name."""
    told = {record.path: record.refused for record in snapshot.paths() if record.refused}
    for digest, reason in snapshot.quarantine():
        told |= {record.path: reason for record in snapshot.owners(digest) if digest != NO_CONTENT}
    return dict(sorted(told.items()))
