"""The indexes of a library: they follow the ledger's log, and are saved as generations that switch by rename."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch import registry
from bindsearch.errors import BindsearchError, LibraryError, LibraryFull
from bindsearch.ports import Index
from bindsearch.records import run_ids
from bindsearch.types import Ids, Modality, Vectors
from bindsearch.view import View

REWRITE_SHARE = 0.25
"""A new generation is written when this share of an index has changed since the last one."""
ADD_BLOCK = 65_536
AUTO = "auto"
QUERIES = 64
"""Vectors of each modality that an index is certified with."""

Runs = Iterable[tuple[int, str, int]]


@dataclass
class Shelf:
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


class Gallery:
    """All indexes of one space of a library."""

    def __init__(self, folder: Path, *, dim: int) -> None:
        self._folder = folder
        self._dim = dim
        self._lock = threading.Lock()
        self._shelves: dict[Modality, Shelf] = {}

    def follow(self, view: View) -> dict[Modality, Index]:
        """Bring the indexes to where the ledger is, and give them by modality; empty ones are left out."""
        with self._lock:
            if not self._shelves:
                self._shelves = {modality: self._open(modality) for modality in Modality}
            self._catch_up(view)
            return {modality: shelf.index for modality, shelf in self._shelves.items() if len(shelf.index)}

    def kinds(self) -> dict[str, str]:
        """Give the kind of index of each modality that has been saved."""
        found = {}
        for modality in Modality:
            for folder in self._generations(modality)[-1:]:
                manifest = _manifest(folder)
                if manifest and manifest["count"]:
                    found[str(modality)] = str(manifest["kind"])
        return found

    def stored_certificates(self) -> dict[str, dict[str, Any]]:
        """Give what each index that may not find everything was measured to find when it was saved."""
        latest = {str(modality): self._generations(modality)[-1:] for modality in Modality}
        manifests = {modality: _manifest(folder) for modality, folders in latest.items() for folder in folders}
        return {name: told["certificate"] for name, told in manifests.items() if told and told.get("certificate")}

    def rebuild(self, view: View, *, kind: str | None = None) -> None:
        """Make the indexes anew from the ledger alone; of a kind, that is kept until another is asked for, if given.

        Raises `UnknownIndex`.
        """
        with self._lock:
            fresh = {modality: self._empty(modality) for modality in Modality}
            _fill(fresh, view)
            for modality, shelf in fresh.items():
                shelf.forced = self._forced(modality) if kind is None else kind
            self._shelves = fresh

    def certificates(self) -> dict[Modality, dict[str, Any]]:
        """Measure now what those indexes find that may not find everything."""
        with self._lock:
            measured = {modality: self._certify(shelf, mend=False) for modality, shelf in self._shelves.items()}
        return {modality: told for modality, told in measured.items() if told is not None}

    def save(self, *, everything: bool = False) -> int:
        """Write a generation of each index that changed enough; give the position that all on disk have reached.

        Only the process that holds the library's writing lock may call this.
        """
        with self._lock, _mapped(self._folder):
            for shelf in self._shelves.values():
                if not self._generations(shelf.modality):
                    shelf.saved_at = -1
                if everything or shelf.saved_at < 0 or shelf.unsaved > REWRITE_SHARE * len(shelf.index):
                    self._write(shelf)
                elif not shelf.unsaved:
                    self._restamp(shelf)
            return min((shelf.saved_at for shelf in self._shelves.values()), default=0)

    def bytes_used(self) -> int:
        """Bytes of all generations on disk."""
        return sum(map(_size, self._folder.rglob("*")))

    # -- following the ledger

    def _catch_up(self, view: View) -> None:
        behind = min(shelf.position for shelf in self._shelves.values())
        position = view.position()
        if behind >= position:
            return
        if behind < view.log_start() or all(not len(shelf.index) for shelf in self._shelves.values()):
            self._shelves = {modality: self._empty(modality) for modality in Modality}
            _fill(self._shelves, view)
            return
        last = {entry.item: entry for entry in view.log(behind)}
        gone = [run for entry in last.values() for run in entry.runs]
        came = [run for entry in last.values() if entry.live for run in entry.runs]
        for modality, shelf in self._shelves.items():
            if shelf.position < position:
                shelf.unsaved += _remove(shelf.index, run_ids(gone, modality))
                shelf.unsaved += _add(shelf.index, view, came, modality)
                shelf.position = position

    def _empty(self, modality: Modality) -> Shelf:
        return Shelf(modality, _make(registry.DEFAULT_INDEX, self._dim), 0, saved_at=-1, forced=self._forced(modality))

    def _forced(self, modality: Modality) -> str:
        manifests = [_manifest(folder) for folder in self._generations(modality)[-1:]]
        return str(manifests[0].get("forced", AUTO)) if manifests and manifests[0] else AUTO

    # -- generations on disk

    def _open(self, modality: Modality) -> Shelf:
        for folder in reversed(self._generations(modality)):
            manifest = _manifest(folder)
            if manifest is None or manifest["dim"] != self._dim:
                continue
            try:
                index = registry.load_index(manifest["kind"]).load(folder)
            except (OSError, ValueError, KeyError, TypeError, EOFError, BindsearchError):
                continue  # a cache that cannot be read is made again from the ledger
            position = manifest["position"]
            return Shelf(modality, index, position, position, forced=str(manifest.get("forced", AUTO)))
        return self._empty(modality)

    def _generations(self, modality: Modality) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{modality}/gen-*") if path.suffix != ".new")

    def _write(self, shelf: Shelf) -> None:
        """Write the next generation beside the last, switch by rename, then drop older ones."""
        certificate = self._settle(shelf)
        older = self._generations(shelf.modality)
        number = int(older[-1].name.removeprefix("gen-")) + 1 if older else 1
        final = self._folder / shelf.modality / f"gen-{number:06d}"
        fresh = final.with_suffix(".new")
        for leftover in final.parent.glob("*.new"):
            shutil.rmtree(leftover)
        fresh.mkdir(parents=True)
        shelf.index.save(fresh)
        self._put_manifest(fresh, shelf, certificate)
        fresh.rename(final)
        _sync(final.parent)
        for folder in older:
            shutil.rmtree(folder, ignore_errors=True)
        shelf.saved_at, shelf.unsaved = shelf.position, 0

    def _restamp(self, shelf: Shelf) -> None:
        """Say that a generation in which nothing changed is as new as the ledger."""
        if shelf.saved_at < shelf.position:
            folder = self._generations(shelf.modality)[-1]
            self._put_manifest(folder, shelf, (_manifest(folder) or {}).get("certificate"))
            shelf.saved_at = shelf.position

    def _settle(self, shelf: Shelf) -> dict[str, Any] | None:
        """Give a shelf the kind of index that suits what it holds, built, and see that it finds what it should."""
        index = shelf.index
        kind = registry.choose_index(len(index), self._dim) if shelf.forced == AUTO else shelf.forced
        if index.kind != kind:
            shelf.index = _make(kind, self._dim)
            ids = index.ids()
            for start in range(0, len(ids), ADD_BLOCK):
                part = ids[start : start + ADD_BLOCK]
                shelf.index.add(part, index.vectors(part))
        build = getattr(shelf.index, "build", None)
        if build is not None:
            build()
        return self._certify(shelf, mend=True)

    def _certify(self, shelf: Shelf, *, mend: bool) -> dict[str, Any] | None:
        """Measure an index with vectors of all modalities: those of others lie off the distribution of its own."""
        if not len(shelf.index):
            return None
        samples = {str(other.modality): other.index.sample(QUERIES) for other in self._shelves.values()}
        return registry.certify_index(shelf.index, samples, mend=mend)

    def _put_manifest(self, folder: Path, shelf: Shelf, certificate: dict[str, Any] | None) -> None:
        manifest = {
            "kind": shelf.index.kind,
            "dim": self._dim,
            "count": len(shelf.index),
            "position": shelf.position,
            "forced": shelf.forced,
            "certificate": certificate,
        }
        write_whole(folder / "manifest.json", json.dumps(manifest, indent=1))


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whatever happens."""
    draft = file.with_name(file.name + ".new")
    with draft.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    _sync(file.parent)


def live_runs(view: View) -> Iterator[tuple[int, str, int]]:
    """Give the runs of all live items, by ascending item."""
    return (run for _, facts in view.live_items() for run in facts["runs"])


def _fill(shelves: dict[Modality, Shelf], view: View) -> None:
    runs = list(live_runs(view))
    for modality, shelf in shelves.items():
        shelf.unsaved = _add(shelf.index, view, runs, modality)
        shelf.position = view.position()


def _remove(index: Index, ids: Ids) -> int:
    before = len(index)
    if len(ids):
        index.remove(ids)
    return before - len(index)


def _add(index: Index, view: View, runs: Runs, modality: Modality) -> int:
    """Add the runs of one modality in blocks of bounded size."""
    mine = sorted((first, kind, count) for first, kind, count in runs if kind == modality)
    blocks: list[Vectors] = []
    start = rows = 0
    for place, (first, _, count) in enumerate(mine):
        blocks.append(view.vectors(first))
        rows += count
        if place + 1 == len(mine) or rows >= ADD_BLOCK:
            index.add(run_ids(mine[start : place + 1], modality), np.concatenate(blocks))
            blocks, start, rows = [], place + 1, 0
    return sum(count for _, _, count in mine)


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


def _size(file: Path) -> int:
    """Give the size of a file; none if it is a folder, or was replaced meanwhile."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _make(kind: str, dim: int) -> Index:
    make = registry.load_index(kind)
    return make(dim)  # type: ignore[call-arg]


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a loss of power, where the system lets folders be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
