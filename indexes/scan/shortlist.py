"""The candidates of a search: every row whose exact score may be among the best k of a query.

A scan computes each score up to a known error bound, so it only decides which rows have to be re-scored. A row whose
score cannot reach the k-th best *lower* bound of its query, not even with the error in its favour, is dropped; no other
row ever is. That is the whole proof that nothing is missed.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .candidate_table import CandidateTable, rank_within_query
from .error_bounds import float32_error_bound
from .rescoring import rescore_float32, rescore_float64
from .rows import RowSelection

DIRECT_RESCORING_ROWS = 128
"""Up to this many candidates of a query are re-scored without being narrowed down first."""
LOWEST_SCORE = np.finfo(np.float32).min


class Shortlist:
    """For each query of a batch, the rows that may be among its best `wanted`, with the range of each score."""

    def __init__(self, queries: int, wanted: int) -> None:
        self.wanted = wanted
        self.floors = np.full(queries, LOWEST_SCORE, dtype=np.float32)
        """For each query, a score that at least `wanted` rows reach: any other row must be able to reach it, too."""
        self.preferred_rows = 4 * queries * wanted + 64
        """Scans should avoid adding more rows than this at a time: raising the floors first is cheaper."""
        self._best_lows = np.full((queries, wanted), LOWEST_SCORE, dtype=np.float32)
        self._lock = threading.Lock()
        """Guards the floors, which several threads of a scan raise."""
        self._part = 0
        self._count = 0
        self._max_count = self.preferred_rows
        self._tables = [CandidateTable.empty()]

    def start_next_part(self) -> None:
        """Count rows that are added from now on as rows of the next part."""
        self._part += 1

    def raise_floors(self, lows: Scores) -> None:
        """Raise the floors, given lower bounds of the best scores in a piece; call this once a piece, from any thread.

        *Shape:* (queries, wanted).
        """
        with self._lock:
            both = np.concatenate([self._best_lows, lows], axis=1)
            self._best_lows = np.partition(both, self.wanted, axis=1)[:, self.wanted :]
            self.floors = np.maximum(self.floors, self._best_lows.min(axis=1))

    def add(self, query_index: Ids, rows: Ids, scores: Scores, error_bounds: Scores) -> None:
        """Add rows of the current part, each for the query at its index.

        `scores` are right up to the error bound of their query; `error_bounds` has one for each query of the batch.
        """
        error = error_bounds[query_index]
        part = np.full(len(query_index), self._part)
        self._tables.append(CandidateTable(query_index, part, rows, scores - error, scores + error))
        self._count += len(query_index)
        if self._count > self._max_count:
            self._max_count = self.preferred_rows + 2 * len(self._prune())

    def empty_copy(self) -> Shortlist:
        """Return an empty shortlist for the same queries and part: for a scan that may fail half way."""
        other = Shortlist(len(self.floors), self.wanted)
        other.floors = self.floors
        return other

    def merge(self, other: Shortlist, query_index: Ids) -> None:
        """Add the rows of another shortlist of the same part, whose queries have these indexes here."""
        table = other._prune()
        part = np.full(len(table), self._part)
        self._tables.append(replace(table, query=query_index[table.query], part=part))
        self._count += len(table)

    def rescored(self, parts: Sequence[RowSelection], queries: Vectors) -> tuple[Scores, Ids]:
        """Re-score the candidates and return the best `wanted` scores and ids of each query, by score, then by id.

        Many candidates are first narrowed down by float32 scores, whose own error bound leaves few.
        """
        table = self._prune() if self._count > DIRECT_RESCORING_ROWS * len(queries) else self._collected()
        if len(table) > DIRECT_RESCORING_ROWS:
            scores, error = rescore_float32(parts, table, queries), float32_error_bound(queries)[table.query]
            self._tables = [replace(table, low=scores - error, high=scores + error)]
            table = self._prune()
        return _best_by_score_and_id(table, rescore_float64(parts, table, queries), parts, self.wanted)

    def _prune(self) -> CandidateTable:
        """Raise the floors to the `wanted`-th best lower bound, and drop candidates that cannot reach them."""
        table = self._collected()
        table = table.take(np.lexsort((-table.low, table.query)))
        last = rank_within_query(table.query) == self.wanted - 1
        with self._lock:
            floors = self.floors.copy()
            floors[table.query[last]] = np.maximum(floors[table.query[last]], table.low[last])
            self.floors = floors
        table = table.take(table.high >= self.floors[table.query])
        self._tables, self._count = [table], len(table)
        return table

    def _collected(self) -> CandidateTable:
        return CandidateTable.concatenated(self._tables)


def _best_by_score_and_id(
    table: CandidateTable, scores: Scores, parts: Sequence[RowSelection], wanted: int
) -> tuple[Scores, Ids]:
    ids = np.empty(len(scores), dtype=np.int64)
    for number, part in enumerate(parts):
        of_part = table.part == number
        ids[of_part] = part.block.ids[table.row[of_part]]
    order = np.lexsort((ids, -scores, table.query))
    best = order[rank_within_query(table.query[order]) < wanted]
    return scores[best].reshape(-1, wanted), ids[best].reshape(-1, wanted)
