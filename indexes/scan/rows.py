"""The rows of a block that a search may return: those that are neither removed nor filtered out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from bindsearch.types import Ids, Mask, Vectors

from .blocks import Block

MAX_GATHERED_SHARE = 0.03
"""If a filter leaves less than this share of a block, copying its rows is cheaper than scanning the whole block."""
GATHERED_ROWS = 1 << 12
"""Vectors that are copied at a time."""


@dataclass(frozen=True, eq=False)
class RowSelection:
    """The rows of a block that a search may return."""

    block: Block
    count: int
    mask: Mask | None = None
    """Over all rows of the block; None if every row is selected, and where `rows` is given."""
    rows: Ids | None = None
    """The selected rows, ascending, where they are a small share of the block."""

    @classmethod
    def of(cls, block: Block, allowed: Ids | None) -> Self:
        """Select the rows of a block that are not removed and, if `allowed` is given, whose ids are allowed."""
        if allowed is None:
            return cls(block, block.count, mask=block.alive)
        if len(allowed) < MAX_GATHERED_SHARE * len(block.ids):
            rows = np.unique(block.find(allowed)[1])
            return cls(block, len(rows), rows=rows)
        mask = np.isin(block.ids, allowed)
        if block.alive is not None:
            mask &= block.alive
        return cls(block, int(np.count_nonzero(mask)), mask=mask)

    def chunks(self, size: int) -> Iterator[tuple[Ids, Vectors, Mask | None]]:
        """Return row numbers, vectors and mask, up to `size` rows at a time."""
        block, rows, mask = self.block, self.rows, self.mask
        if rows is not None:
            for start in range(0, len(rows), GATHERED_ROWS):
                gathered = rows[start : start + GATHERED_ROWS]
                yield gathered, block.vectors[gathered], None
            return
        for start in range(0, len(block.ids), size):
            piece = slice(start, start + size)
            vectors = block.vectors[piece]
            yield np.arange(start, start + len(vectors)), vectors, None if mask is None else mask[piece]
