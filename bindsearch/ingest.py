"""A folder goes in: scan -> identify and hash -> decode -> encode -> commit, overlapped, in bounded memory.

Files are settled in the order of the scan, so the same files always give the same ledger. A scanning thread asks
the ledger which files are new; hashing and decoding threads run a bounded distance ahead; the calling thread
encodes; a committing thread writes one transaction for each batch of files.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from bindsearch.errors import MediaError, SpaceError
from bindsearch.identity import CHANGED_MEANWHILE, Link, Looked, is_gone, look, stamp_of
from bindsearch.ledger import Change, Ledger
from bindsearch.media import Decoding, Found, Trouble, decode, walk
from bindsearch.records import NO_CONTENT, Content, PathRecord, Run, Stamp
from bindsearch.report import Progress, Report
from bindsearch.spaces import BATCH, Space
from bindsearch.types import Modality, Piece, Span, Vectors

Thing = TypeVar("Thing")

SCAN_CHUNK = 256
SCAN_AHEAD = 10_000
HASH_AHEAD = 16
PIECES_AHEAD = 16
"""Prepared pieces that one decoding file may hold before it waits."""
STOP_SECONDS = 0.2
"""How long the scan may find nothing before the wish to stop is asked for."""
COMMIT_FILES = 128
COMMIT_SEGMENTS = 2_048
COMMIT_SECONDS = 2.0
SNIPPET = 200
"""Characters of a passage that are kept for showing."""


@dataclass
class Job:
    """A file on its way through decoding and encoding."""

    file: Looked
    pieces: queue.Queue[_Parcel] = field(default_factory=lambda: queue.Queue(PIECES_AHEAD))
    decoding: bool = False
    modalities: list[Modality] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    vectors: list[Vectors | None] = field(default_factory=list)
    failure: str = ""
    trouble: str = ""
    duration: float | None = None
    covered: float = 1.0

    def content(self) -> Content:
        """Give what was decoded and encoded, ready for the ledger."""
        assert self.file.kind is not None
        return Content(
            modality=self.file.kind.modality,
            format=self.file.kind.format,
            size=self.file.found.size,
            duration=self.duration,
            covered=self.covered,
            runs=[self._run(modality) for modality in dict.fromkeys(self.modalities)],
        )

    def _run(self, modality: Modality) -> Run:
        places = [place for place, kind in enumerate(self.modalities) if kind == modality]
        rows = [row for place in places if (row := self.vectors[place]) is not None]
        texts = [self.texts[place] for place in places] if modality == Modality.TEXT else []
        return Run(modality, [self.spans[place] for place in places], np.stack(rows), texts)


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What a decoding thread hands over: a prepared piece, or None at the end."""

    piece: Piece | None
    prepared: object = None


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
        self._total: int | None = None
        self._queued = 0
        self._done = 0
        self._claimed: set[bytes] = set()
        self._waiting: dict[Modality, list[tuple[Job, int, object]]] = {}
        self._settling: list[Job] = []
        self._moved: set[bytes] = set()
        self._last_commit = time.monotonic()

    def run(self, roots: Sequence[Path]) -> Report:
        """Index the roots. Raises `LibraryFull`; what was committed before stays."""
        began = time.monotonic()
        with self._threads() as pools:
            changed: queue.Queue[Found | None] = queue.Queue(SCAN_AHEAD)
            scanning = pools.scan.submit(self._scan, roots, changed)
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
            self._sweep(roots)
        self.report.elapsed = time.monotonic() - began
        return self.report

    def _stopping(self) -> bool:
        self.report.stopped = self.report.stopped or self._asked_to_stop()
        return self.report.stopped

    def _tell_progress(self, path: Path | None) -> None:
        self._tell(Progress(self._done, self._total, self.report.segments, path))

    @contextmanager
    def _threads(self) -> Iterator[Pools]:
        pools = Pools()
        try:
            yield pools
        finally:
            self._halt.set()
            pools.shutdown()

    # -- scanning: which files need work

    def _scan(self, roots: Sequence[Path], changed: queue.Queue[Found | None]) -> None:
        try:
            entries = walk(roots)
            while chunk := list(islice(entries, SCAN_CHUNK)):
                for found in self._needing_work(chunk):
                    self._queued += 1
                    if not _put(changed, found, self._halt):
                        return
                if self._halt.is_set():
                    return
            self._total = self._queued
        finally:
            _put(changed, None, self._halt)

    def _needing_work(self, chunk: Sequence[Found | Trouble]) -> list[Found]:
        needing = []
        with self._ledger.read() as view:
            for entry in chunk:
                if isinstance(entry, Trouble):
                    self.report.troubled[entry.path] = entry.reason
                    continue
                record = view.path(entry.path)
                if record is None or record.stamp != Stamp(entry.size, entry.mtime_ns):
                    needing.append(entry)
                elif record.refused or view.quarantined(record.digest) is not None:
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

    def _jobs(self, changed: queue.Queue[Found | None], pools: Pools) -> Iterator[Job]:
        """Give jobs in the order of the scan, with hashing and decoding a bounded distance ahead."""
        looking: deque[Future[Looked]] = deque()
        ahead: deque[Job] = deque()
        scanning = True
        while scanning or looking or ahead:
            while scanning and len(looking) < HASH_AHEAD:
                try:
                    found = changed.get(timeout=0 if looking or ahead else STOP_SECONDS)
                except queue.Empty:
                    break
                scanning = found is not None
                if found is not None:
                    looking.append(pools.hash.submit(look, found, self._halt))
            while looking and len(ahead) < pools.decoders + 2 and (not ahead or looking[0].done()):
                ahead.append(self._start(looking.popleft().result(), pools))
            if ahead:
                yield ahead.popleft()
            elif self._stopping():
                return

    def _start(self, file: Looked, pools: Pools) -> Job:
        """Begin decoding a file, unless its content is known or on its way already."""
        job = Job(file)
        if file.kind is not None and not self._takes(file.kind.modality):
            file.kind, file.digest = None, NO_CONTENT
        if file.kind is not None and file.digest not in self._claimed and not self._known(file.digest):
            self._claimed.add(file.digest)
            job.decoding = True
            pools.decode.submit(self._decode, job)
        return job

    def _takes(self, modality: Modality) -> bool:
        """Tell whether the space can do anything with files of a modality: of videos, hearing them is enough."""
        known = self._space.spec.modalities
        return modality in known or (modality == Modality.VIDEO and Modality.AUDIO in known)

    def _known(self, digest: bytes) -> bool:
        with self._ledger.read() as view:
            return view.item_of(digest) is not None or (not self._retry and view.quarantined(digest) is not None)

    def _decode(self, job: Job) -> None:
        assert job.file.kind is not None
        path = job.file.found.path
        spec = self._space.spec
        try:
            with decode(path, job.file.kind, spec.windowing, wanted=spec.modalities) as decoding:
                for piece in decoding:
                    if not _put(job.pieces, _Parcel(piece, self._space.encoder.prepare(piece)), self._halt):
                        return
                _describe(job, decoding)
            if stamp_of(path) != job.file.stamp:
                job.trouble = CHANGED_MEANWHILE
        except FileNotFoundError:
            job.file.vanished = True
        except MediaError as error:
            job.failure = str(error)
        except OSError as error:
            job.trouble = error.strerror or str(error)
        except Exception as error:  # a decoder's bug must not stop the run: the file is put aside with its words
            job.failure = f"decoding failed: {type(error).__name__}: {error}"
        finally:
            _put(job.pieces, _Parcel(None), self._halt)

    # -- encoding

    def _take(self, job: Job) -> None:
        """Take a job's pieces as they come, and encode whatever makes a batch."""
        while job.decoding:
            parcel = job.pieces.get()
            if parcel.piece is None:
                break
            self._enlist(job, parcel.piece, parcel.prepared)
            if self._stopping():
                return
        self._done += 1
        self._settling.append(job)

    def _enlist(self, job: Job, piece: Piece, prepared: object) -> None:
        batch = self._waiting.setdefault(piece.modality, [])
        batch.append((job, len(job.spans), prepared))
        job.modalities.append(piece.modality)
        job.spans.append(piece.span)
        job.texts.append(" ".join(piece.content.split())[:SNIPPET] if isinstance(piece.content, str) else "")
        job.vectors.append(None)
        if len(batch) >= BATCH:
            self._encode(piece.modality)

    def _encode(self, modality: Modality) -> None:
        batch = self._waiting.pop(modality, [])
        try:
            rows = self._space.encode(modality, [prepared for _, _, prepared in batch])
        except SpaceError:
            self._encode_singly(modality, batch)
            return
        for (job, place, _), row in zip(batch, rows, strict=True):
            job.vectors[place] = row
        self.report.segments += len(batch)

    def _encode_singly(self, modality: Modality, batch: Sequence[tuple[Job, int, object]]) -> None:
        """Find out which piece of a batch the encoder cannot take, so that only its file fails."""
        for job, place, prepared in batch:
            try:
                job.vectors[place] = self._space.encode(modality, [prepared])[0]
                self.report.segments += 1
            except SpaceError as error:
                job.failure = str(error)

    # -- committing

    def _commit_due(self) -> bool:
        return (
            len(self._settling) >= COMMIT_FILES
            or sum(len(job.spans) for job in self._settling) >= COMMIT_SEGMENTS
            or time.monotonic() - self._last_commit >= COMMIT_SECONDS
        )

    def _commit(self, pools: Pools) -> None:
        for modality in list(self._waiting):
            self._encode(modality)
        jobs, self._settling = self._settling, []
        if jobs:
            pools.commit(lambda: self._write(jobs))
        self._last_commit = time.monotonic()

    def _write(self, jobs: Sequence[Job]) -> None:
        settled = [(job, _outcome(job)) for job in jobs]
        links = self._ledger.write(lambda change: [self._settle(change, job, what) for job, what in settled])
        for (job, what), link in zip(settled, links, strict=True):
            self._account(job, what, link)

    def _settle(self, change: Change, job: Job, what: str) -> Link | None:
        """Write one file; the same job always writes the same, so that a transaction may be tried again."""
        file, path = job.file, job.file.found.path
        if what == "vanished":
            change.unlink(path)
        if what in ("vanished", "trouble"):
            return None
        if what == "decoded":
            change.put_item(file.digest, job.content())
        if what == "failed":
            change.put_quarantine(file.digest, job.failure)
        link = Link.seen(change, path, file.digest)
        if link.known:
            metadata = self._metadata_of(link.moved_from or change.path(path))
            if link.moved_from:
                change.unlink(link.moved_from.path)
            change.link(PathRecord(path, file.stamp, file.digest, metadata, file.refused))
        return link

    def _metadata_of(self, before: PathRecord | None) -> Mapping[str, str]:
        if self._metadata is not None:
            return self._metadata
        return before.metadata if before else {}

    def _account(self, job: Job, what: str, link: Link | None) -> None:
        report, path = self.report, job.file.found.path
        if job.decoding:
            report.decoded += 1
        if what == "trouble":
            report.troubled[path] = job.file.trouble or job.trouble
        elif what == "refused":
            report.quarantined[path] = job.file.refused
        elif what == "ignored":
            report.ignored += 1
        elif link is not None and link.quarantined:
            report.quarantined[path] = link.quarantined
        elif link is not None:
            self._count(path, link, decoded=what == "decoded")
        if what == "decoded" and job.duration:
            report.seconds_heard += job.duration
            report.seconds_covered += job.duration * job.covered

    def _count(self, path: Path, link: Link, *, decoded: bool) -> None:
        """Count a readable file under the one word that says what happened to it."""
        report = self.report
        if not link.known:
            report.troubled[path] = CHANGED_MEANWHILE
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

    # -- what is gone

    def _sweep(self, roots: Sequence[Path]) -> None:
        """Unlink the paths where no file is any more, below the roots and among former places of moved files."""
        with self._ledger.read() as view:
            former = [record for digest in self._moved for record in view.owners(digest)]
            gone = [record for record in former if is_gone(record.path)]
            for root in roots:
                gone.extend(record for record in view.paths(root) if is_gone(record.path))
        unique = {record.path: record for record in gone}
        self._ledger.write_each("unlink", list(unique))
        self.report.removed = sum(record.digest != NO_CONTENT for record in unique.values())


def _outcome(job: Job) -> str:
    """Say in one word what is to be done with a job."""
    file = job.file
    if file.vanished:
        return "vanished"
    if file.trouble or job.trouble:
        return "trouble"
    if file.refused:
        return "refused"
    if file.kind is None:
        return "ignored"
    if not job.decoding:
        return "known"
    if not job.failure and not job.spans:
        job.failure = "holds nothing that this space can see, hear or read"
    return "failed" if job.failure else "decoded"


class Pools:
    """The threads of one run."""

    def __init__(self) -> None:
        self.decoders = max(2, os.cpu_count() or 1)
        self.scan = ThreadPoolExecutor(1, "bindsearch-scan")
        self.hash = ThreadPoolExecutor(2, "bindsearch-hash")
        self.decode = ThreadPoolExecutor(self.decoders, "bindsearch-decode")
        self._commit = ThreadPoolExecutor(1, "bindsearch-commit")
        self._committing: Future[None] | None = None

    def commit(self, write: Callable[[], None]) -> None:
        """Write a batch while the next one is made; raises what the one before raised."""
        self.finish()
        self._committing = self._commit.submit(write)

    def finish(self) -> None:
        """Wait for the batch that is being written; raises what it raised."""
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.result()

    def shutdown(self) -> None:
        """End all threads."""
        for pool in (self.scan, self.hash, self.decode, self._commit):
            pool.shutdown(cancel_futures=True)


def _describe(job: Job, decoding: Decoding) -> None:
    job.duration, job.covered = decoding.duration, decoding.covered


def _put(target: queue.Queue[Thing], value: Thing, halt: threading.Event) -> bool:
    """Put into a bounded queue unless the run ends meanwhile."""
    while not halt.is_set():
        try:
            target.put(value, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
