"""Cells: which rows of a block lie in which region, with a few bits a dimension of each, so that a query looks at few.

FAISS's inverted file with RaBitQ codes, over vectors that were turned as the codes are: so a bit says as much of one
dimension as of another, also where a space has some that are much larger than the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.types import Ids, Vectors

from ..scan.int8_codes import Coder
from ..scan.shortlist import RowSelection
from .candidates import Candidates, ProgressCallback, SearchEffort, bitmap, faiss_for, mapped

TRAIN_ROWS = 1 << 16
ROWS = 1 << 16
"""Rows that are placed at once."""
ROUNDS = 8
"""Of moving the centres of cells."""
FINE = 8
"""Bits to which a query is rounded when it is compared with a row's bits."""


class Cells:
    """The cells of one block, by row; read only once made."""

    file: ClassVar[str] = "cells-turned.faiss"
    least: ClassVar[float] = 0.0
    plenty: ClassVar[int] = 4

    def __init__(self, inverted: Any) -> None:
        self._inverted = inverted

    def __len__(self) -> int:
        return int(self._inverted.ntotal)

    @classmethod
    def of(
        cls, vectors: Vectors, coder: Coder, *, bits: int = 1, on_progress: ProgressCallback = lambda done, total: None
    ) -> Self:
        """Train on an even sample, then place all rows; the memory that it takes beside the cells is bounded.

        `bits` is how much of each dimension is kept: one, or four where one tells too little. Raises `IndexUnavailable`
        without faiss.
        """
        faiss = faiss_for("ivf")
        count, dim = vectors.shape
        kept = "RaBitQ" if bits == 1 else f"SQ{bits}"
        inverted: Any = faiss.index_factory(dim, f"IVF{cells_for(count)},{kept}", faiss.METRIC_INNER_PRODUCT)
        inverted.cp.niter = ROUNDS
        inverted.cp.min_points_per_centroid = 1
        on_progress(0, count)
        sample = vectors[np.linspace(0, count - 1, min(count, TRAIN_ROWS)).astype(np.int64)]
        inverted.train(sample @ coder.rotation)
        for start in range(0, count, ROWS):
            inverted.add(vectors[start : start + ROWS] @ coder.rotation)
            on_progress(min(start + ROWS, count), count)
        return cls(inverted)

    @property
    def bits(self) -> int:
        """How much of each dimension is kept."""
        return 1 if "RaBitQ" in type(self._inverted).__name__ else 4

    def candidates(self, turned: Vectors, *, part: RowSelection, effort: SearchEffort, wanted: int) -> Candidates:
        """Name rows of a part that may be among the best of queries that were turned: cells should fill them all."""
        import faiss

        parameters: Any = faiss.SearchParametersIVF()
        if self.bits == 1:
            parameters = faiss.IVFRaBitQSearchParameters()
            parameters.qb = FINE
        parameters.nprobe = max(1, round(effort.share * self._inverted.nlist))
        if part.mask is not None:
            parameters.sel = bitmap(faiss, part)
        rows: Ids = self._inverted.search(turned, effort.candidates, params=parameters)[1]
        return Candidates(rows, rows[:, -1] >= 0)

    def save(self, file: Path) -> None:
        """Write the cells."""
        import faiss

        faiss.write_index(self._inverted, str(file))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open the cells, by mapping.

        Raises `ValueError` for a file that holds none, and `IndexUnavailable` without faiss.
        """
        return cls(mapped(faiss_for("ivf"), file))


def cells_for(count: int) -> int:
    """Return the number of cells: a power of two near the square root, so that finding and reading cells cost alike."""
    return int(2 ** np.clip(round(np.log2(max(count, 1)) / 2), 2, 14))
