"""Cells: which rows of a block lie in which region, with a bit a dimension of each, so that a query looks at few.

FAISS's inverted file with RaBitQ codes. It only names candidates; their scores come from the vectors themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Ids, Vectors

from ._codes import Coder
from ._shortlist import Look, Part, Shortlist

TRAIN_ROWS = 1 << 16
ROWS = 1 << 16
"""Rows that are placed at once."""
ROUNDS = 8
"""Of moving the centres of cells."""
Tell = Callable[[int, int], None]
"""Is told how many rows of how many are in their cells."""
FINE = 8
"""Bits to which a query is rounded when it is compared with a row's bits."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How far a search in cells goes."""

    share: float = 1 / 16
    """Of the cells that are opened."""
    candidates: int = 512
    """Rows whose scores are looked up; for up to a quarter as many results."""

    def raised(self) -> Effort:
        """Give the next step up: twice the cells."""
        return Effort(min(1.0, 2 * self.share), self.candidates if self.share < 1 else 2 * self.candidates)


class Cells:
    """The cells of one block, by row; read only once made."""

    def __init__(self, inverted: Any) -> None:
        self._inverted = inverted

    def __len__(self) -> int:
        return int(self._inverted.ntotal)

    @classmethod
    def of(cls, vectors: Vectors, *, tell: Tell = lambda done, total: None) -> Self:
        """Train on an even sample, then place all rows; the memory that it takes beside the cells is bounded.

        Raises `IndexUnavailable` without faiss.
        """
        faiss = _faiss()
        count, dim = vectors.shape
        inverted: Any = faiss.index_factory(dim, f"IVF{cells_for(count)},RaBitQ", faiss.METRIC_INNER_PRODUCT)
        inverted.cp.niter = ROUNDS
        inverted.cp.min_points_per_centroid = 1
        tell(0, count)
        inverted.train(vectors[np.linspace(0, count - 1, min(count, TRAIN_ROWS)).astype(np.int64)])
        for start in range(0, count, ROWS):
            inverted.add(np.ascontiguousarray(vectors[start : start + ROWS]))
            tell(min(start + ROWS, count), count)
        return cls(inverted)

    def candidates(self, queries: Vectors, *, part: Part, effort: Effort) -> Ids:
        """Give rows of a part that may be among the best, -1 where there are no more.

        What a query needs travels with it: the shared structure is not touched.
        *Shape:* (queries, candidates).
        """
        import faiss

        parameters = faiss.IVFRaBitQSearchParameters()
        parameters.nprobe = max(1, round(effort.share * self._inverted.nlist))
        parameters.qb = FINE
        if part.mask is not None:
            selector: Any = faiss.IDSelectorBitmap
            parameters.sel = selector(np.packbits(part.mask, bitorder="little"))
        rows: Ids = self._inverted.search(queries, effort.candidates, params=parameters)[1]
        return rows

    def save(self, file: Path) -> None:
        """Write the cells."""
        import faiss

        faiss.write_index(self._inverted, str(file))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open the cells, by mapping.

        Raises `ValueError` for a file that holds none, and `IndexUnavailable` without faiss.
        """
        faiss = _faiss()
        try:
            # Adding to what is mapped like this would end the process. Nothing is added to cells once they are made.
            return cls(faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC))
        except RuntimeError as error:
            raise ValueError(f"{file}: not an index that this faiss reads") from error


@dataclass(frozen=True, slots=True)
class LookAtCells:
    """Looks into the cells near each query, and at everything where cells would not do."""

    effort: Effort
    coder: Coder
    everywhere: Look

    def __call__(self, part: Part, queries: Vectors, shortlist: Shortlist) -> None:
        """Look at a part. Which way a query takes depends neither on others nor, if little is wanted, on how much."""
        cells, codes, many = part.block.cells, part.block.codes, self.effort.candidates
        if cells is None or codes is None or 4 * shortlist.wanted > many or part.count < 4 * many:
            self.everywhere(part, queries, shortlist)
            return
        rows = cells.candidates(queries, part=part, effort=self.effort)
        full = rows[:, -1] >= 0
        asked = self.coder.ask(queries)
        places = np.repeat(np.flatnonzero(full), many)
        near = rows[full].reshape(-1)
        shortlist.offer(places, near, self.coder.scores(codes, near, asked, places), self.coder.margin(codes, asked))
        lacking = np.flatnonzero(~full)
        if len(lacking):
            rest = Shortlist(len(lacking), shortlist.wanted)
            self.everywhere(part, queries[lacking], rest)
            shortlist.adopt(rest, lacking)


def _faiss() -> Any:
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise IndexUnavailable("the index ivf needs faiss: pip install 'bindsearch[faiss]'") from error
    return faiss


def cells_for(count: int) -> int:
    """Give the number of cells: a power of two near the square root, so that finding and reading cells cost alike."""
    return int(2 ** np.clip(round(np.log2(max(count, 1)) / 2), 2, 14))
