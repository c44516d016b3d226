"""The scan of approximate indexes: of the rows that a candidate generator names, instead of all rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bindsearch.ports import CandidateGenerator
from bindsearch.types import Scores, SearchEffort, Vectors

from ..scan.int8_codes import Int8Coder
from ..scan.rows import RowSelection
from ..scan.shortlist import DIRECT_RESCORING_ROWS, Shortlist
from ..scan.top_k import Scan


@dataclass(frozen=True, eq=False)
class RotatedVectors:
    """The rotated vectors of a block, as a `VectorSource`: they are rotated as they are read."""

    vectors: Vectors
    coder: Int8Coder

    @property
    def dim(self) -> int:
        """The dimension of each vector."""
        return int(self.vectors.shape[1])

    def __len__(self) -> int:
        return len(self.vectors)

    def sample(self, n: int) -> Vectors:
        """Return `n` rows, spread evenly; all rows in their order where there are no more."""
        if n >= len(self):
            return self.coder.rotate(self.vectors)
        return self.coder.rotate(self.vectors[np.linspace(0, len(self) - 1, n).astype(np.int64)])

    def batches(self, rows: int) -> Iterator[Vectors]:
        """Return all rows in their order, up to `rows` at a time."""
        return (self.coder.rotate(self.vectors[start : start + rows]) for start in range(0, len(self), rows))


@dataclass(frozen=True, slots=True)
class CandidateScan:
    """Scans the candidates of each query where there is a generator, and every row where candidates would not do."""

    effort: SearchEffort
    coder: Int8Coder
    full_scan: Scan

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Scan a part, as `Scan` says.

        Whether candidates or all rows are scanned for a query depends neither on the other queries of the batch nor,
        as long as few results are wanted, on how many.
        """
        generator, codes, count = part.block.generator, part.block.codes, self.effort.candidates
        if generator is None or codes is None or self._needs_full_scan(part, generator, shortlist.wanted):
            self.full_scan(part, queries, shortlist)
            return
        rotated = self.coder.rotate(queries)
        rows, sufficient = generator.candidates(rotated, effort=self.effort, wanted=shortlist.wanted, mask=part.mask)
        query_index, column = np.nonzero((rows >= 0) & sufficient[:, None])
        named = rows[query_index, column]
        if count <= DIRECT_RESCORING_ROWS:  # their vectors are read anyway, so their codes are not
            shortlist.add(query_index, named, *_unknown_scores(len(named), len(queries)))
        else:
            coded = self.coder.encode_queries(queries, rotated)
            error_bounds = self.coder.error_bound(codes, coded)
            shortlist.add(query_index, named, self.coder.scores(codes, named, coded, query_index), error_bounds)
        insufficient = np.flatnonzero(~sufficient)
        if len(insufficient):
            rest = Shortlist(len(insufficient), shortlist.wanted)
            self.full_scan(part, queries[insufficient], rest)
            shortlist.merge(rest, insufficient)

    def _needs_full_scan(self, part: RowSelection, generator: CandidateGenerator, wanted: int) -> bool:
        count = self.effort.candidates
        if generator.candidates_per_result * wanted > count:
            return True
        return part.count < max(4 * count, generator.min_filter_share * len(part.block.ids))


def _unknown_scores(count: int, queries: int) -> tuple[Scores, Scores]:
    """Return scores of which nothing is known, and their infinite error bounds."""
    return np.zeros(count, dtype=np.float32), np.full(queries, np.inf, dtype=np.float32)
