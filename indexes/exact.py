"""Exact search: every vector is compared, so nothing can be missed."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np

from bindsearch.types import Ids, Mask, Scores, Vectors

CHUNK = 1 << 15
"""Rows that are scored at once: the scores of a batch of queries stay small."""
GATHER_SHARE = 0.1
"""Below this share of allowed rows, copying them out is cheaper than scoring all rows."""
MARGIN = np.float32(4e-6)
"""By more than two ways of summing the same product of unit vectors can differ."""


@dataclass(frozen=True, eq=False)
class Block:
    """Vectors by ascending id; replaced, never changed."""

    ids: Ids
    vectors: Vectors
    alive: Mask | None = None
    """None where all rows are."""

    @cached_property
    def count(self) -> int:
        """Give the number of rows that are alive."""
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    def rows_of(self, ids: Ids) -> Ids:
        """Give the rows of those of the ids that are alive here, in the order of the rows."""
        if not len(self.ids) or not len(ids):
            return np.empty(0, dtype=np.int64)
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        rows = np.unique(places[self.ids[places] == ids])
        return rows if self.alive is None else rows[self.alive[rows]]

    def without(self, rows: Ids) -> Block:
        """Give the same block with some rows dead."""
        alive = np.ones(len(self.ids), dtype=np.bool_) if self.alive is None else self.alive.copy()
        alive[rows] = False
        return Block(self.ids, self.vectors, alive)

    def compact(self) -> Block:
        """Give a block of the rows that are alive."""
        return self if self.alive is None else Block(self.ids[self.alive], self.vectors[self.alive])


class ExactIndex:
    """Vectors in a few blocks whose sizes grow geometrically, so that adding is cheap and scanning is not scattered.

    A search works on the blocks as they were when it began: adding and removing put new ones in their place.
    """

    kind = "exact"

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self._blocks: tuple[Block, ...] = ()
        self._changing = threading.Lock()

    def __len__(self) -> int:
        return sum(block.count for block in self._blocks)

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under new ids. Raises `ValueError` for ids that are present, wrong shapes and NaN."""
        fresh = self._checked(np.asarray(ids, dtype=np.int64), np.asarray(vectors, dtype=np.float32))
        with self._changing:
            if any(len(block.rows_of(fresh.ids)) for block in self._blocks):
                raise ValueError("an id is in the index already")
            if len(fresh.ids):
                self._blocks = _merged((*self._blocks, fresh))

    def remove(self, ids: Ids) -> None:
        """Remove ids; those that are absent are ignored."""
        with self._changing:
            kept = []
            for block in self._blocks:
                rows = block.rows_of(np.asarray(ids, dtype=np.int64))
                left = block.without(rows) if len(rows) else block
                if left.count:
                    kept.append(left.compact() if 2 * left.count < len(left.ids) else left)
            self._blocks = tuple(kept)

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, equal ones by id."""
        parts = [_Part.of(block, allowed) for block in self._blocks]
        wanted = min(k, sum(part.count for part in parts))
        scores = np.empty((len(queries), wanted), dtype=np.float32)
        found = np.empty((len(queries), wanted), dtype=np.int64)
        if wanted and len(queries):
            for place, candidates in enumerate(_candidates(parts, np.asarray(queries, dtype=np.float32), wanted)):
                scores[place], found[place] = _ranked(parts, candidates, queries[place], wanted)
        return scores, found

    def sample(self, n: int) -> Vectors:
        """Give up to `n` of the vectors, spread evenly over the ids."""
        blocks = self._blocks
        ids = _ids(blocks)
        if len(ids) > n:
            ids = ids[np.linspace(0, len(ids) - 1, n).astype(np.int64)]
        return _gathered(blocks, ids, self.dim)

    def ids(self) -> Ids:
        """Give all ids, ascending."""
        return _ids(self._blocks)

    def vectors(self, ids: Ids) -> Vectors:
        """Give the vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        return _gathered(self._blocks, np.asarray(ids, dtype=np.int64), self.dim)

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder, by ascending id, block by block."""
        blocks = self._blocks
        ids = _ids(blocks)
        with (folder / "ids.npy").open("wb") as file:
            np.save(file, ids)
            _sync(file)
        with (folder / "vectors.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(ids), self.dim)}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(ids), CHUNK):
                file.write(_gathered(blocks, ids[start : start + CHUNK], self.dim).tobytes())
            _sync(file)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; the vectors stay on disk until they are searched."""
        vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        ids = np.load(folder / "ids.npy")
        if vectors.ndim != 2 or len(ids) != len(vectors):
            raise ValueError(f"{folder}: ids and vectors do not belong together")
        index = cls(vectors.shape[1])
        index._blocks = (Block(ids, vectors),) if len(ids) else ()
        return index

    def _checked(self, ids: Ids, vectors: Vectors) -> Block:
        if vectors.shape != (len(ids), self.dim):
            raise ValueError(f"{len(ids)} ids and vectors of shape {vectors.shape}, not {(len(ids), self.dim)}")
        if not np.isfinite(vectors).all():
            raise ValueError("a vector holds a value that is not finite")
        order = np.argsort(ids, kind="stable")
        if (np.diff(ids[order]) == 0).any():
            raise ValueError("an id comes twice")
        return Block(ids[order], vectors[order])


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of a block that a search may look at: all, those of a mask, or a few copied out."""

    ids: Ids
    vectors: Vectors
    mask: Mask | None
    count: int

    @classmethod
    def of(cls, block: Block, allowed: Ids | None) -> _Part:
        if allowed is None:
            return cls(block.ids, block.vectors, block.alive, block.count)
        rows = block.rows_of(allowed)
        if len(rows) < GATHER_SHARE * len(block.ids):
            return cls(block.ids[rows], block.vectors[rows], None, len(rows))
        mask = np.zeros(len(block.ids), dtype=np.bool_)
        mask[rows] = True
        return cls(block.ids, block.vectors, mask, len(rows))


def _candidates(parts: Sequence[_Part], queries: Vectors, wanted: int) -> list[list[tuple[int, Ids]]]:
    """Give, for each query, the rows of each part that may be among the best `wanted`.

    A chunk's rows are kept if they reach the best bound so far: the `wanted`-th best score of any chunk before, less
    the margin by which two ways of summing can differ.
    """
    kept: list[list[tuple[int, Ids]]] = [[] for _ in queries]
    bounds = np.full(len(queries), -np.inf, dtype=np.float32)
    for number, part in enumerate(parts):
        for start in range(0, len(part.ids), CHUNK):
            scores = queries @ part.vectors[start : start + CHUNK].T
            if part.mask is not None:
                scores[:, ~part.mask[start : start + CHUNK]] = -np.inf
            if scores.shape[1] > wanted:
                bounds = np.maximum(bounds, _nth_best(scores, wanted))
            for place, row in enumerate(scores >= bounds[:, None] - MARGIN):
                rows = np.flatnonzero(row if part.mask is None else row & part.mask[start : start + CHUNK])
                if len(rows):
                    kept[place].append((number, rows + start))
    return kept


def _nth_best(scores: Scores, wanted: int) -> Scores:
    place = scores.shape[1] - wanted
    best: Scores = np.partition(scores, place, axis=1)[:, place]
    return best


def _ranked(
    parts: Sequence[_Part], candidates: list[tuple[int, Ids]], query: Vectors, wanted: int
) -> tuple[Scores, Ids]:
    """Score candidates anew, one way for all, so that a vector's score does not depend on where it lies."""
    ids = np.concatenate([parts[number].ids[rows] for number, rows in candidates])
    vectors = np.concatenate([parts[number].vectors[rows] for number, rows in candidates])
    scores = np.einsum("ij,j->i", vectors, query, dtype=np.float64).astype(np.float32)
    order = np.lexsort((ids, -scores))[:wanted]
    return scores[order], ids[order]


def _merged(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """Merge the last blocks while the one before is not twice as large: their number stays logarithmic."""
    while len(blocks) > 1 and blocks[-2].count < 2 * blocks[-1].count:
        left, right = blocks[-2].compact(), blocks[-1].compact()
        ids = np.concatenate([left.ids, right.ids])
        order = np.argsort(ids, kind="stable")
        blocks = (*blocks[:-2], Block(ids[order], np.concatenate([left.vectors, right.vectors])[order]))
    return blocks


def _ids(blocks: Sequence[Block]) -> Ids:
    living = [block.ids if block.alive is None else block.ids[block.alive] for block in blocks]
    return np.sort(np.concatenate(living)) if living else np.empty(0, dtype=np.int64)


def _gathered(blocks: Sequence[Block], ids: Ids, dim: int) -> Vectors:
    gathered = np.empty((len(ids), dim), dtype=np.float32)
    missing = np.ones(len(ids), dtype=np.bool_)
    for block in blocks:
        rows = block.rows_of(ids)
        here = np.flatnonzero(np.isin(ids, block.ids[rows]))
        gathered[here] = block.vectors[rows[np.searchsorted(block.ids[rows], ids[here])]]
        missing[here] = False
    if missing.any():
        raise KeyError(int(ids[missing][0]))
    return gathered


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
