"""Approximate search by FAISS on cards: what they find is scored from the vectors, as in every index."""

from __future__ import annotations

from typing import ClassVar

from ..approximate.candidates import CandidateGenerator, ProgressCallback, SearchEffort
from ..approximate.two_stage import MIN_ROWS, TwoStageIndex
from ..scan.blocks import Block
from .faiss_candidates import CardCells, CardFinder, CardGraph, CardProducts
from .faiss_probe import Cards


class FaissGpuFoundIndex(TwoStageIndex):
    """An exact index whose large block has a finder that lies on cards, where faiss runs on one."""

    generator: ClassVar[type[CardCells | CardGraph]]

    def __init__(
        self, dim: int, *, min_rows: int = MIN_ROWS, effort: SearchEffort | None = None, cards: Cards | None = None
    ) -> None:
        super().__init__(dim, min_rows=min_rows, effort=effort)
        self._cards = cards

    @property
    def words(self) -> str:
        """What does the looking, for people."""
        generators: list[object] = [block.generator for block in self._now.blocks]
        lack = next(
            (generator.lack for generator in generators if isinstance(generator, CardFinder) and generator.lack), ""
        )
        return f"the processor: {lack}" if lack else "faiss on the GPU"

    def _make(self, block: Block, on_progress: ProgressCallback) -> CandidateGenerator:
        return self.generator.of(block.vectors, self._looks.coder, cards=self._cards, on_progress=on_progress)


class FaissGpuIvfIndex(FaissGpuFoundIndex):
    """Cells of vectors."""

    kind = "faiss-gpu-ivf"
    generator = CardCells
    usual: ClassVar[SearchEffort] = SearchEffort()


class FaissGpuPqIndex(FaissGpuFoundIndex):
    """Cells of product codes, for what does not fit otherwise."""

    kind = "faiss-gpu-pq"
    generator = CardProducts
    usual: ClassVar[SearchEffort] = SearchEffort(candidates=1024)


class FaissGpuCagraIndex(FaissGpuFoundIndex):
    """A graph."""

    kind = "faiss-gpu-cagra"
    generator = CardGraph
    usual: ClassVar[SearchEffort] = SearchEffort(share=1.0, candidates=512)
