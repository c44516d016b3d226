"""Exact search: every vector is compared, so nothing can be missed."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bindsearch.types import Ids, Scores, Vectors

from .scan.blocks import Block, BlockSnapshot
from .scan.int8_codes import Coder, Codes, CodeValues
from .scan.scanners import CODED_ROWS, ScanStrategy
from .scan.shortlist import RowSelection, Scan, best

SAVED_ROWS = 1 << 14
"""Rows that are copied at once on their way to the disk."""


class ExactIndex:
    """Vectors in a few blocks whose sizes grow geometrically, so that adding is cheap and scanning is not scattered.

    A search works on the moment at which it began: adding and removing put another in its place. Large blocks are
    looked at by their codes, and what may count is scored from the vectors; `by` and `coded_rows` say how and from
    which size on, and change nothing in what is found.
    """

    kind = "exact"

    def __init__(self, dim: int, *, by: str = "best", coded_rows: int = CODED_ROWS) -> None:
        self.dim = dim
        self._now = BlockSnapshot(dim)
        self._changing = threading.RLock()
        self._looks = ScanStrategy(Coder(dim), by=by, coded_rows=coded_rows)

    def __len__(self) -> int:
        return len(self._now)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under new ids. Raises `ValueError` for ids that are present, wrong shapes, values not finite."""
        ids = np.asarray(ids, dtype=np.int64)
        vectors = self._checked(vectors)
        if ids.shape != vectors.shape[:1]:
            raise ValueError(f"ids of shape {ids.shape} for {len(vectors)} vectors")
        block = Block.of(ids, vectors)
        if len(ids):
            with self._changing:
                self._now = self._now.plus(block)

    def remove(self, ids: Ids) -> None:
        """Remove ids; those that are absent are ignored."""
        with self._changing:
            self._now = self._now.minus(np.asarray(ids, dtype=np.int64))

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, equal ones by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._looks)

    def copy(self) -> Self:
        """Return an index of the same, as it is at this moment; what is changed in one does not change the other."""
        duplicate = copy.copy(self)
        duplicate._changing = threading.RLock()
        return duplicate

    def sample(self, n: int) -> Vectors:
        """Return up to `n` of the vectors, spread evenly over the ids; not writable."""
        return self._now.sample(n)

    def ids(self) -> Ids:
        """Return all ids, ascending; not writable."""
        return self._now.ids

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        return self._now.gather(np.asarray(ids, dtype=np.int64))

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder, by ascending id, and wait until the disk has it."""
        self._save(self._now, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors and codes stay on disk until they are looked at.

        Raises `ValueError` for files that do not belong together.
        """
        ids = np.load(folder / "ids.npy")
        vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="c"))
        kinds = [ids.dtype, vectors.dtype]
        if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or kinds != [np.int64, np.float32]:
            raise ValueError(f"{folder}: ids and vectors do not belong together")
        index = cls(vectors.shape[1])
        codes = index._load_codes(folder, vectors.shape) if (folder / "codes.npy").exists() else None
        if len(ids):
            index._now = BlockSnapshot(index.dim, (Block(ids, vectors, codes=codes, settled=True),))
        return index

    def _load_codes(self, folder: Path, shape: tuple[int, ...]) -> Codes:
        values = np.asarray(np.load(folder / "codes.npy", mmap_mode="c"))
        rotation, error = np.load(folder / "rotation.npy"), float(np.load(folder / "error.npy"))
        told = [(each.dtype, each.shape) for each in (values, rotation)]
        if told != [(np.int8, shape), (np.float32, (self.dim, self.dim))]:
            raise ValueError(f"{folder}: codes and vectors do not belong together")
        self._looks = ScanStrategy(Coder(self.dim, rotation))
        return Codes(values, error)

    def _search(self, queries: Vectors, k: int, allowed: Ids | None, scan: Scan) -> tuple[Scores, Ids]:
        queries = self._checked(queries)
        parts = [RowSelection.of(block, allowed) for block in self._now.blocks]
        return best(parts, queries, max(0, min(k, sum(part.count for part in parts))), scan)

    def _save(self, now: BlockSnapshot, folder: Path) -> None:
        shape = (len(now.ids), self.dim)
        _write(folder / "ids.npy", np.int64, shape[:1], [now.ids])
        _write(folder / "vectors.npy", np.float32, shape, (now.gather(rows) for rows in _pieces(now.ids)))
        if len(now.ids) >= CODED_ROWS or any(block.generator for block in now.blocks):
            self._save_codes(now, folder)

    def _save_codes(self, now: BlockSnapshot, folder: Path) -> None:
        coder, error = self._looks.coder, 0.0

        def coded() -> Iterator[CodeValues]:
            nonlocal error
            for rows in _pieces(now.ids):
                codes = coder.encode(now.gather(rows))
                error = max(error, codes.error)
                yield codes.values

        _write(folder / "codes.npy", np.int8, (len(now.ids), self.dim), coded())
        _write(folder / "rotation.npy", np.float32, coder.rotation.shape, [coder.rotation])
        _write(folder / "error.npy", np.float64, (), [np.array(error)])

    def _checked(self, vectors: Vectors) -> Vectors:
        vectors = np.asarray(vectors, dtype=np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise ValueError(f"vectors of shape {vectors.shape}, not (n, {self.dim})")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector holds a value that is not finite")
        return vectors


def _pieces(ids: Ids) -> Iterator[Ids]:
    for start in range(0, len(ids), SAVED_ROWS):
        yield ids[start : start + SAVED_ROWS]


def _write(
    file: Path, dtype: DTypeLike, shape: tuple[int, ...], pieces: Iterator[np.ndarray] | list[np.ndarray]
) -> None:
    """Write an array piece by piece, and wait until the disk has it."""
    with file.open("wb") as out:
        header = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for piece in pieces:
            _put(out, np.ascontiguousarray(piece))
        out.flush()
        os.fsync(out.fileno())


def _put(out: BinaryIO, piece: NDArray[Any]) -> None:
    if piece.size:
        out.write(piece.reshape(-1).data)
