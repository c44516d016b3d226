"""An HNSW graph: each row is linked to some that lie near it, so that a query walks towards its nearest rows.

FAISS's HNSW. It is built over one byte a dimension, which places links as well as floats do, and then walked over six
bits: little is read at each step, and what six bits misjudge is put right by re-scoring. Rows cannot be taken out of
the graph: a removed row is still walked through, but not named.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.ports import BuildCallback, VectorSource
from bindsearch.types import Candidates, Mask, Scores, SearchEffort, Vectors

from .faiss_io import import_faiss, map_index, row_filter, write_index

LINKS = 16
CONSTRUCTION_BREADTH = 128
"""Rows that are kept in the queue while the links of a row are chosen (efConstruction). With 64, a million rows were
linked in half the time, and no walk found more than .99 of the best."""
TRAINING_ROWS = 1 << 16
ADDED_ROWS = 1 << 13
"""Rows that are linked at a time."""
MAX_DEVIATIONS = 4
"""Six bits are taken never to misjudge the difference of two scores by more standard deviations than this."""


class HnswGraph:
    """The graph of one block."""

    file_name: ClassVar[str] = "graph.faiss"
    min_filter_share: ClassVar[float] = 1 / 8
    """Where a filter leaves fewer rows, a walk meets too few of them."""
    candidates_per_result: ClassVar[int] = 2

    def __init__(self, index: Any) -> None:
        self._index = index

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def build(cls, vectors: VectorSource, *, on_progress: BuildCallback = lambda done, total: None) -> Self:
        """Link all rows. Raises `IndexUnavailable` without faiss."""
        faiss = import_faiss("hnsw")
        product, byte, six = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit, faiss.ScalarQuantizer.QT_6bit
        index: Any = faiss.IndexHNSWSQ(vectors.dim, byte, LINKS, product)
        index.hnsw.efConstruction = CONSTRUCTION_BREADTH
        walked: Any = faiss.IndexScalarQuantizer(vectors.dim, six, product)
        on_progress(0, len(vectors))
        sample = vectors.sample(TRAINING_ROWS)
        index.train(sample)
        walked.train(sample)
        for batch in vectors.batches(ADDED_ROWS):
            index.add(batch)
            walked.add(batch)
            on_progress(int(index.ntotal), len(vectors))
        _replace_storage(faiss, index, walked)
        return cls(index)

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        """Name the rows that a walk finds.

        With a filter, the walk keeps as many more rows in its queue as there are fewer that count. It may end in a
        corner: the rows suffice if half of the candidates are found. Rows whose score lies so far below the best
        `wanted` that six bits cannot have misjudged them are not named.
        """
        faiss = import_faiss("hnsw")
        count, breadth = effort.candidates, max(effort.candidates, effort.breadth)
        parameters: Any = faiss.SearchParametersHNSW(efSearch=breadth)
        if mask is not None:
            parameters.efSearch = min(len(self), -(-breadth * len(self) // int(np.count_nonzero(mask))))
            parameters.sel = row_filter(faiss, mask)
        scores, rows = self._index.search(queries, count, params=parameters)
        sufficient = rows[:, count // 2 - 1] >= 0
        rows[scores < scores[:, wanted - 1, None] - self._max_misjudgement(queries)[:, None]] = -1
        return Candidates(rows, sufficient)

    def _max_misjudgement(self, queries: Vectors) -> Scores:
        """Return, for each query, how far apart six bits may put the scores of two rows that are equally good.

        Each dimension is rounded evenly within its step, so an error of a score has the variance Σ q²·step²/12.
        """
        deviations: Scores = np.sqrt((queries**2) @ self._squared_steps / 12)
        return MAX_DEVIATIONS * math.sqrt(2) * deviations

    @cached_property
    def _squared_steps(self) -> Vectors:
        """The squared distance between neighbouring code values, by dimension."""
        faiss = import_faiss("hnsw")
        quantizer: Any = faiss.downcast_index(self._index.storage).sq
        _, spans = faiss.vector_to_array(quantizer.trained).reshape(2, -1)
        squares: Vectors = (spans / (2**quantizer.bits - 1)) ** 2
        return squares

    def save(self, file: Path) -> None:
        """Write the graph."""
        write_index(self._index, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Map the graph. Raises `ValueError` for another file, and `IndexUnavailable` without faiss."""
        return cls(map_index(import_faiss("hnsw"), file))


def _replace_storage(faiss: Any, index: Any, storage: Any) -> None:
    """Let a graph walk over other codes than it was built over, and hand over who frees them."""
    built_over = index.storage
    index.storage = storage
    storage.this.disown()  # the graph frees it from now on, as it would have freed the one before
    faiss.downcast_index(built_over).this.own()
