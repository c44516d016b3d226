"""A library moves to another space: a new edition is made beside the one that answers, then the card names that one.

Whoever calls anything here holds the library's writing lock.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bindsearch.core.file_state import NO_CONTENT, UNSEEN
from bindsearch.core.files import remove_folder
from bindsearch.core.progress import Progress
from bindsearch.errors import LibraryError
from bindsearch.library.edition import OpenEdition
from bindsearch.library.tags import transfer_tags
from bindsearch.media import ScanError, ScannedFile
from bindsearch.spaces.space import Space
from bindsearch.storage.manifest import Edition, EditionRole, Manifest, read_manifest, strays, write_manifest
from bindsearch.storage.records import ConceptRecord, PathRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import WriteTransaction
from bindsearch.types import SpaceSpec

GONE = "it is not there now"
NO_FILE = "it is no file any more"


@dataclass
class MigrationReport:
    """What a run of `Library.migrate` did."""

    space: str
    before: str
    """The space that the library had."""
    switched: bool = False
    """Whether the library has the new space now."""
    stopped: bool = False
    embedded: int = 0
    """Items that were embedded in this run."""
    done_before: int = 0
    """Items that earlier runs had embedded."""
    segments: int = 0
    """Segments that were embedded in this run."""
    missing: dict[Path, str] = field(default_factory=dict)
    """Files that the old space has and that cannot be embedded now, and why."""
    not_taken: dict[str, int] = field(default_factory=dict)
    """Modality -> files of the old space that the new one has no encoder for."""
    tags_again: list[str] = field(default_factory=list)
    """Tags that were worked out anew in the new space."""
    tags_dropped: list[str] = field(default_factory=list)
    """Tags that the new space lacks: they hang on examples or tuning in the old one, or it knows no words."""
    elapsed: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self) | {"missing": {str(path): why for path, why in self.missing.items()}}


class Migration:
    """Makes, shows and removes the editions of one library."""

    def __init__(self, folder: Path, opened: Callable[..., OpenEdition]) -> None:
        """`opened(edition, create=False)` gives an edition to work with."""
        self._folder = folder
        self._opened = opened

    def run(
        self,
        space: Space,
        *,
        allow_missing: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> MigrationReport:
        """Embed what is not embedded yet, then switch, unless files are missing or the run was stopped.

        Raises `LibraryError` where there is nothing to migrate to, `LicenceRefused`, `LibraryFull`.
        """
        from bindsearch.ingest.pipeline import Ingest

        began = time.monotonic()
        manifest, pending = self._begin(space.spec)
        source, target = self._opened(manifest.current), self._opened(pending, create=True)
        ingest = Ingest(target.ledger, space, retry=True, progress=progress, stop=stop)
        with source.ledger.read() as snapshot:
            places = in_walking_order(snapshot)
        with target.ledger.read() as snapshot:
            done_before = snapshot.item_count()
        did = ingest.run((), entries=_standing(places))
        with target.ledger.read() as snapshot:
            embedded = snapshot.item_count() - done_before
        report = MigrationReport(
            space.spec.name,
            manifest.space,
            stopped=did.stopped,
            embedded=embedded,
            done_before=done_before,
            segments=did.segments,
        )
        if not report.stopped:
            _take_stock(report, source, target, did.deferred)
            if allow_missing or not report.missing:
                bring(source, target, overrule=False)
                brought = transfer_tags(source, target)
                report.tags_again, report.tags_dropped = list(brought.again), list(brought.dropped)
                target.save(everything=True)
                self._show(manifest, pending)
                report.switched = True
        report.elapsed = time.monotonic() - began
        return report

    def rollback(self) -> str:
        """Switch back to the previous edition, with today's paths; return the name of its space.

        What was indexed since is embedded by the next `index`. Raises `LibraryError` if there is none, `SpaceError`
        if its encoders are not to be had.
        """
        manifest = read_manifest(self._folder)
        if manifest.previous is None:
            raise LibraryError(f"{self._folder} has no previous space to go back to, only {manifest.space}")
        source, target = self._opened(manifest.current), self._opened(manifest.previous)
        manifest.allow(target.space.spec)  # and the encoders are there: before anything changes
        bring(source, target, overrule=True)
        transfer_tags(source, target)
        target.save()
        self._show(manifest, manifest.previous)
        return manifest.previous.space

    def drop(self, role: EditionRole) -> int:
        """Remove the previous or the pending edition; return the bytes freed. Raises `LibraryError`."""
        manifest = read_manifest(self._folder)
        if role not in manifest.others:
            missing = "there is no previous space" if role == EditionRole.PREVIOUS else NOT_UNDER_WAY
            raise LibraryError(f"{self._folder}: {missing}")
        manifest = replace(manifest, previous=None) if role == EditionRole.PREVIOUS else replace(manifest, pending=None)
        write_manifest(self._folder, manifest)
        return self.clean(manifest)

    def clean(self, manifest: Manifest) -> int:
        """Remove what no edition owns; give the bytes that were freed."""
        return sum(remove_folder(place) for place in strays(self._folder, manifest))

    def _begin(self, spec: SpaceSpec) -> tuple[Manifest, Edition]:
        """Record the pending edition in the manifest, unless it is recorded already."""
        manifest = read_manifest(self._folder)
        manifest.allow(spec)
        if manifest.current.is_of(spec):
            raise LibraryError(f"{self._folder} has space {spec.name} already")
        if manifest.pending is not None and not manifest.pending.is_of(spec):
            raise LibraryError(
                f"{self._folder} is being migrated to space {manifest.pending.space} "
                f"({manifest.pending.fingerprint[:12]}), not to {spec.name} ({spec.fingerprint[:12]}): "
                "`bindsearch migrate` continues, `bindsearch migrate --cancel` gives it up"
            )
        if manifest.previous is not None and manifest.previous.is_of(spec):
            raise LibraryError(
                f"{self._folder} was in space {spec.name} before: `bindsearch migrate --rollback` goes back to it"
            )
        self.clean(manifest)
        pending = Edition.of(spec, manifest.pending.number if manifest.pending else manifest.editions + 1)
        if manifest.pending != pending:
            manifest = replace(manifest, pending=pending, editions=pending.number)
            write_manifest(self._folder, manifest)
        return manifest, pending

    def _show(self, manifest: Manifest, edition: Edition) -> None:
        """Switch: from this rename on, the card names another edition."""
        manifest = manifest.switched_to(edition)
        write_manifest(self._folder, manifest)
        self.clean(manifest)


NOT_UNDER_WAY = "no migration is under way"


def in_walking_order(snapshot: Snapshot) -> list[Path]:
    """Return all known paths as a walk of the roots would come by them: a fresh index gives the same numbers."""
    ranks = {root: rank for rank, root in enumerate(snapshot.indexed_folders())}

    def rank_of(path: Path) -> int:
        return next((ranks[place] for place in (path, *path.parents) if place in ranks), len(ranks))

    paths = [record.path for record in snapshot.paths()]
    return sorted(paths, key=lambda path: (rank_of(path), [os.fsencode(part) for part in path.parts]))


def _standing(paths: Sequence[Path]) -> Iterator[ScannedFile | ScanError]:
    """Look at files as they are now."""
    for path in paths:
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            yield ScanError(path, GONE)
        except OSError as error:
            yield ScanError(path, error.strerror or str(error))
        else:
            is_file = stat.S_ISREG(status.st_mode)
            yield ScannedFile(path, status.st_size, status.st_mtime_ns) if is_file else ScanError(path, NO_FILE)


def _take_stock(report: MigrationReport, source: OpenEdition, target: OpenEdition, deferred: dict[Path, str]) -> None:
    """Say which files of the old space are not in the new one."""
    with source.ledger.read() as old, target.ledger.read() as new:
        for record in old.paths():
            item = None if record.digest == NO_CONTENT else old.item_of(record.digest)
            item_record = None if item is None else old.item_record(item)
            if item_record is None:
                continue
            there = new.path(record.path)
            if there is None or there.stamp == UNSEEN:
                if new.item_of(record.digest) is None:  # no copy of it was embedded either
                    report.missing[record.path] = deferred.get(record.path, GONE)
            elif there.refused or new.quarantined(there.digest) is not None:
                report.missing[record.path] = there.refused or new.quarantined(there.digest) or ""
            elif there.digest == NO_CONTENT:
                report.not_taken[item_record.modality] = report.not_taken.get(item_record.modality, 0) + 1


def bring(source: OpenEdition, target: OpenEdition, *, overrule: bool) -> None:
    """Bring paths, metadata, roots and concepts from one edition to another; contents and vectors stay there.

    With `overrule` the source knows better what a path holds. A path of which the target has no content is noted
    by its name, so that the next `index` reads it.
    """
    with source.ledger.read() as old, target.ledger.read() as new:
        links = [link for record in old.paths() if (link := _path_to_carry(record, new, overrule=overrule)) is not None]
        gone = [record.path for record in new.paths() if old.path(record.path) is None]
        former = [(digest, told) for digest, told in old.former() if new.former_metadata(digest) != told]
        roots = None if new.indexed_folders() == old.indexed_folders() else old.indexed_folders()
        kept, known = old.concepts(), new.concepts()
        concepts = [(name, told) for name, told in kept.items() if not _same_parts(told, known.get(name))]
        dropped = sorted(known.keys() - kept.keys())
    target.ledger.write_each(WriteTransaction.link, links)
    target.ledger.write_each(WriteTransaction.unlink, gone)
    target.ledger.write_each(lambda txn, pair: txn.put_former(*pair), former)
    target.ledger.write_each(lambda txn, pair: txn.put_concept(*pair), concepts)
    target.ledger.write_each(WriteTransaction.drop_concept, dropped)
    if roots is not None:
        target.ledger.write(lambda txn: txn.set_indexed_folders(roots))


def _same_parts(one: ConceptRecord, other: ConceptRecord | None) -> bool:
    """Whether two records of a concept say the same; their vectors may be of different spaces."""
    return other is not None and one.parts == other.parts


def _path_to_carry(record: PathRecord, new: Snapshot, *, overrule: bool) -> PathRecord | None:
    """Return what the target is to say of a path; None if it says so already."""
    there = new.path(record.path)
    if there is None or there.stamp == UNSEEN:
        link = record if _knows(new, record.digest) else replace(record, stamp=UNSEEN, digest=NO_CONTENT, refused="")
    elif overrule and _knows(new, record.digest):
        link = record
    else:
        link = replace(there, metadata=record.metadata)
    return None if link == there else link


def _knows(snapshot: Snapshot, digest: bytes) -> bool:
    """Whether a content is an item or in quarantine."""
    return digest != NO_CONTENT and (snapshot.item_of(digest) is not None or snapshot.quarantined(digest) is not None)
