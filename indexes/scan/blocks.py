"""Vectors in blocks that are replaced, never changed: a reader's blocks stay as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bindsearch.types import Ids, Mask, Vectors

from .int8_codes import Coder, Codes

if TYPE_CHECKING:
    from ..approximate.candidates import CandidateGenerator


@dataclass(frozen=True, eq=False)
class Block:
    """Vectors by ascending id; at least one row."""

    ids: Ids
    vectors: Vectors
    alive: Mask | None = None
    """None where all rows are."""
    codes: Codes | None = None
    """None until they are asked for."""
    settled: bool = False
    """Whether the block stays when others come: its vectors lie on disk, or it has a finder."""
    generator: CandidateGenerator | None = None
    """What names candidates, in those indexes that have it; a copy of the rows has none."""

    @classmethod
    def of(cls, ids: Ids, vectors: Vectors) -> Block:
        """Copy vectors into the order of their ids. Raises `ValueError` for an id that comes twice."""
        order = np.argsort(ids, kind="stable")
        ascending = ids[order]
        if (ascending[1:] == ascending[:-1]).any():
            raise ValueError("an id comes twice")
        return cls(ascending, vectors[order])

    @cached_property
    def count(self) -> int:
        """The number of rows that are alive."""
        return len(self.ids) if self.alive is None else int(np.count_nonzero(self.alive))

    def find(self, ids: Ids) -> tuple[Ids, Ids]:
        """Return the places in `ids` of those that are alive here, and the rows at which they are."""
        rows = np.searchsorted(self.ids, ids)
        rows[rows == len(self.ids)] = 0
        here = self.ids[rows] == ids
        if self.alive is not None:
            here &= self.alive[rows]
        return np.flatnonzero(here), rows[here]

    def without(self, ids: Ids) -> Block | None:
        """Return this block with some ids gone, masked while few rows are dead, else copied; None if none is left."""
        _, rows = self.find(ids)
        if not len(rows):
            return self
        alive = np.ones(len(self.ids), dtype=np.bool_) if self.alive is None else self.alive.copy()
        alive[rows] = False
        left = replace(self, alive=alive)
        if not left.count:
            return None
        return left.compact() if 2 * left.count < len(left.ids) else left

    def compact(self) -> Block:
        """Return a block of the rows that are alive."""
        if self.alive is None:
            return self
        codes = None if self.codes is None else self.codes.take(self.alive)
        return Block(self.ids[self.alive], self.vectors[self.alive], codes=codes)

    def encode(self, coder: Coder) -> Codes:
        """Return the codes of all rows, dead ones too, made when they are first asked for."""
        if self.codes is None:
            object.__setattr__(self, "codes", coder.encode(self.vectors))
        assert self.codes is not None
        return self.codes


@dataclass(frozen=True, eq=False)
class BlockSnapshot:
    """All blocks as they are at one moment, the largest first."""

    dim: int
    blocks: tuple[Block, ...] = ()
    _samples: dict[int, Vectors] = field(default_factory=dict)

    @cached_property
    def ids(self) -> Ids:
        """All ids that are alive, ascending; not writable."""
        living = [block.ids if block.alive is None else block.ids[block.alive] for block in self.blocks]
        ids = np.sort(np.concatenate(living)) if living else np.empty(0, dtype=np.int64)
        ids.flags.writeable = False
        return ids

    def __len__(self) -> int:
        return sum(block.count for block in self.blocks)

    def sample(self, n: int) -> Vectors:
        """Return up to `n` of the vectors, spread evenly over the ids; not writable, for they are kept."""
        kept = self._samples.get(n)
        if kept is not None:
            return kept
        ids = self.ids
        sample = self.gather(ids[np.linspace(0, len(ids) - 1, n).astype(np.int64)] if len(ids) > n else ids)
        sample.flags.writeable = False
        self._samples.clear()  # callers ask for the same number again and again
        self._samples[n] = sample
        return sample

    def plus(self, block: Block) -> BlockSnapshot:
        """Return the moment after a block came. Raises `ValueError` for an id that is present."""
        for other in self.blocks:
            places, _ = other.find(block.ids)
            if len(places):
                raise ValueError(f"id {block.ids[places[0]]} is in the index already")
        return BlockSnapshot(self.dim, _merged([*self.blocks, block]))

    def minus(self, ids: Ids) -> BlockSnapshot:
        """Return the moment after ids went."""
        left = [block.without(ids) for block in self.blocks]
        return BlockSnapshot(self.dim, tuple(block for block in left if block is not None))

    def gather(self, ids: Ids) -> Vectors:
        """Copy the vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        gathered = np.empty((len(ids), self.dim), dtype=np.float32)
        missing = np.ones(len(ids), dtype=np.bool_)
        for block in self.blocks:
            places, rows = block.find(ids)
            gathered[places] = block.vectors[rows]
            missing[places] = False
        if missing.any():
            raise KeyError(int(ids[missing][0]))
        return gathered


def _merged(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """Merge the last blocks while the one before is not twice as large: their number stays logarithmic."""
    start, count = len(blocks) - 1, blocks[-1].count
    while start and not blocks[start - 1].settled and blocks[start - 1].count < 2 * count:
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
