"""The scanning thread of a run: which files are new or changed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from bindsearch.core.file_state import NO_CONTENT, Stamp
from bindsearch.ingest.report import Report
from bindsearch.ingest.threads import put
from bindsearch.media import ScanError, ScannedFile
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.snapshot import Snapshot

SCAN_CHUNK_FILES = 256
"""Files whose records are read in one transaction."""


class ScanStage:
    """Compares scanned files with the ledger and hands on those that need work."""

    def __init__(
        self, ledger: Ledger, *, metadata: Mapping[str, str] | None, retry: bool, halt: threading.Event
    ) -> None:
        self._ledger = ledger
        self._metadata = metadata
        self._retry = retry
        self._halt = halt
        self._queued = 0
        self.total: int | None = None
        """Files that need work; None until the scan is complete."""
        self.scanned: set[int] = set()
        """Hashes of the scanned paths: a small number for each instead of the path."""

    def run(self, entries: Iterator[ScannedFile | ScanError], changed: queue.Queue[ScannedFile | None]) -> Report:
        """Put the files that need work into a queue, then None. Return the counts of the others."""
        report = Report()
        try:
            while chunk := list(islice(entries, SCAN_CHUNK_FILES)):
                for found in self._needing_work(chunk, report):
                    self._queued += 1
                    if not put(changed, found, self._halt):
                        return report
                if self._halt.is_set():
                    return report
            self.total = self._queued
            return report
        finally:
            put(changed, None, self._halt)

    def _needing_work(self, chunk: Sequence[ScannedFile | ScanError], report: Report) -> list[ScannedFile]:
        needing = []
        with self._ledger.read() as snapshot:
            for entry in chunk:
                if isinstance(entry, ScanError):
                    report.deferred[entry.path] = entry.reason
                    continue
                self.scanned.add(hash(entry.path))
                if self._needs_work(snapshot, entry, report):
                    needing.append(entry)
        return needing

    def _needs_work(self, snapshot: Snapshot, entry: ScannedFile, report: Report) -> bool:
        """Whether a file is new, changed, to be retried or to get other metadata; if not, count it."""
        record = snapshot.path(entry.path)
        if record is None or record.stamp != Stamp(entry.size, entry.mtime_ns):
            return True
        if record.refused or snapshot.quarantined(record.digest) is not None:
            report.still_quarantined += not self._retry
            return self._retry
        if self._metadata is not None and dict(self._metadata) != dict(record.metadata):
            return True
        report.unchanged += record.digest != NO_CONTENT
        return False
