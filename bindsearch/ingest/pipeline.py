"""A folder goes in: scan -> identify and hash -> decode -> encode -> commit, overlapped, in bounded memory.

Files are settled in the order of the scan, so the same files always give the same ledger. A scanning thread asks
the ledger which files are new; hashing and decoding threads run a bounded distance ahead; the calling thread
encodes; a committing thread writes one transaction for each batch of files.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT, Stamp
from bindsearch.core.progress import Progress
from bindsearch.errors import OutOfMemory, SpaceError, UnusableSpace
from bindsearch.ingest.commit import BatchCommitter
from bindsearch.ingest.file_job import FileJob, decode_into
from bindsearch.ingest.identify import IdentifiedFile, identify_file
from bindsearch.ingest.report import Report
from bindsearch.ingest.threads import ThreadPools, put
from bindsearch.media import ScanError, ScannedFile, walk
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.types import Modality, Piece

SCAN_CHUNK = 256
SCAN_AHEAD = 10_000
HASH_AHEAD = 16
STOP_SECONDS = 0.2
"""How long the scan may find nothing before the wish to stop is asked for."""
COMMIT_FILES = 128
COMMIT_SEGMENTS = 2_048
COMMIT_SECONDS = 2.0


class Ingest:
    """One run over some roots."""

    def __init__(
        self,
        ledger: Ledger,
        space: Space,
        *,
        metadata: Mapping[str, str] | None = None,
        retry: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> None:
        self._ledger = ledger
        self._space = space
        self._metadata = metadata
        self._retry = retry
        self._tell = progress or (lambda _: None)
        self._asked_to_stop = stop or (lambda: False)
        self._halt = threading.Event()
        self.report = Report()
        self._settlement = BatchCommitter(ledger, self.report, metadata)
        self._total: int | None = None
        self._queued = 0
        self._done = 0
        self._claimed: set[bytes] = set()
        self._seen: set[int] = set()
        """Hashes of the paths that the scan came by: a small number for each, not the path."""
        self._waiting: dict[Modality, list[tuple[FileJob, int, object]]] = {}
        self._settling: list[FileJob] = []
        self._last_commit = time.monotonic()

    def run(self, roots: Sequence[Path], *, entries: Iterable[ScannedFile | ScanError] | None = None) -> Report:
        """Index the roots, or these entries.

        Raises `LibraryFull`, and `UnusableSpace` as soon as the space turns out to be so; what was committed stays.
        """
        began = time.monotonic()
        with self._threads() as pools:
            changed: queue.Queue[ScannedFile | None] = queue.Queue(SCAN_AHEAD)
            scanning = pools.scan.submit(self._scan, iter(walk(roots) if entries is None else entries), changed)
            for job in self._jobs(changed, pools):
                self._take(job)
                if self._commit_due():
                    self._commit(pools)
                self._tell_progress(job.file.found.path)
                if self._stopping():
                    break
            self._commit(pools)
            pools.finish()
            self._tell_progress(None)
            self._halt.set()
            scanning.result()
        if not self.report.stopped:
            self._settlement.sweep(roots, self._seen)
        self.report.elapsed = time.monotonic() - began
        return self.report

    def _stopping(self) -> bool:
        self.report.stopped = self.report.stopped or self._asked_to_stop()
        return self.report.stopped

    def _tell_progress(self, path: Path | None) -> None:
        self._tell(Progress(self._done, self._total, self.report.segments, path))

    @contextmanager
    def _threads(self) -> Iterator[ThreadPools]:
        pools = ThreadPools()
        try:
            yield pools
        finally:
            self._halt.set()
            pools.shutdown()

    # -- scanning: which files need work

    def _scan(self, entries: Iterator[ScannedFile | ScanError], changed: queue.Queue[ScannedFile | None]) -> None:
        try:
            while chunk := list(islice(entries, SCAN_CHUNK)):
                for found in self._needing_work(chunk):
                    self._queued += 1
                    if not put(changed, found, self._halt):
                        return
                if self._halt.is_set():
                    return
            self._total = self._queued
        finally:
            put(changed, None, self._halt)

    def _needing_work(self, chunk: Sequence[ScannedFile | ScanError]) -> list[ScannedFile]:
        needing = []
        with self._ledger.read() as snapshot:
            for entry in chunk:
                if isinstance(entry, ScanError):
                    self.report.deferred[entry.path] = entry.reason
                    continue
                self._seen.add(hash(entry.path))
                record = snapshot.path(entry.path)
                if record is None or record.stamp != Stamp(entry.size, entry.mtime_ns):
                    needing.append(entry)
                elif record.refused or snapshot.quarantined(record.digest) is not None:
                    if self._retry:
                        needing.append(entry)
                    else:
                        self.report.still_quarantined += 1
                elif self._metadata is not None and dict(self._metadata) != dict(record.metadata):
                    needing.append(entry)
                elif record.digest != NO_CONTENT:
                    self.report.unchanged += 1
        return needing

    # -- hashing and decoding, ahead of the encoder

    def _jobs(self, changed: queue.Queue[ScannedFile | None], pools: ThreadPools) -> Iterator[FileJob]:
        """Return jobs in the order of the scan, with hashing and decoding a bounded distance ahead."""
        looking: deque[Future[IdentifiedFile]] = deque()
        ahead: deque[FileJob] = deque()
        scanning = True
        while scanning or looking or ahead:
            while scanning and len(looking) < HASH_AHEAD:
                try:
                    found = changed.get(timeout=0 if looking or ahead else STOP_SECONDS)
                except queue.Empty:
                    break
                scanning = found is not None
                if found is not None:
                    looking.append(pools.hash.submit(identify_file, found, self._halt))
            while looking and len(ahead) < pools.decoders + 2 and (not ahead or looking[0].done()):
                ahead.append(self._start(looking.popleft().result(), pools))
            if ahead:
                yield ahead.popleft()
            elif self._stopping():
                return

    def _start(self, file: IdentifiedFile, pools: ThreadPools) -> FileJob:
        """Begin decoding a file, unless its content is known or on its way already."""
        job = FileJob(file)
        if file.kind is not None and not self._takes(file.kind.modality):
            file.kind, file.digest = None, NO_CONTENT
        if file.kind is not None and file.digest not in self._claimed and not self._known(file.digest):
            self._claimed.add(file.digest)
            job.decoding = True
            pools.decode.submit(decode_into, job, self._space, self._halt)
        return job

    def _takes(self, modality: Modality) -> bool:
        """Whether the space can do anything with files of a modality: of videos, hearing them is enough."""
        known = self._space.spec.modalities
        return modality in known or (modality == Modality.VIDEO and Modality.AUDIO in known)

    def _known(self, digest: bytes) -> bool:
        with self._ledger.read() as snapshot:
            return snapshot.item_of(digest) is not None or (
                not self._retry and snapshot.quarantined(digest) is not None
            )

    # -- encoding

    def _take(self, job: FileJob) -> None:
        """Take a job's pieces as they come, and encode whatever makes a batch. Raises `UnusableSpace`."""
        while job.decoding:
            parcel = job.pieces.get()
            if parcel.piece is None:
                break
            self._enlist(job, parcel.piece, parcel.prepared)
            if self._stopping():
                return
        if job.unusable is not None:
            raise job.unusable
        self._done += 1
        self._settling.append(job)

    def _enlist(self, job: FileJob, piece: Piece, prepared: object) -> None:
        batch = self._waiting.setdefault(piece.modality, [])
        batch.append((job, job.enlist(piece), prepared))
        if len(batch) >= self._space.batch_size(piece.modality):
            self._encode(piece.modality)

    def _encode(self, modality: Modality) -> None:
        batch = self._waiting.pop(modality, [])
        try:
            rows = self._space.encode(modality, [prepared for _, _, prepared in batch])
        except UnusableSpace:
            raise
        except SpaceError:
            self._encode_singly(modality, batch)
            return
        for (job, place, _), row in zip(batch, rows, strict=True):
            job.vectors[place] = row

    def _encode_singly(self, modality: Modality, batch: Sequence[tuple[FileJob, int, object]]) -> None:
        """Find out which piece of a batch the encoder cannot take, so that only its file fails."""
        for job, place, prepared in batch:
            try:
                job.vectors[place] = self._space.encode(modality, [prepared])[0]
            except UnusableSpace:
                raise
            except OutOfMemory as error:  # the file is not to blame
                job.deferral = f"{error}; the next run tries again"
            except SpaceError as error:
                job.failure = str(error)

    # -- committing

    def _commit_due(self) -> bool:
        return (
            len(self._settling) >= COMMIT_FILES
            or sum(len(job.spans) for job in self._settling) >= COMMIT_SEGMENTS
            or time.monotonic() - self._last_commit >= COMMIT_SECONDS
        )

    def _commit(self, pools: ThreadPools) -> None:
        for modality in list(self._waiting):
            self._encode(modality)
        jobs, self._settling = self._settling, []
        if jobs:
            pools.commit(lambda: self._settlement.write(jobs))
        self._last_commit = time.monotonic()
