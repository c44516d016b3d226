"""Approximate search in IVF lists: what a search reads grows with the square root of the number of vectors."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from bindsearch.ports import BuildCallback, CandidateGenerator, VectorSource
from bindsearch.types import SearchEffort

from .ivf_lists import IvfLists
from .two_stage import TwoStageIndex


class IvfIndex(TwoStageIndex):
    """A two-stage index whose candidates come from IVF lists.

    `bits` is how many bits the lists keep of each dimension: one, until `refine` makes it four.
    """

    kind = "ivf"
    generator_type = IvfLists
    default_effort: ClassVar[SearchEffort] = SearchEffort()
    bits = 1

    def refine(self) -> bool:
        """Rebuild the lists with four bits a dimension instead of one. Return false if they have four already."""
        if self.bits > 1:
            return False
        self.bits, self.effort = 4, self.default_effort
        self.build()
        return True

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors, codes and lists are mapped and stay on disk until they are read.

        Raises `ValueError` for files that do not belong together.
        """
        index = super().load(folder)
        generators: list[object] = [block.generator for block in index._snapshot.blocks]
        index.bits = next((generator.bits for generator in generators if isinstance(generator, IvfLists)), 1)
        return index

    def build_generator(self, vectors: VectorSource, on_progress: BuildCallback) -> CandidateGenerator:
        """Build the lists with `bits` bits a dimension. Raises `IndexUnavailable` without faiss."""
        return IvfLists.build(vectors, bits=self.bits, on_progress=on_progress)
