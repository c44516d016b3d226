"""Approximate search in cells: what a search looks at grows with the square root of what there is."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from ..scan.blocks import Block
from .candidates import CandidateGenerator, ProgressCallback, SearchEffort
from .ivf_lists import Cells
from .two_stage import TwoStageIndex


class IvfIndex(TwoStageIndex):
    """An exact index whose large block has cells.

    `bits` says how much of each dimension the cells keep: one, until `refine` makes it four.
    """

    kind = "ivf"
    generator = Cells
    usual: ClassVar[SearchEffort] = SearchEffort()
    bits = 1

    def refine(self) -> bool:
        """Build cells that keep four bits where they kept one; False where they do already."""
        if self.bits > 1:
            return False
        self.bits, self.effort = 4, self.usual
        self.build()
        return True

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors, codes and cells stay on disk until they are looked at.

        Raises `ValueError` for files that do not belong together.
        """
        index = super().load(folder)
        generators: list[object] = [block.generator for block in index._now.blocks]
        index.bits = next((generator.bits for generator in generators if isinstance(generator, Cells)), 1)
        return index

    def _make(self, block: Block, on_progress: ProgressCallback) -> CandidateGenerator:
        return Cells.of(block.vectors, self._looks.coder, bits=self.bits, on_progress=on_progress)
