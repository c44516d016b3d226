"""Indexing: scan -> identify and hash -> decode -> encode -> commit, overlapped, in bounded memory.

Files are committed in the order of the scan, so the same files always give the same ledger. A scanning thread asks
the ledger which files are new; hashing and decoding threads run a bounded distance ahead; the calling thread
encodes; a committing thread writes one transaction for each batch of files. Each stage returns what it counted, and
the calling thread adds it up.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.core.progress import Progress
from bindsearch.ingest.commit import BatchCommitter
from bindsearch.ingest.encode_stage import EncodeStage
from bindsearch.ingest.file_job import DecodedFile, FileJob, decode_to_queue
from bindsearch.ingest.identify import IdentifiedFile, identify_file
from bindsearch.ingest.report import Report
from bindsearch.ingest.scan_stage import ScanStage
from bindsearch.ingest.threads import ThreadPools
from bindsearch.media import ScanError, ScannedFile, walk
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.types import Modality

MAX_SCANNED_AHEAD = 10_000
"""Files that the scan may be ahead of hashing."""
MAX_HASHED_AHEAD = 16
"""Files that are hashed at once, or wait for a decoding thread."""
STOP_CHECK_SECONDS = 0.2
"""How long the pipeline waits for the scan before it checks again whether to stop."""
MAX_COMMIT_FILES = 128
MAX_COMMIT_SEGMENTS = 2_048
MAX_COMMIT_SECONDS = 2.0
"""A batch is committed as soon as it reaches one of these three limits."""


class Ingest:
    """One run over some files and folders."""

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
        self._retry = retry
        self._on_progress = progress or (lambda _: None)
        self._should_stop = stop or (lambda: False)
        self._halt = threading.Event()
        self.report = Report()
        self._scan = ScanStage(ledger, metadata=metadata, retry=retry, halt=self._halt)
        self._encoder = EncodeStage(space)
        self._committer = BatchCommitter(ledger, metadata)
        self._done = 0
        self._claimed: set[bytes] = set()
        """Digests of the contents that this run decodes."""
        self._batch: list[FileJob] = []
        self._last_commit = time.monotonic()

    def run(self, folders: Sequence[Path], *, entries: Iterable[ScannedFile | ScanError] | None = None) -> Report:
        """Index the folders, or these entries.

        Raises `LibraryFull`, and `UnusableSpace` as soon as the space turns out to be unusable; what was committed
        stays.
        """
        began = time.monotonic()
        with self._threads() as pools:
            changed: queue.Queue[ScannedFile | None] = queue.Queue(MAX_SCANNED_AHEAD)
            scanning = pools.scan.submit(self._scan.run, iter(walk(folders) if entries is None else entries), changed)
            for job in self._jobs(changed, pools):
                self._collect(job)
                if self._commit_due():
                    self._commit(pools)
                self._show_progress(job.file.found.path)
                if self._stopping():
                    break
            self._commit(pools)
            self.report += pools.finish()
            self._show_progress(None)
            self._halt.set()
            self.report += scanning.result()
        if not self.report.stopped:
            self.report.removed = self._committer.sweep(folders, self._scan.scanned, self.report.deferred)
        self.report.elapsed = time.monotonic() - began
        return self.report

    def _stopping(self) -> bool:
        self.report.stopped = self.report.stopped or self._should_stop()
        return self.report.stopped

    def _show_progress(self, path: Path | None) -> None:
        self._on_progress(Progress(self._done, self._scan.total, self.report.segments, path))

    @contextmanager
    def _threads(self) -> Iterator[ThreadPools]:
        pools = ThreadPools()
        try:
            yield pools
        finally:
            self._halt.set()
            pools.shutdown()

    # -- hashing and decoding, ahead of the encoder

    def _jobs(self, changed: queue.Queue[ScannedFile | None], pools: ThreadPools) -> Iterator[FileJob]:
        """Yield jobs in the order of the scan, with hashing and decoding a bounded distance ahead."""
        hashing: deque[Future[IdentifiedFile]] = deque()
        ahead: deque[FileJob] = deque()
        scanning = True
        while scanning or hashing or ahead:
            while scanning and len(hashing) < MAX_HASHED_AHEAD:
                try:
                    found = changed.get(timeout=0 if hashing or ahead else STOP_CHECK_SECONDS)
                except queue.Empty:
                    break
                scanning = found is not None
                if found is not None:
                    hashing.append(pools.hash.submit(identify_file, found, self._halt))
            while hashing and len(ahead) < pools.decoders + 2 and (not ahead or hashing[0].done()):
                ahead.append(self._start(hashing.popleft().result(), pools))
            if ahead:
                yield ahead.popleft()
            elif self._stopping():
                return

    def _start(self, file: IdentifiedFile, pools: ThreadPools) -> FileJob:
        """Begin to decode a file, unless its content is known or being decoded already."""
        if file.kind is not None and not self._takes(file.kind.modality):
            file.kind, file.digest = None, NO_CONTENT
        job = FileJob(file)
        if file.kind is not None and file.digest not in self._claimed and not self._known(file.digest):
            self._claimed.add(file.digest)
            job.decoding = True
            pools.decode.submit(decode_to_queue, file, self._space, job.pieces, self._halt)
        return job

    def _takes(self, modality: Modality) -> bool:
        """Whether the space can encode files of a modality; of a video, the sound is enough."""
        known = self._space.spec.modalities
        return modality in known or (modality == Modality.VIDEO and Modality.AUDIO in known)

    def _known(self, digest: bytes) -> bool:
        with self._ledger.read() as snapshot:
            return snapshot.item_of(digest) is not None or (
                not self._retry and snapshot.quarantined(digest) is not None
            )

    # -- encoding and committing

    def _collect(self, job: FileJob) -> None:
        """Hand a job's pieces to the encoder as they come, then add it to the batch. Raises `UnusableSpace`."""
        while job.decoding:
            decoded = job.pieces.get()
            if isinstance(decoded, DecodedFile):
                job.result = decoded
                break
            self._encoder.add(job, decoded)
            if self._stopping():
                return
        if job.result.unusable is not None:
            raise job.result.unusable
        self._done += 1
        self._batch.append(job)

    def _commit_due(self) -> bool:
        return (
            len(self._batch) >= MAX_COMMIT_FILES
            or sum(len(job.spans) for job in self._batch) >= MAX_COMMIT_SEGMENTS
            or time.monotonic() - self._last_commit >= MAX_COMMIT_SECONDS
        )

    def _commit(self, pools: ThreadPools) -> None:
        self._encoder.flush()
        jobs, self._batch = self._batch, []
        if jobs:
            self.report += pools.commit(partial(self._committer.write, jobs))
        self._last_commit = time.monotonic()
