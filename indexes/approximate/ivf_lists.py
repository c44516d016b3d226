"""IVF lists: rows grouped by region, with a few bits a dimension of each, so that a query scans few of them.

FAISS's inverted file with RaBitQ codes, over rotated vectors: after the rotation one bit says as much of one dimension
as of another, also in a space where some dimensions are much larger than the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.ports import BuildCallback, VectorSource
from bindsearch.types import Candidates, Ids, Mask, SearchEffort, Vectors

from .faiss_io import import_faiss, map_index, row_filter, write_index

TRAINING_ROWS = 1 << 16
ADDED_ROWS = 1 << 16
"""Rows that are assigned to lists at a time."""
TRAINING_ITERATIONS = 8
"""Rounds of k-means for the centres of the lists."""
QUERY_BITS = 8
"""Bits to which a query is rounded when it is compared with the bits of a row."""


class IvfLists:
    """The lists of one block."""

    file_name: ClassVar[str] = "cells-turned.faiss"
    min_filter_share: ClassVar[float] = 0.0
    candidates_per_result: ClassVar[int] = 4

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(
        cls, vectors: VectorSource, *, bits: int = 1, on_progress: BuildCallback = lambda done, total: None
    ) -> Self:
        """Train on an even sample, then assign all rows; memory beyond the lists themselves is bounded.

        `bits` are kept of each dimension: one, or four where one tells rows apart too badly. Raises `IndexUnavailable`
        without faiss.
        """
        faiss = import_faiss("ivf")
        code = "RaBitQ" if bits == 1 else f"SQ{bits}"
        index = ivf_index(faiss, vectors, code)
        fill_ivf(index, vectors, on_progress)
        return cls(index)

    @property
    def bits(self) -> int:
        """The bits kept of each dimension."""
        return 1 if "RaBitQ" in type(self._index).__name__ else 4

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        """Name the best rows of the nearest lists. They suffice if they fill all candidates asked of them."""
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        if self.bits == 1:
            parameters = faiss.IVFRaBitQSearchParameters()
            parameters.qb = QUERY_BITS
        parameters.nprobe = max(1, round(effort.share * self._index.nlist))
        if mask is not None:
            parameters.sel = row_filter(faiss, mask)
        rows: Ids = self._index.search(queries, effort.candidates, params=parameters)[1]
        return Candidates(rows, rows[:, -1] >= 0)

    def save(self, file: Path) -> None:
        """Write the lists."""
        write_index(self._index, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Map the lists. Raises `ValueError` for another file, and `IndexUnavailable` without faiss."""
        return cls(map_index(import_faiss("ivf"), file))


def ivf_index(faiss: Any, vectors: VectorSource, code: str) -> Any:
    """Return an empty inverted file for some vectors, whose rows are held in a code that faiss knows by name."""
    recipe = f"IVF{list_count(len(vectors))},{code}"
    index: Any = faiss.index_factory(vectors.dim, recipe, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter = TRAINING_ITERATIONS
    index.cp.min_points_per_centroid = 1
    return index


def fill_ivf(index: Any, vectors: VectorSource, on_progress: BuildCallback) -> None:
    """Train an inverted file on an even sample of the vectors, and add all of them."""
    on_progress(0, len(vectors))
    index.train(vectors.sample(TRAINING_ROWS))
    for batch in vectors.batches(ADDED_ROWS):
        index.add(batch)
        on_progress(int(index.ntotal), len(vectors))


def list_count(rows: int) -> int:
    """Return the number of lists: a power of two near the square root, so that finding and scanning them cost alike."""
    return int(2 ** np.clip(round(np.log2(max(rows, 1)) / 2), 2, 14))
