"""Writes decoded files into the ledger, and counts what happened to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT, is_gone
from bindsearch.ingest.file_job import FileJob
from bindsearch.ingest.identify import CHANGED_MEANWHILE, PathChange
from bindsearch.ingest.report import BROKEN_LINK, Report
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.records import PathRecord
from bindsearch.storage.write_transaction import WriteTransaction


class BatchCommitter:
    """What a run writes: batches of jobs, each in one transaction, and in the end what is gone."""

    def __init__(self, ledger: Ledger, report: Report, metadata: Mapping[str, str] | None) -> None:
        self._ledger = ledger
        self._report = report
        self._metadata = metadata
        self._moved: set[bytes] = set()

    def write(self, jobs: Sequence[FileJob]) -> None:
        """Write a batch whole, then count it. Raises `LibraryFull`."""
        processed = [(job, job.outcome()) for job in jobs]
        links = self._ledger.write(lambda txn: [self._settle(txn, job, what) for job, what in processed])
        for (job, what), link in zip(processed, links, strict=True):
            self._account(job, what, link)

    def _settle(self, txn: WriteTransaction, job: FileJob, what: str) -> PathChange | None:
        """Write one file; the same job always writes the same, so that a transaction may be tried again."""
        file, path = job.file, job.file.found.path
        if what == "vanished":
            txn.unlink(path)
        if what in ("vanished", "trouble"):
            return None
        if what == "decoded":
            txn.put_item(file.digest, job.content())
        if what == "failed":
            txn.put_quarantine(file.digest, job.failure)
        link = PathChange.seen(txn, path, file.digest)
        if link.known:
            metadata = self._metadata_of(txn, path, link)
            if link.moved_from:
                txn.unlink(link.moved_from.path)
            txn.link(PathRecord(path, file.stamp, file.digest, metadata, file.refused))
        return link

    def _metadata_of(self, txn: WriteTransaction, path: Path, link: PathChange) -> Mapping[str, str]:
        """Return what was asked for, else what the path had, else what the file had where it was before."""
        if self._metadata is not None:
            return self._metadata
        before = txn.path(path) or link.moved_from
        return before.metadata if before else txn.former_metadata(link.digest)

    def _account(self, job: FileJob, what: str, link: PathChange | None) -> None:
        report, path = self._report, job.file.found.path
        if what == "trouble":
            report.deferred[path] = job.file.deferral or job.deferral
        elif what == "refused":
            report.quarantined[path] = job.file.refused
        elif what == "ignored":
            report.ignored += 1
            kind = BROKEN_LINK if job.file.found.broken_link else path.suffix.lower() or "without ending"
            report.ignored_kinds[kind] = report.ignored_kinds.get(kind, 0) + 1
        elif link is not None and link.quarantined:
            report.quarantined[path] = link.quarantined
        elif link is not None:
            self._count(path, link, decoded=what == "decoded")
        if what == "failed":
            report.damaged += 1
        if what == "decoded":
            report.decoded += 1
            report.segments += len(job.spans)
            report.media_seconds += job.duration or 0.0
            report.covered_seconds += (job.duration or 0.0) * job.covered

    def _count(self, path: Path, link: PathChange, *, decoded: bool) -> None:
        """Count a readable file under the one word that says what happened to it."""
        report = self._report
        if not link.known:
            report.deferred[path] = CHANGED_MEANWHILE
        elif link.had == link.digest:
            report.unchanged += 1
        elif link.had != NO_CONTENT:
            report.changed += 1
        elif decoded:
            report.added += 1
        elif link.moved_from:
            report.moved += 1
            self._moved.add(link.digest)
        elif link.live:
            report.copied += 1
        else:
            report.returned += 1

    def sweep(self, roots: Sequence[Path], seen: Set[int]) -> None:
        """Unlink the paths that a complete walk of the roots did not come by, and former places of moved files.

        What lies at or below something that could not be looked at stays.
        """
        with self._ledger.read() as snapshot:
            former = [record for digest in self._moved for record in snapshot.owners(digest)]
            gone = {record.path: record for record in former if is_gone(record.path)}
            for root in roots:
                gone |= {record.path: record for record in snapshot.paths(root) if self._is_left(record.path, seen)}
        self._ledger.write_each(WriteTransaction.unlink, list(gone))
        self._report.removed = sum(record.digest != NO_CONTENT for record in gone.values())

    def _is_left(self, path: Path, seen: Set[int]) -> bool:
        if hash(path) in seen:
            return is_gone(path) and not path.is_symlink()
        return is_gone(path) or not any(place in self._report.deferred for place in (path, *path.parents))
