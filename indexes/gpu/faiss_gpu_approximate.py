"""Approximate search by FAISS on GPUs. Scores come from the stored vectors, as in every index."""

from __future__ import annotations

from typing import ClassVar

from bindsearch.ports import BuildCallback, CandidateGenerator, VectorSource
from bindsearch.types import SearchEffort

from ..approximate.two_stage import MIN_GENERATOR_ROWS, TwoStageIndex
from .faiss_candidates import FaissGpuCagraGraph, FaissGpuGenerator, FaissGpuIvfLists, FaissGpuPqLists
from .faiss_probe import FaissGpus


class FaissGpuTwoStageIndex(TwoStageIndex):
    """A two-stage index whose generator runs on GPUs, where faiss can use one."""

    generator_type: ClassVar[type[FaissGpuIvfLists | FaissGpuCagraGraph]]

    def __init__(
        self,
        dim: int,
        *,
        min_generator_rows: int = MIN_GENERATOR_ROWS,
        effort: SearchEffort | None = None,
        gpus: FaissGpus | None = None,
    ) -> None:
        super().__init__(dim, min_generator_rows=min_generator_rows, effort=effort)
        self._gpus = gpus

    @property
    def device_text(self) -> str:
        """What runs the search, for people."""
        generators: list[object] = [block.generator for block in self._snapshot.blocks]
        reasons = [each.why_on_cpu for each in generators if isinstance(each, FaissGpuGenerator) and each.why_on_cpu]
        return f"the CPU: {reasons[0]}" if reasons else "faiss on the GPU"

    def build_generator(self, vectors: VectorSource, on_progress: BuildCallback) -> CandidateGenerator:
        """Build the generator for the GPUs of this index. Raises `IndexUnavailable`."""
        return self.generator_type.build(vectors, gpus=self._gpus, on_progress=on_progress)


class FaissGpuIvfIndex(FaissGpuTwoStageIndex):
    """IVF lists of vectors."""

    kind = "faiss-gpu-ivf"
    generator_type = FaissGpuIvfLists
    default_effort: ClassVar[SearchEffort] = SearchEffort()


class FaissGpuPqIndex(FaissGpuTwoStageIndex):
    """IVF lists of product codes, for vectors that do not fit into the memory of the GPU."""

    kind = "faiss-gpu-pq"
    generator_type = FaissGpuPqLists
    default_effort: ClassVar[SearchEffort] = SearchEffort(candidates=1024)


class FaissGpuCagraIndex(FaissGpuTwoStageIndex):
    """A CAGRA graph."""

    kind = "faiss-gpu-cagra"
    generator_type = FaissGpuCagraGraph
    default_effort: ClassVar[SearchEffort] = SearchEffort(share=1.0, candidates=512)
