"""The indexes of a library: they follow the ledger's log, and are saved as generations that replace each other."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch import registry
from bindsearch.core.files import file_size
from bindsearch.core.lock import rebuilding
from bindsearch.core.progress import BuildProgress, BuildStage
from bindsearch.errors import BindsearchError, LibraryBusy, LibraryError, LibraryFull
from bindsearch.indexing.generations import (
    AUTO,
    Generation,
    GenerationManifest,
    GenerationStore,
    read_generation_manifest,
    write_generation_manifest,
)
from bindsearch.indexing.transfer import (
    add_runs,
    bring_up_to_date,
    copy_as,
    copy_index,
    empty_index,
    live_runs,
    remove_ids,
)
from bindsearch.ports import ApproximateIndex, Buildable, Index
from bindsearch.storage.records import run_ids
from bindsearch.storage.settings import Settings
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

REWRITE_SHARE = 0.25
"""A new generation is written when this share of an index has changed since the last one."""
SAMPLE_QUERIES = 64
"""Vectors of each modality with which the recall of an index is measured."""
TEXT_QUERIES = "typed"
"""The origin of the text queries with which recall is measured besides."""
REBUILD_WAIT_SECONDS = 10.0
"""How long to wait for another process that rebuilds indexes."""

ProgressCallback = Callable[[BuildProgress], None]


@dataclass
class ModalityIndex:
    """The index of one modality, and the position of the log that it has caught up to."""

    modality: Modality
    index: Index
    position: int
    saved_at: int
    """The position of the generation on disk; -1 if there is none."""
    unsaved: int = 0
    """Segments that were added or removed since."""
    pinned: str = AUTO
    """The kind that somebody requested, or `auto`."""
    saved_count: int = 0
    """Segments in the generation on disk."""
    certificate: dict[str, Any] | None = None
    """The measured recall of that generation, if it is approximate."""


@dataclass(frozen=True)
class Rebuild:
    """The next generation of an index while it is made."""

    source: ModalityIndex
    index: Index
    """At first a copy of the source's index, then of the chosen kind."""
    position: int
    kind: str
    why: str
    on_progress: ProgressCallback

    def report(self, stage: BuildStage, done: int = 0, total: int = 0) -> None:
        """Pass the progress on."""
        self.on_progress(BuildProgress(str(self.source.modality), self.kind, stage, done, total))


class IndexStore:
    """All indexes of one space of a library."""

    def __init__(
        self,
        folder: Path,
        *,
        dim: int,
        settings: Callable[[], Settings] = Settings,
        recall_queries: Callable[[], Vectors] | None = None,
    ) -> None:
        """Open the indexes in a folder.

        `settings` returns the library's current settings, `recall_queries` vectors of typical text queries, with which
        recall is measured besides vectors of the library.
        """
        self._folder = folder
        self._dim = dim
        self._settings = settings
        self._recall_queries = recall_queries or (lambda: np.empty((0, dim), dtype=np.float32))
        self._lock = threading.Lock()
        self._indexes: dict[Modality, ModalityIndex] = {}
        self._generations = {modality: GenerationStore(folder, modality) for modality in Modality}

    def follow(self, snapshot: Snapshot) -> dict[Modality, Index]:
        """Bring the indexes up to date with the ledger; return those that are not empty, by modality."""
        with self._lock:
            if not self._indexes:
                self._indexes = {modality: self._open(modality) for modality in Modality}
            self._catch_up(snapshot)
            return {modality: entry.index for modality, entry in self._indexes.items() if len(entry.index)}

    def generations(self) -> dict[str, Generation]:
        """Return the generation on disk of each modality that has any segments."""
        found = {str(modality): store.describe() for modality, store in self._generations.items()}
        return {modality: generation for modality, generation in found.items() if generation is not None}

    def rebuild(self, snapshot: Snapshot, *, kind: str | None = None) -> None:
        """Rebuild the indexes from the ledger. If `kind` is given, pin it until it is changed.

        Raises `UnknownIndex`.
        """
        fresh = self._all_empty()
        _fill(fresh, snapshot)
        for modality, entry in fresh.items():
            entry.pinned = self._pinned(modality) if kind is None else kind
        with self._lock:
            self._indexes = fresh

    def certificates(self) -> dict[Modality, dict[str, Any]]:
        """Measure the recall of all approximate indexes now."""
        with self._lock:
            indexes = {modality: entry.index for modality, entry in self._indexes.items()}
        measured = {modality: self._certify(index, tune=False) for modality, index in indexes.items()}
        return {modality: certificate for modality, certificate in measured.items() if certificate is not None}

    def save(self, *, everything: bool = False, on_progress: ProgressCallback = lambda building: None) -> int:
        """Write a generation of each index that is due, or of all; return the position that all on disk have reached.

        Needs no write lock: other processes go on searching and indexing. Only one process at a time rebuilds
        indexes: while another does, nothing is written, or, with `everything`, `LibraryBusy` is raised.
        """
        with _write_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with rebuilding(self._folder, patience=REBUILD_WAIT_SECONDS if everything else 0.0):
                    for entry in self._due(everything=everything):
                        self._renew(entry, on_progress)
                    self._move_unchanged()
            except LibraryBusy:
                if everything:
                    raise
        with self._lock:
            return min((entry.saved_at for entry in self._indexes.values()), default=0)

    def bytes_used(self) -> int:
        """Bytes of all generations on disk."""
        return sum(map(file_size, self._folder.rglob("*")))

    # -- following the ledger

    def _catch_up(self, snapshot: Snapshot) -> None:
        behind = min(entry.position for entry in self._indexes.values())
        position = snapshot.position()
        if behind >= position:
            return
        if behind < snapshot.log_start() or all(not len(entry.index) for entry in self._indexes.values()):
            self._indexes = self._all_empty()
            _fill(self._indexes, snapshot)
            return
        last = {change.item: change for change in snapshot.log(behind)}
        gone = [run for change in last.values() for run in change.runs]
        live = [run for change in last.values() if change.live for run in change.runs]
        for modality, entry in self._indexes.items():
            if entry.position < position:
                entry.unsaved += remove_ids(entry.index, run_ids(gone, modality))
                entry.unsaved += add_runs(entry.index, snapshot, live, modality)
                entry.position = position

    def _all_empty(self) -> dict[Modality, ModalityIndex]:
        return {modality: self._empty(modality) for modality in Modality}

    def _empty(self, modality: Modality) -> ModalityIndex:
        index = empty_index(registry.DEFAULT_INDEX, self._dim)
        return ModalityIndex(modality, index, 0, saved_at=-1, pinned=self._pinned(modality))

    def _pinned(self, modality: Modality) -> str:
        manifest = self._generations[modality].newest()
        return manifest.pinned if manifest else AUTO

    def _open(self, modality: Modality) -> ModalityIndex:
        """Load the newest generation that can be read; start empty if there is none."""
        for folder in reversed(self._generations[modality].folders()):
            manifest = read_generation_manifest(folder)
            if manifest is None or manifest.dim != self._dim:
                continue
            try:
                index = registry.load_index(manifest.kind).load(folder)
            except (OSError, ValueError, KeyError, TypeError, EOFError, BindsearchError):
                continue  # a cache that cannot be read is rebuilt from the ledger
            return ModalityIndex(
                modality,
                index,
                manifest.position,
                saved_at=manifest.position,
                pinned=manifest.pinned,
                saved_count=manifest.count,
                certificate=manifest.certificate,
            )
        return self._empty(modality)

    # -- which generations are due, and of which kind

    def _due(self, *, everything: bool) -> list[ModalityIndex]:
        """Return the indexes whose generation on disk is missing, outdated, or does not match the settings."""
        with self._lock:
            for modality, entry in self._indexes.items():
                if not self._generations[modality].folders():
                    entry.saved_at = -1
            return [
                entry
                for entry in self._indexes.values()
                if everything
                or entry.saved_at < 0
                or entry.unsaved > REWRITE_SHARE * len(entry.index)
                or not self._matches_settings(entry)
            ]

    def _matches_settings(self, entry: ModalityIndex) -> bool:
        """Whether the generation on disk is of the chosen kind, and its recall was measured for today's target."""
        if not entry.saved_count:
            return True
        kind, _ = self._choice(entry, entry.saved_count)
        recall = (entry.certificate or {}).get("target", self._settings().recall)
        return bool(entry.index.kind == kind and recall == self._settings().recall)

    def _choice(self, entry: ModalityIndex, count: int) -> tuple[str, str]:
        """Return the kind of index for `count` segments, and why. Memory is shared in proportion to segments."""
        if entry.pinned != AUTO:
            return entry.pinned, "it was requested"
        settings = self._settings()
        others = sum(len(other.index) for other in self._indexes.values() if other is not entry)
        memory = None if settings.memory is None else settings.memory * count // max(1, count + others)
        return registry.choose_index(count, self._dim, recall=settings.recall, memory=memory, device=settings.device)

    # -- writing the next generation

    def _renew(self, entry: ModalityIndex, on_progress: ProgressCallback) -> None:
        """Make the next generation of an index beside the current one, and switch by rename.

        What changes meanwhile is added at the switch: only then do searches wait.
        """
        began = time.monotonic()
        older = self._generations[entry.modality].folders()
        rebuild = self._build(self._begin(entry, on_progress))
        rebuild.report(BuildStage.MEASURING)
        certificate = self._certify(rebuild.index, tune=True)
        build_seconds = time.monotonic() - began
        rebuild.report(BuildStage.WRITING)
        draft = self._write(rebuild, certificate, build_seconds)
        rebuild.report(BuildStage.SWITCHING)
        if self._switch(rebuild, draft, certificate):
            rebuild.report(BuildStage.CLEARING)
            for folder in older:
                shutil.rmtree(folder, ignore_errors=True)

    def _begin(self, entry: ModalityIndex, on_progress: ProgressCallback) -> Rebuild:
        with self._lock:
            source = copy_index(entry.index, self._dim)
            kind, why = self._choice(entry, len(source))
            return Rebuild(entry, source, entry.position, kind, why, on_progress)

    def _build(self, rebuild: Rebuild) -> Rebuild:
        """Return the rebuild with an index of the chosen kind."""
        source = rebuild.index
        rebuild.report(BuildStage.BUILDING, 0, len(source))
        index = source if source.kind == rebuild.kind else copy_as(source, rebuild.kind, self._dim)
        if isinstance(index, Buildable):
            index.build(on_progress=partial(rebuild.report, BuildStage.BUILDING))
        return replace(rebuild, index=index)

    def _write(self, rebuild: Rebuild, certificate: dict[str, Any] | None, build_seconds: float) -> Path:
        """Save the index as a draft; return its folder. Raises `OSError`."""
        draft = self._generations[rebuild.source.modality].begin_draft()
        rebuild.index.save(draft)
        manifest = GenerationManifest(
            kind=rebuild.kind,
            dim=self._dim,
            count=len(rebuild.index),
            position=rebuild.position,
            pinned=rebuild.source.pinned,
            why=rebuild.why,
            built=_now(),
            build_s=round(build_seconds, 3),
            certificate=certificate,
        )
        write_generation_manifest(draft, manifest)
        return draft

    def _switch(self, rebuild: Rebuild, draft: Path, certificate: dict[str, Any] | None) -> bool:
        """Publish the draft and search it from now on.

        Return false if the index was rebuilt from the ledger meanwhile; the next rebuild removes the draft.
        """
        entry, index = rebuild.source, rebuild.index
        with self._lock:
            if self._indexes.get(entry.modality) is not entry:
                return False
            self._generations[entry.modality].publish(draft)
            entry.saved_at, entry.saved_count, entry.certificate = rebuild.position, len(index), certificate
            entry.unsaved = bring_up_to_date(index, entry.index)
            entry.index = index
            return True

    def _move_unchanged(self) -> None:
        """Move generations in which nothing changed to the position of the ledger."""
        with self._lock:
            for entry in self._indexes.values():
                if not entry.unsaved and 0 <= entry.saved_at < entry.position:
                    self._generations[entry.modality].move_to(entry.position)
                    entry.saved_at = entry.position

    def _certify(self, index: Index, *, tune: bool) -> dict[str, Any] | None:
        """Measure the recall of an approximate index, and with `tune` raise its effort to the target.

        Queries are vectors of all modalities and text queries: those of other modalities lie off its distribution.
        """
        if not len(index) or not isinstance(index, ApproximateIndex):
            return None
        with self._lock:
            others = {str(entry.modality): entry.index for entry in self._indexes.values()}
        queries = {name: other.sample(SAMPLE_QUERIES) for name, other in others.items()}
        queries[TEXT_QUERIES] = self._recall_queries()
        certificate = registry.certify_index(index, queries, target=self._settings().recall, tune=tune)
        return certificate | {"measured": _now()}


def _fill(indexes: dict[Modality, ModalityIndex], snapshot: Snapshot) -> None:
    runs = list(live_runs(snapshot))
    for modality, entry in indexes.items():
        entry.unsaved = add_runs(entry.index, snapshot, runs, modality)
        entry.position = snapshot.position()


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


@contextmanager
def _write_errors(folder: Path) -> Iterator[None]:
    """Raise `LibraryFull` or `LibraryError` for an index that could not be written; the last generation stays."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "the ledger is safe: free some space and try again"
        message = f"the indexes in {folder} cannot be saved ({error.strerror}); {advice}"
        raise (LibraryFull if full else LibraryError)(message) from error
