"""Finders that faiss keeps on the processor and searches on cards: cells of floats, cells of product codes, graphs."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Ids, Vectors

from ..approximate.candidates import Candidates, ProgressCallback, SearchEffort, bitmap, faiss_for, mapped
from ..approximate.ivf_lists import ROUNDS, ROWS, TRAIN_ROWS, cells_for
from ..scan.int8_codes import Coder
from ..scan.shortlist import RowSelection
from .faiss_copies import MOST, CardFull, Clone
from .faiss_probe import Cards, lack

LEARNT = 1 << 12
"""Rows that must be there for the 256 centres of each product code to be placed."""
PRODUCTS = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
"""Numbers of product codes that cards know."""
WIDTHS = (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32)
"""Dimensions of each that they know."""
LINKED = 64
"""Rows that a graph keeps in sight on a card at least."""
_log = logging.getLogger(__name__)


class CardFinder:
    """A faiss index, searched on cards where there are some with room for it, else on the processor."""

    kind: ClassVar[str] = "faiss-gpu-ivf"
    file: ClassVar[str] = "cards.faiss"
    least: ClassVar[float] = 1 / 8
    plenty: ClassVar[int] = 4
    """Cards do not filter: where fewer rows count, too few of what they name would be left."""

    def __init__(self, kept: Any, cards: Cards | None = None) -> None:
        self._kept = kept
        self._cards = cards
        self._clone: Clone | None = None
        self._copying = threading.Lock()
        self.lack = ""
        """Why the processor searches, where it does."""

    def __len__(self) -> int:
        return int(self._kept.ntotal)

    def candidates(self, turned: Vectors, *, part: RowSelection, effort: SearchEffort, wanted: int) -> Candidates:
        """Name rows of a part that may be among the best of queries that were turned."""
        rows = self._rows(turned, part, effort)
        return Candidates(rows, rows[:, effort.candidates // 2 - 1] >= 0)

    def _rows(self, turned: Vectors, part: RowSelection, effort: SearchEffort) -> Ids:
        many = effort.candidates
        asked = many if part.mask is None else min(MOST, -(-5 * many * len(self) // (4 * part.count)))
        clone = self._on_cards() if many <= MOST else None
        if clone is not None:
            try:
                rows = clone.search(turned, asked, self._parameters(effort, asked, on_card=True))
                return _counting(rows, part, many)
            except CardFull as full:
                self._say(full)
        parameters = self._parameters(effort, many, on_card=False)
        if part.mask is not None:
            import faiss

            parameters.sel = bitmap(faiss, part)
        found: Ids = self._kept.search(turned, many, params=parameters)[1]
        return found

    def save(self, file: Path) -> None:
        """Write what is kept on the processor."""
        import faiss

        faiss.write_index(self._kept, str(file))

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open it by mapping; it goes to the cards when it is first searched.

        Raises `ValueError` for another file, and `IndexUnavailable` without faiss.
        """
        return cls(mapped(faiss_for(cls.kind), file))

    def _on_cards(self) -> Clone | None:
        with self._copying:
            if self._cards is None:
                self._cards = Cards.here()
            if not self._cards:
                self.lack = self.lack or lack()
                return None
            if self._clone is None and not self.lack:
                try:
                    self._clone = Clone(self._kept, self._cards)
                except CardFull as full:
                    self._say(full)
            return self._clone

    def _say(self, full: CardFull) -> None:
        self._clone = None
        if not self.lack:
            self.lack = f"the GPU has no room ({full})"
            _log.warning("%s: the processor searches instead", self.lack)

    def _parameters(self, effort: SearchEffort, many: int, *, on_card: bool) -> Any:
        faiss = faiss_for(self.kind)
        probes = max(1, round(effort.share * self._kept.nlist))
        return faiss.SearchParametersIVF(nprobe=min(probes, MOST) if on_card else probes)


class CardCells(CardFinder):
    """Cells that hold the vectors themselves."""

    @classmethod
    def of(
        cls,
        vectors: Vectors,
        coder: Coder,
        *,
        cards: Cards | None = None,
        on_progress: ProgressCallback = lambda done, total: None,
    ) -> Self:
        """Train on an even sample, then place all rows. Raises `IndexUnavailable` without faiss."""
        faiss = faiss_for(cls.kind)
        count, dim = vectors.shape
        kept: Any = faiss.index_factory(
            dim, f"IVF{cells_for(count)},{cls.code(count, dim)}", faiss.METRIC_INNER_PRODUCT
        )
        kept.cp.niter = ROUNDS
        kept.cp.min_points_per_centroid = 1
        if hasattr(kept, "pq"):
            kept.do_polysemous_training = False  # for hamming distances, and it takes minutes
            kept.pq.cp.niter = ROUNDS
            kept.pq.cp.min_points_per_centroid = 1
        on_progress(0, count)
        kept.train(vectors[np.linspace(0, count - 1, min(count, TRAIN_ROWS)).astype(np.int64)] @ coder.rotation)
        for start in range(0, count, ROWS):
            kept.add(vectors[start : start + ROWS] @ coder.rotation)
            on_progress(min(start + ROWS, count), count)
        return cls(kept, cards)

    @classmethod
    def code(cls, count: int, dim: int) -> str:
        """Say how cells hold a row, as faiss calls it."""
        return "Flat"


class CardProducts(CardCells):
    """Cells that hold product codes: a byte for every few dimensions."""

    kind = "faiss-gpu-pq"

    @classmethod
    def code(cls, count: int, dim: int) -> str:
        """Say how cells hold a row: by as many codes as cards take; by the vectors where too few are there to learn."""
        fit = [number for number in PRODUCTS if dim % number == 0 and dim // number in WIDTHS]
        return f"PQ{fit[0]}x8" if fit and count >= LEARNT else "Flat"


class CardGraph(CardFinder):
    """A graph that a card builds; the processor keeps it, and can walk it too."""

    kind = "faiss-gpu-cagra"

    @classmethod
    def of(
        cls,
        vectors: Vectors,
        coder: Coder,
        *,
        cards: Cards | None = None,
        on_progress: ProgressCallback = lambda done, total: None,
    ) -> Self:
        """Link all rows on a card. Raises `IndexUnavailable` where faiss has no such graphs, or no card runs."""
        cards = Cards.here() if cards is None else cards
        if not cards or not cards.graphs:
            missing = "a faiss with cuVS" if cards else f"a GPU on which faiss runs ({lack()})"
            raise IndexUnavailable(f"the index {cls.kind} needs {missing}: take hnsw, which needs none")
        faiss = cards.faiss
        on_progress(0, len(vectors))
        resources = faiss.StandardGpuResources()
        # Unit vectors are near in a straight line exactly where their product is large, and every release takes lines.
        built = faiss.GpuIndexCagra(resources, vectors.shape[1], faiss.METRIC_L2)
        try:
            built.train(np.ascontiguousarray(vectors @ coder.rotation))
        except RuntimeError as error:
            raise IndexUnavailable(f"the index {cls.kind} does not fit on the GPU: take faiss-gpu-pq") from error
        kept = faiss.index_gpu_to_cpu(built)
        on_progress(len(vectors), len(vectors))
        return cls(kept, cards)

    def _parameters(self, effort: SearchEffort, many: int, *, on_card: bool) -> Any:
        if on_card and self._cards is not None:
            parameters = self._cards.faiss.SearchParametersCagra()
            parameters.itopk_size = -(-max(LINKED, many) // 32) * 32
            return parameters
        return faiss_for(self.kind).SearchParametersHNSW(efSearch=max(LINKED, many))


def _counting(rows: Ids, part: RowSelection, many: int) -> Ids:
    """Keep of each query's rows those that count, in their order, and make them `many` columns."""
    if part.mask is None:
        counts = rows >= 0
    else:
        counts = (rows >= 0) & part.mask[rows]
    first = np.argsort(~counts, axis=1, kind="stable")[:, :many]
    kept = np.where(np.take_along_axis(counts, first, axis=1), np.take_along_axis(rows, first, axis=1), -1)
    return np.pad(kept, ((0, 0), (0, many - kept.shape[1])), constant_values=-1)
