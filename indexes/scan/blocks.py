"""Vectors in blocks that are replaced, never changed: a search keeps the blocks that it began with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from bindsearch.ports import CandidateGenerator
from bindsearch.types import Ids, Mask, Vectors

from .int8_codes import Codes, Int8Coder


@dataclass(frozen=True, eq=False)
class Block:
    """Vectors by ascending id; at least one row."""

    ids: Ids
    vectors: Vectors
    alive: Mask | None = None
    """Which rows have not been removed; None if none has."""
    codes: Codes | None = None
    """None until they are first needed."""
    pinned: bool = False
    """Whether later blocks are never merged with this one: its vectors lie on disk, or it has a generator."""
    generator: CandidateGenerator | None = None
    """Names candidates among the rows, in approximate indexes. A copy of the rows has none."""

    @classmethod
    def from_unsorted(cls, ids: Ids, vectors: Vectors) -> Block:
        """Copy vectors into the order of their ids. Raises `ValueError` if an id is given twice."""
        order = np.argsort(ids, kind="stable")
        ascending = ids[order]
        if (ascending[1:] == ascending[:-1]).any():
            raise ValueError("an id is given twice")
        return cls(ascending, vectors[order])

    @cached_property
    def count(self) -> int:
        """The number of rows that have not been removed."""
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    def find(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return which of the ids are alive in this block, as positions in `ids`, and the row of each."""
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        present = self.ids[rows] == ids
        if self.alive is not None:
            present &= self.alive[rows]
        return np.flatnonzero(present), rows[present]

    def without(self, ids: Ids) -> Block | None:
        """Return this block without some ids, or None if nothing is left.

        Removed rows are masked; once more than half of the rows are removed, the rest is copied.
        """
        _, rows = self.find(ids)
        if not len(rows):
            return self
        alive = np.ones(len(self.ids), dtype=np.bool_) if self.alive is None else self.alive.copy()
        alive[rows] = False
        masked = replace(self, alive=alive)
        if not masked.count:
            return None
        return masked.compact() if 2 * masked.count < len(masked.ids) else masked

    def compact(self) -> Block:
        """Return a block of only the rows that have not been removed."""
        if self.alive is None:
            return self
        codes = None if self.codes is None else self.codes.take(self.alive)
        return Block(self.ids[self.alive], self.vectors[self.alive], codes=codes)

    def encode(self, coder: Int8Coder) -> Codes:
        """Return the codes of all rows, removed ones too; they are computed on the first call."""
        if self.codes is None:
            object.__setattr__(self, "codes", coder.encode(self.vectors))
        assert self.codes is not None
        return self.codes


@dataclass(frozen=True, eq=False)
class BlockSnapshot:
    """All blocks at one moment, the largest first."""

    dim: int
    blocks: tuple[Block, ...] = ()
    _samples: dict[int, Vectors] = field(default_factory=dict)

    @cached_property
    def ids(self) -> Ids:
        """All ids, ascending; not writable."""
        alive = [block.ids if block.alive is None else block.ids[block.alive] for block in self.blocks]
        ids = np.sort(np.concatenate(alive)) if alive else np.empty(0, dtype=np.int64)
        ids.flags.writeable = False
        return ids

    def __len__(self) -> int:
        return sum(block.count for block in self.blocks)

    def sample(self, n: int) -> Vectors:
        """Return up to `n` of the vectors, spread evenly over the ids; not writable, since the sample is cached."""
        cached = self._samples.get(n)
        if cached is not None:
            return cached
        ids = self.ids
        sample = self.gather(ids[np.linspace(0, len(ids) - 1, n).astype(np.int64)] if len(ids) > n else ids)
        sample.flags.writeable = False
        self._samples.clear()  # callers use the same number again and again
        self._samples[n] = sample
        return sample

    def with_block(self, block: Block) -> BlockSnapshot:
        """Return a snapshot with one block more. Raises `ValueError` for an id that is present."""
        for other in self.blocks:
            positions, _ = other.find(block.ids)
            if len(positions):
                raise ValueError(f"id {block.ids[positions[0]]} is in the index already")
        return BlockSnapshot(self.dim, _merged([*self.blocks, block]))

    def without(self, ids: Ids) -> BlockSnapshot:
        """Return a snapshot without some ids."""
        left = [block.without(ids) for block in self.blocks]
        return BlockSnapshot(self.dim, tuple(block for block in left if block is not None))

    def gather(self, ids: Ids) -> Vectors:
        """Copy the vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        gathered = np.empty((len(ids), self.dim), dtype=np.float32)
        missing = np.ones(len(ids), dtype=np.bool_)
        for block in self.blocks:
            positions, rows = block.find(ids)
            gathered[positions] = block.vectors[rows]
            missing[positions] = False
        if missing.any():
            raise KeyError(int(ids[missing][0]))
        return gathered


def _merged(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Merge the last blocks while the one before them is not twice as large: so their number stays logarithmic."""
    start, count = len(blocks) - 1, blocks[-1].count
    while start and not blocks[start - 1].pinned and blocks[start - 1].count < 2 * count:
        start -= 1
        count += blocks[start].count
    return (*blocks[:start], _union(blocks[start:]))


def _union(blocks: Sequence[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    compact = [block.compact() for block in blocks]
    ids = np.concatenate([block.ids for block in compact])
    order = np.argsort(ids, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    vectors = np.empty((len(ids), blocks[0].vectors.shape[1]), dtype=np.float32)
    start = 0
    for block in compact:
        vectors[rank[start : start + len(block.ids)]] = block.vectors
        start += len(block.ids)
    return Block(ids[order], vectors)
