"""Writes decoded files into the ledger and counts what happened to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT, is_gone
from bindsearch.ingest.file_job import FileJob, FileOutcome
from bindsearch.ingest.identify import CHANGED_MEANWHILE, PathChange
from bindsearch.ingest.report import BROKEN_LINK, Report
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.records import PathRecord
from bindsearch.storage.write_transaction import WriteTransaction


class BatchCommitter:
    """Writes the batches of a run, each in one transaction, and at its end unlinks what is gone."""

    def __init__(self, ledger: Ledger, metadata: Mapping[str, str] | None) -> None:
        self._ledger = ledger
        self._metadata = metadata
        self._moved: set[bytes] = set()

    def write(self, jobs: Sequence[FileJob]) -> Report:
        """Write a batch as a whole; return its counts. Raises `LibraryFull`."""
        report = Report()
        for part in self._ledger.write(lambda txn: [self._write_file(txn, job) for job in jobs]):
            report += part
        return report

    def _write_file(self, txn: WriteTransaction, job: FileJob) -> Report:
        """Write one file and count it. The transaction may run again, so the same job always writes the same."""
        file, path = job.file, job.file.found.path
        match job.outcome():
            case FileOutcome.VANISHED:
                txn.unlink(path)
                return Report()
            case FileOutcome.DEFERRED:
                return Report(deferred={path: job.deferral})
            case FileOutcome.REFUSED:
                self._link(txn, job)
                return Report(quarantined={path: file.refused})
            case FileOutcome.IGNORED:
                self._link(txn, job)
                kind = BROKEN_LINK if file.found.broken_link else path.suffix.lower() or "without extension"
                return Report(ignored=1, ignored_kinds={kind: 1})
            case FileOutcome.KNOWN:
                return self._counted(path, self._link(txn, job))
            case FileOutcome.FAILED:
                txn.put_quarantine(file.digest, job.failure)
                report = self._counted(path, self._link(txn, job))
                report.damaged = 1
                return report
            case FileOutcome.DECODED:
                txn.put_item(file.digest, job.content())
                report = self._counted(path, self._link(txn, job), decoded=True)
                report += _decoded(job)
                return report

    def _link(self, txn: WriteTransaction, job: FileJob) -> PathChange:
        """Link the file's path to its content, if the ledger knows it. Return what changed."""
        file, path = job.file, job.file.found.path
        change = PathChange.of(txn, path, file.digest)
        if change.known:
            metadata = self._metadata_of(txn, path, change)
            if change.moved_from:
                txn.unlink(change.moved_from.path)
            txn.link(PathRecord(path, file.stamp, file.digest, metadata, file.refused))
        return change

    def _metadata_of(self, txn: WriteTransaction, path: Path, change: PathChange) -> Mapping[str, str]:
        """Return the metadata given to the run, else the path's own, else that of the file's former path."""
        if self._metadata is not None:
            return self._metadata
        before = txn.path(path) or change.moved_from
        return before.metadata if before else txn.former_metadata(change.digest)

    def _counted(self, path: Path, change: PathChange, *, decoded: bool = False) -> Report:
        """Count a file with content under the one name that says what happened to it."""
        if change.quarantined:
            return Report(quarantined={path: change.quarantined})
        if not change.known:
            return Report(deferred={path: CHANGED_MEANWHILE})
        if change.had == change.digest:
            return Report(unchanged=1)
        if change.had != NO_CONTENT:
            return Report(changed=1)
        if decoded:
            return Report(added=1)
        if change.moved_from:
            self._moved.add(change.digest)
            return Report(moved=1)
        return Report(copied=1) if change.live else Report(returned=1)

    def sweep(self, folders: Sequence[Path], scanned: Set[int], deferred: Mapping[Path, str]) -> int:
        """Unlink the paths that a complete scan of the folders did not meet, and former paths of moved files.

        Paths at or below something that could not be read stay. Return how many files were removed.
        """
        with self._ledger.read() as snapshot:
            former = [record for digest in self._moved for record in snapshot.owners(digest)]
            gone = {record.path: record for record in former if is_gone(record.path)}
            for folder in folders:
                known = snapshot.paths(folder)
                gone |= {record.path: record for record in known if _is_left(record.path, scanned, deferred)}
        self._ledger.write_each(WriteTransaction.unlink, list(gone))
        return sum(record.digest != NO_CONTENT for record in gone.values())


def _decoded(job: FileJob) -> Report:
    seconds = job.result.duration or 0.0
    covered = seconds * job.result.covered
    return Report(decoded=1, segments=len(job.spans), media_seconds=seconds, covered_seconds=covered)


def _is_left(path: Path, scanned: Set[int], deferred: Mapping[Path, str]) -> bool:
    """Whether a known path is to be unlinked: it is gone, or was not scanned though it could have been."""
    if hash(path) in scanned:
        return is_gone(path) and not path.is_symlink()
    return is_gone(path) or not any(place in deferred for place in (path, *path.parents))
