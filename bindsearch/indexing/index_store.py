"""The indexes of a library: they follow the ledger's log, and are saved as generations that switch by rename."""

from __future__ import annotations

import errno
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch import registry
from bindsearch.core.files import file_size, sync_folder, write_text_atomically
from bindsearch.core.lock import rebuilding
from bindsearch.core.progress import BuildProgress
from bindsearch.errors import BindsearchError, LibraryBusy, LibraryError, LibraryFull
from bindsearch.ports import ApproximateIndex, Buildable, Copyable, Index
from bindsearch.storage.records import RunRef, run_ids
from bindsearch.storage.settings import Settings
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality, Vectors

REWRITE_SHARE = 0.25
"""A new generation is written when this share of an index has changed since the last one."""
ADD_BLOCK = 65_536
AUTO = "auto"
QUERIES = 64
"""Vectors of each modality that an index is certified with."""
TYPED = "typed"
"""The origin of queries that are words as people type them."""
PATIENCE = 10.0
"""Seconds to wait for another process that makes indexes anew."""

ProgressCallback = Callable[[BuildProgress], None]


@dataclass
class ModalityIndex:
    """The index of one modality, and the position of the log up to which it follows the ledger."""

    modality: Modality
    index: Index
    position: int
    saved_at: int
    """The position of the generation on disk; -1 where there is none."""
    unsaved: int = 0
    """Segments that came or went since."""
    forced: str = AUTO
    """The kind that somebody asked for, or `auto`."""
    saved_count: int = 0
    """Segments in the generation on disk."""
    certificate: dict[str, Any] | None = None
    """What that generation was measured to find, if it may not find everything."""


@dataclass(frozen=True)
class Generation:
    """An index on disk, as `status` tells of it."""

    kind: str
    segments: int
    bytes: int
    bytes_per_segment: float
    why: str | None
    """Why it is of this kind."""
    built: str | None
    """When."""
    build_s: float | None
    """How long it took to build and to certify."""
    certificate: dict[str, Any] | None
    """What it was measured to find; None where nothing can be missed."""


class IndexStore:
    """All indexes of one space of a library."""

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        settings: Callable[[], Settings] = Settings,
        typed: Callable[[], Vectors] | None = None,
    ) -> None:
        """Open the indexes in a folder.

        `settings` gives what is wished of them now, and `typed` the vectors of words as people type them, which they
        are
        certified with besides.
        """
        self._folder = folder
        self._dim = dim
        self._settings = settings
        self._typed = typed or (lambda: np.empty((0, dim), dtype=np.float32))
        self._lock = threading.Lock()
        self._shelves: dict[Modality, ModalityIndex] = {}

    def follow(self, snapshot: Snapshot) -> dict[Modality, Index]:
        """Bring the indexes to where the ledger is, and give them by modality; empty ones are left out."""
        with self._lock:
            if not self._shelves:
                self._shelves = {modality: self._open(modality) for modality in Modality}
            self._catch_up(snapshot)
            return {modality: shelf.index for modality, shelf in self._shelves.items() if len(shelf.index)}

    def generations(self) -> dict[str, Generation]:
        """Return what is on disk of each modality that has any segments."""
        found = {}
        for modality in Modality:
            for folder in self._generations(modality)[-1:]:
                told = _manifest(folder)
                if told and told["count"]:
                    size = sum(map(file_size, folder.iterdir()))
                    facts = {name: told.get(name) for name in ("why", "built", "build_s", "certificate")}
                    each = round(size / told["count"], 1)
                    found[str(modality)] = Generation(str(told["kind"]), told["count"], size, each, **facts)
        return found

    def rebuild(self, snapshot: Snapshot, *, kind: str | None = None) -> None:
        """Make the indexes anew from the ledger alone; of a kind, that is kept until another is asked for, if given.

        Raises `UnknownIndex`.
        """
        fresh = {modality: self._empty(modality) for modality in Modality}
        _fill(fresh, snapshot)
        for modality, shelf in fresh.items():
            shelf.forced = self._forced(modality) if kind is None else kind
        with self._lock:
            self._shelves = fresh

    def certificates(self) -> dict[Modality, dict[str, Any]]:
        """Measure now what those indexes find that may not find everything."""
        with self._lock:
            indexes = {modality: shelf.index for modality, shelf in self._shelves.items()}
        measured = {modality: self._certify(index, tune=False) for modality, index in indexes.items()}
        return {modality: told for modality, told in measured.items() if told is not None}

    def save(self, *, everything: bool = False, on_progress: ProgressCallback = lambda building: None) -> int:
        """Write a generation of each index that is due, or of `everything`; give the position all on disk have reached.

        Needs no writing lock: searching, and indexing by other processes, go on meanwhile. Only one process at a time
        makes indexes anew: while another does, nothing is written, or for `everything` `LibraryBusy` is raised.
        """
        with _mapped(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with rebuilding(self._folder, patience=PATIENCE if everything else 0.0):
                    for shelf in self._due(everything=everything):
                        self._renew(shelf, on_progress)
                    self._restamp()
            except LibraryBusy:
                if everything:
                    raise
        with self._lock:
            return min((shelf.saved_at for shelf in self._shelves.values()), default=0)

    def bytes_used(self) -> int:
        """Bytes of all generations on disk."""
        return sum(map(file_size, self._folder.rglob("*")))

    # -- following the ledger

    def _catch_up(self, snapshot: Snapshot) -> None:
        behind = min(shelf.position for shelf in self._shelves.values())
        position = snapshot.position()
        if behind >= position:
            return
        if behind < snapshot.log_start() or all(not len(shelf.index) for shelf in self._shelves.values()):
            self._shelves = {modality: self._empty(modality) for modality in Modality}
            _fill(self._shelves, snapshot)
            return
        last = {entry.item: entry for entry in snapshot.log(behind)}
        gone = [run for entry in last.values() for run in entry.runs]
        came = [run for entry in last.values() if entry.live for run in entry.runs]
        for modality, shelf in self._shelves.items():
            if shelf.position < position:
                shelf.unsaved += _remove(shelf.index, run_ids(gone, modality))
                shelf.unsaved += _add(shelf.index, snapshot, came, modality)
                shelf.position = position

    def _empty(self, modality: Modality) -> ModalityIndex:
        return ModalityIndex(
            modality, _make(registry.DEFAULT_INDEX, self._dim), 0, saved_at=-1, forced=self._forced(modality)
        )

    def _forced(self, modality: Modality) -> str:
        manifests = [_manifest(folder) for folder in self._generations(modality)[-1:]]
        return str(manifests[0].get("forced", AUTO)) if manifests and manifests[0] else AUTO

    # -- generations on disk

    def _open(self, modality: Modality) -> ModalityIndex:
        for folder in reversed(self._generations(modality)):
            manifest = _manifest(folder)
            if manifest is None or manifest["dim"] != self._dim:
                continue
            try:
                index = registry.load_index(manifest["kind"]).load(folder)
            except (OSError, ValueError, KeyError, TypeError, EOFError, BindsearchError):
                continue  # a cache that cannot be read is made again from the ledger
            position = manifest["position"]
            return ModalityIndex(
                modality,
                index,
                position,
                position,
                forced=str(manifest.get("forced", AUTO)),
                saved_count=manifest["count"],
                certificate=manifest.get("certificate"),
            )
        return self._empty(modality)

    def _generations(self, modality: Modality) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{modality}/gen-*") if path.suffix != ".new")

    def _due(self, *, everything: bool) -> list[ModalityIndex]:
        """Return the shelves whose generation on disk is missing, old, or not what is wished."""
        with self._lock:
            for shelf in self._shelves.values():
                if not self._generations(shelf.modality):
                    shelf.saved_at = -1
            return [
                shelf
                for shelf in self._shelves.values()
                if everything
                or shelf.saved_at < 0
                or shelf.unsaved > REWRITE_SHARE * len(shelf.index)
                or not self._suits(shelf)
            ]

    def _suits(self, shelf: ModalityIndex) -> bool:
        """Whether the generation on disk is of the kind, and was certified for the recall, that are wished."""
        if not shelf.saved_count:
            return True
        kind, _ = self._choice(shelf, shelf.saved_count)
        recall = (shelf.certificate or {}).get("target", self._settings().recall)
        return bool(shelf.index.kind == kind and recall == self._settings().recall)

    def _choice(self, shelf: ModalityIndex, count: int) -> tuple[str, str]:
        """Return the kind of index for a shelf with so many segments, and why; memory is shared by segments."""
        if shelf.forced != AUTO:
            return shelf.forced, "it was asked for"
        settings = self._settings()
        rest = sum(len(other.index) for other in self._shelves.values() if other is not shelf)
        memory = None if settings.memory is None else settings.memory * count // max(1, count + rest)
        return registry.choose_index(count, self._dim, recall=settings.recall, memory=memory, device=settings.device)

    def _renew(self, shelf: ModalityIndex, on_progress: ProgressCallback) -> None:
        """Make the next generation of an index beside the one that answers, and switch by rename.

        What comes and goes meanwhile is taken over at the switch; only that is done while searches wait.
        """
        began = time.monotonic()
        with self._lock:
            position, source = shelf.position, _copied(shelf.index, self._dim)
            kind, why = self._choice(shelf, len(source))
        stage = partial(BuildProgress, str(shelf.modality), kind)
        on_progress(stage("building", 0, len(source)))
        fresh = source if source.kind == kind else _copy(source, kind, self._dim)
        if isinstance(fresh, Buildable):
            fresh.build(on_progress=lambda done, total: on_progress(stage("building", done, total)))
        on_progress(stage("measuring"))
        certificate = self._certify(fresh, tune=True)
        build_s = time.monotonic() - began
        on_progress(stage("writing"))
        older = self._generations(shelf.modality)
        number = int(older[-1].name.removeprefix("gen-")) + 1 if older else 1
        final = self._folder / shelf.modality / f"gen-{number:06d}"
        draft = final.with_suffix(".new")
        for leftover in final.parent.glob("*.new"):
            shutil.rmtree(leftover)
        draft.mkdir(parents=True)
        fresh.save(draft)
        manifest = {
            "kind": kind,
            "dim": self._dim,
            "count": len(fresh),
            "position": position,
            "forced": shelf.forced,
            "why": why,
            "built": _now(),
            "build_s": round(build_s, 3),
            "certificate": certificate,
        }
        _put_manifest(draft, manifest)
        on_progress(stage("switching"))
        with self._lock:
            if self._shelves.get(shelf.modality) is not shelf:
                return  # it was made anew from the ledger meanwhile; the draft is cleared by the next that is written
            draft.rename(final)
            sync_folder(final.parent)
            shelf.saved_at, shelf.saved_count, shelf.certificate = position, len(fresh), certificate
            shelf.unsaved = _take_over(fresh, shelf.index)
            shelf.index = fresh
        on_progress(stage("clearing"))
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)

    def _restamp(self) -> None:
        """Say that generations in which nothing changed are as new as the ledger."""
        with self._lock:
            for shelf in self._shelves.values():
                if not shelf.unsaved and 0 <= shelf.saved_at < shelf.position:
                    folder = self._generations(shelf.modality)[-1]
                    _put_manifest(folder, (_manifest(folder) or {}) | {"position": shelf.position})
                    shelf.saved_at = shelf.position

    def _certify(self, index: Index, *, tune: bool) -> dict[str, Any] | None:
        """Measure an index with vectors of all modalities, and words: those of others lie off its distribution."""
        if not len(index) or not isinstance(index, ApproximateIndex):
            return None
        with self._lock:
            others = {str(shelf.modality): shelf.index for shelf in self._shelves.values()}
        queries = {name: other.sample(QUERIES) for name, other in others.items()} | {TYPED: self._typed()}
        told = registry.certify_index(index, queries, target=self._settings().recall, tune=tune)
        return told | {"measured": _now()}


def live_runs(snapshot: Snapshot) -> Iterator[RunRef]:
    """Return the runs of all live items, by ascending item."""
    return (run for _, record in snapshot.live_items() for run in record.runs)


def _fill(shelves: dict[Modality, ModalityIndex], snapshot: Snapshot) -> None:
    runs = list(live_runs(snapshot))
    for modality, shelf in shelves.items():
        shelf.unsaved = _add(shelf.index, snapshot, runs, modality)
        shelf.position = snapshot.position()


def _copied(index: Index, dim: int) -> Index:
    return index.copy() if isinstance(index, Copyable) else _copy(index, index.kind, dim)


def _copy(index: Index, kind: str, dim: int) -> Index:
    """Make an index of a kind that holds the same."""
    copy = _make(kind, dim)
    _take_from(copy, index, index.ids())
    return copy


def _take_from(index: Index, other: Index, ids: Ids) -> None:
    for start in range(0, len(ids), ADD_BLOCK):
        part = ids[start : start + ADD_BLOCK]
        index.add(part, other.vectors(part))


def _take_over(index: Index, other: Index) -> int:
    """Bring an index to what another holds by now; give how many segments differ. An id keeps its vector for ever."""
    before, after = index.ids(), other.ids()
    if np.array_equal(before, after):
        return 0
    gone = np.setdiff1d(before, after, assume_unique=True)
    came = np.setdiff1d(after, before, assume_unique=True)
    if len(gone):
        index.remove(gone)
    _take_from(index, other, came)
    return len(gone) + len(came)


def _put_manifest(folder: Path, told: dict[str, Any]) -> None:
    write_text_atomically(folder / "manifest.json", json.dumps(told, indent=1))


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _remove(index: Index, ids: Ids) -> int:
    before = len(index)
    if len(ids):
        index.remove(ids)
    return before - len(index)


def _add(index: Index, snapshot: Snapshot, runs: Iterable[RunRef], modality: Modality) -> int:
    """Add the runs of one modality in blocks of bounded size."""
    mine = sorted((run for run in runs if run.modality == modality), key=lambda run: run.first)
    blocks: list[Vectors] = []
    start = rows = 0
    for place, run in enumerate(mine):
        blocks.append(snapshot.vectors(run.first))
        rows += run.count
        if place + 1 == len(mine) or rows >= ADD_BLOCK:
            index.add(run_ids(mine[start : place + 1], modality), np.concatenate(blocks))
            blocks, start, rows = [], place + 1, 0
    return sum(run.count for run in mine)


@contextmanager
def _mapped(folder: Path) -> Iterator[None]:
    """Say in our words that an index could not be written; the last generation stays."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        words = f"the indexes in {folder} cannot be saved ({error.strerror}); the ledger is safe: make room, try again"
        raise (LibraryFull if full else LibraryError)(words) from error


def _manifest(folder: Path) -> dict[str, Any] | None:
    """Read what a generation says of itself; None if it says nothing that can be used."""
    try:
        told = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) and {"kind", "dim", "count", "position"} <= told.keys() else None


def _make(kind: str, dim: int) -> Index:
    make = registry.load_index(kind)
    return make(dim)  # type: ignore[call-arg]
