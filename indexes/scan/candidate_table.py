"""A table of candidates: which row of which block for which query, and the range in which its exact score lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bindsearch.types import Ids, Mask, Scores


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Candidates as columns of equal length."""

    query: Ids
    """The position of the query in its batch."""
    part: Ids
    """The position of the `RowSelection` among those of the search."""
    row: Ids
    """The row of the block of that selection."""
    low: Scores
    high: Scores
    """The exact score is at least `low` and at most `high`."""

    @classmethod
    def empty(cls) -> CandidateTable:
        """Return a table without candidates."""
        numbers, scores = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        return cls(numbers, numbers, numbers, scores, scores)

    @classmethod
    def concatenated(cls, tables: Iterable[CandidateTable]) -> CandidateTable:
        """Return one table of several; there must be some."""
        columns = zip(*((each.query, each.part, each.row, each.low, each.high) for each in tables), strict=True)
        return cls(*map(np.concatenate, columns))

    def __len__(self) -> int:
        return len(self.query)

    def take(self, which: Ids | Mask) -> CandidateTable:
        """Return some of the candidates."""
        return CandidateTable(self.query[which], self.part[which], self.row[which], self.low[which], self.high[which])


def rank_within_query(query: Ids) -> Ids:
    """Return, for an ascending query column, the position of each entry among those of its query."""
    return np.arange(len(query)) - np.searchsorted(query, query)
