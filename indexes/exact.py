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
from .scan.int8_codes import Codes, CodeValues, Int8Coder
from .scan.rows import RowSelection
from .scan.scanners import MIN_CODED_ROWS, ScanMethod, ScanStrategy
from .scan.top_k import Scan, top_k

SAVED_ROWS = 1 << 14
"""Rows that are copied at a time on their way to the disk."""


class ExactIndex:
    """Vectors in a few blocks whose sizes grow geometrically, so that adding is cheap and scanning is not scattered.

    A search works on the snapshot of blocks that it began with: adding and removing put another in its place. Large
    blocks are scanned by their int8 codes, and what that leaves in question is re-scored from the vectors. `method` and
    `min_coded_rows` say how, and from which size on; answers do not depend on them.
    """

    kind = "exact"

    def __init__(self, dim: int, *, method: ScanMethod = ScanMethod.AUTO, min_coded_rows: int = MIN_CODED_ROWS) -> None:
        self.dim = dim
        self._snapshot = BlockSnapshot(dim)
        self._write_lock = threading.RLock()
        self._scan = ScanStrategy(Int8Coder(dim), method=method, min_coded_rows=min_coded_rows)

    def __len__(self) -> int:
        return len(self._snapshot)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under new ids.

        Raises `ValueError` for an id that is present or given twice, a wrong shape, and values that are not finite.
        """
        ids = np.asarray(ids, dtype=np.int64)
        vectors = self._checked(vectors)
        if ids.shape != vectors.shape[:1]:
            raise ValueError(f"ids of shape {ids.shape} for {len(vectors)} vectors")
        block = Block.from_unsorted(ids, vectors)
        if len(ids):
            with self._write_lock:
                self._snapshot = self._snapshot.with_block(block)

    def remove(self, ids: Ids) -> None:
        """Remove ids; absent ones are ignored."""
        with self._write_lock:
            self._snapshot = self._snapshot.without(np.asarray(ids, dtype=np.int64))

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Return the best `min(k, searched)` of each query, best first, equal scores by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._scan)

    def copy(self) -> Self:
        """Return an independent index of the same content, at no cost: unchanged blocks are shared."""
        duplicate = copy.copy(self)
        duplicate._write_lock = threading.RLock()
        return duplicate

    def sample(self, n: int) -> Vectors:
        """Return up to `n` of the vectors, spread evenly over the ids; not writable."""
        return self._snapshot.sample(n)

    def ids(self) -> Ids:
        """Return all ids, ascending; not writable."""
        return self._snapshot.ids

    def vectors(self, ids: Ids) -> Vectors:
        """Return the vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        return self._snapshot.gather(np.asarray(ids, dtype=np.int64))

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder, by ascending id, and wait until it is on disk."""
        self._save(self._snapshot, folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors and codes are mapped and stay on disk until they are read.

        Raises `ValueError` for files that do not belong together.
        """
        ids = np.load(folder / "ids.npy")
        vectors = np.asarray(np.load(folder / "vectors.npy", mmap_mode="c"))
        dtypes = [ids.dtype, vectors.dtype]
        if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or dtypes != [np.int64, np.float32]:
            raise ValueError(f"{folder}: ids and vectors do not belong together")
        index = cls(vectors.shape[1])
        codes = index._load_codes(folder, vectors.shape) if (folder / "codes.npy").exists() else None
        if len(ids):
            index._snapshot = BlockSnapshot(index.dim, (Block(ids, vectors, codes=codes, pinned=True),))
        return index

    def _load_codes(self, folder: Path, shape: tuple[int, ...]) -> Codes:
        values = np.asarray(np.load(folder / "codes.npy", mmap_mode="c"))
        rotation, error = np.load(folder / "rotation.npy"), float(np.load(folder / "error.npy"))
        if [(each.dtype, each.shape) for each in (values, rotation)] != [
            (np.int8, shape),
            (np.float32, (self.dim, self.dim)),
        ]:
            raise ValueError(f"{folder}: codes and vectors do not belong together")
        self._scan = ScanStrategy(Int8Coder(self.dim, rotation))
        return Codes(values, error)

    def _search(self, queries: Vectors, k: int, allowed: Ids | None, scan: Scan) -> tuple[Scores, Ids]:
        queries = self._checked(queries)
        parts = [RowSelection.of(block, allowed) for block in self._snapshot.blocks]
        return top_k(parts, queries, max(0, min(k, sum(part.count for part in parts))), scan)

    def _save(self, blocks: BlockSnapshot, folder: Path) -> None:
        shape = (len(blocks.ids), self.dim)
        _write(folder / "ids.npy", np.int64, shape[:1], [blocks.ids])
        _write(folder / "vectors.npy", np.float32, shape, (blocks.gather(rows) for rows in _pieces(blocks.ids)))
        if len(blocks.ids) >= MIN_CODED_ROWS or any(block.generator for block in blocks.blocks):
            self._save_codes(blocks, folder)

    def _save_codes(self, blocks: BlockSnapshot, folder: Path) -> None:
        coder, error = self._scan.coder, 0.0

        def coded() -> Iterator[CodeValues]:
            nonlocal error
            for rows in _pieces(blocks.ids):
                codes = coder.encode(blocks.gather(rows))
                error = max(error, codes.error)
                yield codes.values

        _write(folder / "codes.npy", np.int8, (len(blocks.ids), self.dim), coded())
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
    """Write an array piece by piece, and wait until it is on disk."""
    with file.open("wb") as out:
        header = {"descr": np.dtype(dtype).newbyteorder("<").str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        for piece in pieces:
            _write_piece(out, np.ascontiguousarray(piece))
        out.flush()
        os.fsync(out.fileno())


def _write_piece(out: BinaryIO, piece: NDArray[Any]) -> None:
    if piece.size:
        out.write(piece.reshape(-1).data)
