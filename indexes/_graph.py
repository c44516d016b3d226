"""A graph: each row knows some that lie near it, so that a query walks towards its nearest.

FAISS's HNSW. It is built over one byte a dimension, which places links as well as floats do, and then walked over half
a byte: what is read at each step is small, and what those bits misjudge is put right by the careful look. The graph
cannot forget: what was removed is still walked through, but not named.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.types import Ids, Vectors

from ._codes import Coder
from ._finders import Effort, Tell, bitmap, faiss_for, mapped
from ._shortlist import Part

LINKS = 16
BREADTH = 64
"""Rows that are kept in sight while a row's links are sought."""
TRAIN_ROWS = 1 << 16
ROWS = 1 << 13
"""Rows that are linked at once."""


class Graph:
    """The graph of one block, by row; read only once made."""

    file: ClassVar[str] = "graph.faiss"
    least: ClassVar[float] = 1 / 8
    """Where fewer of the rows count, a walk meets too few of them."""

    def __init__(self, walked: Any) -> None:
        self._walked = walked

    def __len__(self) -> int:
        return int(self._walked.ntotal)

    @classmethod
    def of(cls, vectors: Vectors, coder: Coder, *, tell: Tell = lambda done, total: None) -> Self:
        """Link all rows. Raises `IndexUnavailable` without faiss."""
        faiss = faiss_for("hnsw")
        count, dim = vectors.shape
        product, byte, half = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit, faiss.ScalarQuantizer.QT_4bit
        walked: Any = faiss.IndexHNSWSQ(dim, byte, LINKS, product)
        walked.hnsw.efConstruction = BREADTH
        store: Any = faiss.IndexScalarQuantizer(dim, half, product)
        tell(0, count)
        sample = vectors[np.linspace(0, count - 1, min(count, TRAIN_ROWS)).astype(np.int64)] @ coder.rotation
        walked.train(sample)
        store.train(sample)
        for start in range(0, count, ROWS):
            turned = vectors[start : start + ROWS] @ coder.rotation
            walked.add(turned)
            store.add(turned)
            tell(min(start + ROWS, count), count)
        built = walked.storage
        walked.storage = store
        store.this.disown()  # it is the graph's from now on, as the one before it was
        faiss.downcast_index(built).this.own()
        return cls(walked)

    def candidates(self, turned: Vectors, *, part: Part, effort: Effort) -> Ids:
        """Give rows of a part that may be among the best of queries that were turned, -1 where there are no more.

        A walk sees as many more rows as there are fewer that count. *Shape:* (queries, candidates).
        """
        faiss = faiss_for("hnsw")
        many = effort.candidates
        parameters: Any = faiss.SearchParametersHNSW(efSearch=many)
        if part.mask is not None:
            parameters.efSearch = min(len(self), -(-many * len(self) // part.count))
            parameters.sel = bitmap(faiss, part)
        rows: Ids = self._walked.search(turned, many, params=parameters)[1]
        return rows

    def enough(self, many: int) -> int:
        """Give how many of so many candidates there must be: a walk may end in a corner."""
        return many // 2

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
