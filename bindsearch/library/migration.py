"""Move a library to another space: build a new edition beside the current one, then switch the manifest to it.

The caller of anything here holds the library's writer lock.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from bindsearch.core.file_state import NO_CONTENT, UNSEEN
from bindsearch.core.files import remove_folder
from bindsearch.core.progress import Progress
from bindsearch.errors import LibraryError
from bindsearch.library.carry_over import carry_over
from bindsearch.library.edition import OpenEdition
from bindsearch.library.tags import transfer_tags
from bindsearch.media import ScanError, ScannedFile
from bindsearch.spaces.space import Space
from bindsearch.storage.manifest import Edition, EditionRole, Manifest, read_manifest, strays, write_manifest
from bindsearch.storage.records import PathRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import SpaceSpec

FILE_IS_MISSING = "file not found"
NOT_A_FILE = "no longer a file"
NO_MIGRATION = "no migration is under way"


class OpenedBy(Protocol):
    """Opens an edition, or returns it if it is open."""

    def __call__(self, edition: Edition, *, create: bool = False) -> OpenEdition:
        """Open the edition. Raises `LibraryError`."""
        ...


@dataclass
class MigrationReport:
    """What a run of `Library.migrate` did."""

    space: str
    before: str
    """The space before the migration."""
    switched: bool = False
    """Whether the library is in the new space now."""
    stopped: bool = False
    embedded: int = 0
    """Items that this run embedded."""
    done_before: int = 0
    """Items that earlier runs embedded."""
    segments: int = 0
    """Segments that this run embedded."""
    missing: dict[Path, str] = field(default_factory=dict)
    """Files of the old space that cannot be embedded now -> reason."""
    unsupported: dict[str, int] = field(default_factory=dict)
    """Modality -> files of the old space for which the new one has no encoder."""
    tags_recomputed: list[str] = field(default_factory=list)
    """Tags that were computed again in the new space."""
    tags_dropped: list[str] = field(default_factory=list)
    """Tags that the new space lacks: they depend on examples or tuning, or the new space has no text encoder."""
    elapsed: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return asdict(self) | {"missing": {str(path): reason for path, reason in self.missing.items()}}


class Migration:
    """Builds, switches and removes the editions of one library."""

    def __init__(self, folder: Path, open_edition: OpenedBy) -> None:
        self._folder = folder
        self._open = open_edition

    def run(
        self,
        space: Space,
        *,
        allow_missing: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> MigrationReport:
        """Embed what is not embedded yet, then switch, unless files are missing or the run was stopped.

        Raises `LibraryError` if there is nothing to migrate, `LicenceRefused`, `LibraryFull`.
        """
        began = time.monotonic()
        manifest, pending = self._begin(space.spec)
        source, target = self._open(manifest.current), self._open(pending, create=True)
        report, deferred = _embed(source, target, space, progress=progress, stop=stop)
        if not report.stopped:
            _compare_files(report, source, target, deferred)
            if allow_missing or not report.missing:
                carry_over(source, target, overrule=False)
                tags = transfer_tags(source, target)
                report.tags_recomputed, report.tags_dropped = list(tags.recomputed), list(tags.dropped)
                target.save(everything=True)
                self._switch(manifest, pending)
                report.switched = True
        report.elapsed = time.monotonic() - began
        return report

    def rollback(self) -> str:
        """Switch back to the previous edition, with today's paths; return the name of its space.

        What was indexed since is embedded by the next `index`. Raises `LibraryError` if there is none, `SpaceError`
        if its encoders are not available.
        """
        manifest = read_manifest(self._folder)
        if manifest.previous is None:
            raise LibraryError(f"{self._folder} has no previous space to return to, only {manifest.space}")
        source, target = self._open(manifest.current), self._open(manifest.previous)
        manifest.allow(target.space.spec)  # loads the encoders, too, before anything changes
        carry_over(source, target, overrule=True)
        transfer_tags(source, target)
        target.save()
        self._switch(manifest, manifest.previous)
        return manifest.previous.space

    def drop(self, role: EditionRole) -> int:
        """Remove the previous or the pending edition; return the bytes freed. Raises `LibraryError`."""
        manifest = read_manifest(self._folder)
        if role not in manifest.others:
            missing = "there is no previous space" if role == EditionRole.PREVIOUS else NO_MIGRATION
            raise LibraryError(f"{self._folder}: {missing}")
        manifest = replace(manifest, previous=None) if role == EditionRole.PREVIOUS else replace(manifest, pending=None)
        write_manifest(self._folder, manifest)
        return self.clean(manifest)

    def clean(self, manifest: Manifest) -> int:
        """Remove what belongs to no edition; return the bytes freed."""
        return sum(remove_folder(place) for place in strays(self._folder, manifest))

    def _begin(self, spec: SpaceSpec) -> tuple[Manifest, Edition]:
        """Record the pending edition in the manifest, unless it is recorded already."""
        manifest = read_manifest(self._folder)
        manifest.allow(spec)
        if manifest.current.is_of(spec):
            raise LibraryError(f"{self._folder} is already in space {spec.name}")
        if manifest.pending is not None and not manifest.pending.is_of(spec):
            raise LibraryError(
                f"{self._folder} is being migrated to space {manifest.pending.space} "
                f"({manifest.pending.fingerprint[:12]}), not to {spec.name} ({spec.fingerprint[:12]}): "
                "`bindsearch migrate` continues, `bindsearch migrate --cancel` cancels it"
            )
        if manifest.previous is not None and manifest.previous.is_of(spec):
            raise LibraryError(
                f"{self._folder} was in space {spec.name} before: `bindsearch migrate --rollback` returns to it"
            )
        self.clean(manifest)
        pending = Edition.of(spec, manifest.pending.number if manifest.pending else manifest.editions + 1)
        if manifest.pending != pending:
            manifest = replace(manifest, pending=pending, editions=pending.number)
            write_manifest(self._folder, manifest)
        return manifest, pending

    def _switch(self, manifest: Manifest, edition: Edition) -> None:
        """Make an edition the current one: replacing the manifest is the switch."""
        manifest = manifest.switched_to(edition)
        write_manifest(self._folder, manifest)
        self.clean(manifest)


def _embed(
    source: OpenEdition,
    target: OpenEdition,
    space: Space,
    *,
    progress: Callable[[Progress], None] | None,
    stop: Callable[[], bool] | None,
) -> tuple[MigrationReport, dict[Path, str]]:
    """Embed the files of the source in the target; return a report, and the files that could not be read."""
    from bindsearch.ingest.pipeline import Ingest

    with source.ledger.read() as snapshot:
        paths = in_scan_order(snapshot)
    with target.ledger.read() as snapshot:
        done_before = snapshot.item_count()
    ingest = Ingest(target.ledger, space, retry=True, progress=progress, stop=stop)
    ingested = ingest.run((), entries=_scan_paths(paths))
    with target.ledger.read() as snapshot:
        embedded = snapshot.item_count() - done_before
    report = MigrationReport(
        space.spec.name,
        source.edition.space,
        stopped=ingested.stopped,
        embedded=embedded,
        done_before=done_before,
        segments=ingested.segments,
    )
    return report, ingested.deferred


def in_scan_order(snapshot: Snapshot) -> list[Path]:
    """Return all known paths as a scan of the indexed folders meets them, so that items get the same numbers."""
    ranks = {folder: rank for rank, folder in enumerate(snapshot.indexed_folders())}

    def rank_of(path: Path) -> int:
        return next((ranks[place] for place in (path, *path.parents) if place in ranks), len(ranks))

    paths = [record.path for record in snapshot.paths()]
    return sorted(paths, key=lambda path: (rank_of(path), [os.fsencode(part) for part in path.parts]))


def _scan_paths(paths: Sequence[Path]) -> Iterator[ScannedFile | ScanError]:
    """Yield the files as they are now."""
    for path in paths:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            yield ScanError(path, FILE_IS_MISSING)
        except OSError as error:
            yield ScanError(path, error.strerror or str(error))
        else:
            is_file = stat.S_ISREG(status.st_mode)
            yield ScannedFile(path, status.st_size, status.st_mtime_ns) if is_file else ScanError(path, NOT_A_FILE)


def _compare_files(
    report: MigrationReport, source: OpenEdition, target: OpenEdition, deferred: dict[Path, str]
) -> None:
    """Add the files of the old space that are not in the new one to the report."""
    with source.ledger.read() as old, target.ledger.read() as new:
        for record in old.paths():
            item = None if record.digest == NO_CONTENT else old.item_of(record.digest)
            item_record = None if item is None else old.item_record(item)
            if item_record is None:
                continue
            migrated = new.path(record.path)
            if reason := _why_missing(record, migrated, new, deferred):
                report.missing[record.path] = reason
            elif migrated is not None and migrated.stamp != UNSEEN and migrated.digest == NO_CONTENT:
                report.unsupported[item_record.modality] = report.unsupported.get(item_record.modality, 0) + 1


def _why_missing(record: PathRecord, migrated: PathRecord | None, new: Snapshot, deferred: dict[Path, str]) -> str:
    """Return why a file with an item in the old space has none in the new one; empty if it is not missing."""
    if migrated is None or migrated.stamp == UNSEEN:
        copy_is_embedded = new.item_of(record.digest) is not None
        return "" if copy_is_embedded else deferred.get(record.path, FILE_IS_MISSING)
    return migrated.refused or new.quarantined(migrated.digest) or ""
