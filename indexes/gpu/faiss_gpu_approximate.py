"""Approximate search by FAISS on cards: what they find is scored from the vectors, as in every index."""

from __future__ import annotations

from typing import ClassVar

from ..approximate.candidates import Effort, Finder, Tell
from ..approximate.two_stage import MIN_ROWS, BuiltIndex
from ..scan.blocks import Block
from .faiss_candidates import CardCells, CardFinder, CardGraph, CardProducts
from .faiss_probe import Cards


class FaissGpuFoundIndex(BuiltIndex):
    """An exact index whose large block has a finder that lies on cards, where faiss runs on one."""

    finder: ClassVar[type[CardCells | CardGraph]]

    def __init__(
        self, dim: int, *, min_rows: int = MIN_ROWS, effort: Effort | None = None, cards: Cards | None = None
    ) -> None:
        super().__init__(dim, min_rows=min_rows, effort=effort)
        self._cards = cards

    @property
    def words(self) -> str:
        """What does the looking, for people."""
        finders: list[object] = [block.finder for block in self._now.blocks]
        lack = next((finder.lack for finder in finders if isinstance(finder, CardFinder) and finder.lack), "")
        return f"the processor: {lack}" if lack else "faiss on the GPU"

    def _make(self, block: Block, tell: Tell) -> Finder:
        return self.finder.of(block.vectors, self._looks.coder, cards=self._cards, tell=tell)


class FaissGpuIvfIndex(FaissGpuFoundIndex):
    """Cells of vectors."""

    kind = "faiss-gpu-ivf"
    finder = CardCells
    usual: ClassVar[Effort] = Effort()


class FaissGpuPqIndex(FaissGpuFoundIndex):
    """Cells of product codes, for what does not fit otherwise."""

    kind = "faiss-gpu-pq"
    finder = CardProducts
    usual: ClassVar[Effort] = Effort(candidates=1024)


class FaissGpuCagraIndex(FaissGpuFoundIndex):
    """A graph."""

    kind = "faiss-gpu-cagra"
    finder = CardGraph
    usual: ClassVar[Effort] = Effort(share=1.0, candidates=512)
