"""A graph: each row knows some that lie near it, so that a query walks towards its nearest.

FAISS's HNSW. It is built over one byte a dimension, which places links as well as floats do, and then walked over six
bits: what is read at each step is small, and what those misjudge is put right by the careful look. The graph cannot
forget: what was removed is still walked through, but not named.
"""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.types import Scores, Vectors

from ..scan.int8_codes import Coder
from ..scan.shortlist import RowSelection
from .candidates import Candidates, ProgressCallback, SearchEffort, bitmap, faiss_for, mapped

LINKS = 16
BREADTH = 128
"""Rows that are kept in sight while a row's links are sought. With 64 a million rows were linked in half the time, and
no walk found more than .99 of the best."""
TRAIN_ROWS = 1 << 16
ROWS = 1 << 13
"""Rows that are linked at once."""
DEVIATIONS = 4
"""By how many standard deviations what bits say of two rows is not misjudged."""


class Graph:
    """The graph of one block, by row; read only once made."""

    file: ClassVar[str] = "graph.faiss"
    least: ClassVar[float] = 1 / 8
    """Where fewer of the rows count, a walk meets too few of them."""
    plenty: ClassVar[int] = 2

    def __init__(self, walked: Any) -> None:
        self._walked = walked

    def __len__(self) -> int:
        return int(self._walked.ntotal)

    @classmethod
    def of(cls, vectors: Vectors, coder: Coder, *, on_progress: ProgressCallback = lambda done, total: None) -> Self:
        """Link all rows. Raises `IndexUnavailable` without faiss."""
        faiss = faiss_for("hnsw")
        count, dim = vectors.shape
        product, byte, six = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit, faiss.ScalarQuantizer.QT_6bit
        walked: Any = faiss.IndexHNSWSQ(dim, byte, LINKS, product)
        walked.hnsw.efConstruction = BREADTH
        store: Any = faiss.IndexScalarQuantizer(dim, six, product)
        on_progress(0, count)
        sample = vectors[np.linspace(0, count - 1, min(count, TRAIN_ROWS)).astype(np.int64)] @ coder.rotation
        walked.train(sample)
        store.train(sample)
        for start in range(0, count, ROWS):
            turned = vectors[start : start + ROWS] @ coder.rotation
            walked.add(turned)
            store.add(turned)
            on_progress(min(start + ROWS, count), count)
        built = walked.storage
        walked.storage = store
        store.this.disown()  # it is the graph's from now on, as the one before it was
        faiss.downcast_index(built).this.own()
        return cls(walked)

    def candidates(self, turned: Vectors, *, part: RowSelection, effort: SearchEffort, wanted: int) -> Candidates:
        """Name rows of a part that may be among the best `wanted` of queries that were turned.

        A walk sees as many more rows as there are fewer that count, and may end in a corner. What it scores so far
        below the best `wanted` that six bits cannot have misjudged it is not named.
        """
        faiss = faiss_for("hnsw")
        many, breadth = effort.candidates, max(effort.candidates, effort.breadth)
        parameters: Any = faiss.SearchParametersHNSW(efSearch=breadth)
        if part.mask is not None:
            parameters.efSearch = min(len(self), -(-breadth * len(self) // part.count))
            parameters.sel = bitmap(faiss, part)
        scores, rows = self._walked.search(turned, many, params=parameters)
        enough = rows[:, many // 2 - 1] >= 0
        rows[scores < scores[:, wanted - 1, None] - self._doubt(turned)[:, None]] = -1
        return Candidates(rows, enough)

    def _doubt(self, turned: Vectors) -> Scores:
        """Give, for each query, how far apart bits may score two rows that are equally good: each is rounded evenly."""
        deviations: Scores = np.sqrt((turned**2) @ self._squares / 12)
        return DEVIATIONS * math.sqrt(2) * deviations

    @cached_property
    def _squares(self) -> Vectors:
        """The squares of the steps between what a dimension's bits can say."""
        faiss = faiss_for("hnsw")
        quantizer: Any = faiss.downcast_index(self._walked.storage).sq
        _, spans = faiss.vector_to_array(quantizer.trained).reshape(2, -1)
        squares: Vectors = (spans / (2**quantizer.bits - 1)) ** 2
        return squares

    def save(self, file: Path) -> None:
        """Write the graph."""
        import faiss

        faiss.write_index(self._walked, str(file))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open the graph, by mapping.

        Raises `ValueError` for a file that holds none, and `IndexUnavailable` without faiss.
        """
        return cls(mapped(faiss_for("hnsw"), file))
