"""Candidate generators that faiss keeps in main memory and searches on GPUs: IVF lists and CAGRA graphs."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.ports import BuildCallback, VectorSource
from bindsearch.types import Candidates, Ids, Mask, SearchEffort, Vectors

from ..approximate.faiss_io import import_faiss, map_index, row_filter, write_index
from ..approximate.ivf_lists import TRAINING_ITERATIONS, fill_ivf, ivf_index
from .faiss_copies import MAX_GPU_RESULTS, GpuCopy, GpuOutOfMemory
from .faiss_probe import FaissGpus, why_no_gpu

MIN_PQ_ROWS = 1 << 12
"""Rows that are needed to place the 256 centres of each product code."""
GPU_PQ_CODES = (96, 64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)
"""Numbers of product codes a row that faiss supports on GPUs."""
GPU_PQ_DIMS = (2, 3, 4, 6, 8, 10, 12, 16, 20, 24, 28, 32)
"""Dimensions a product code that faiss supports on GPUs."""
MIN_GRAPH_BREADTH = 64
"""Rows that a walk keeps in its queue, at least."""
_log = logging.getLogger(__name__)


class FaissGpuGenerator:
    """A faiss index, searched on GPUs if there are some with memory for it, else on the CPU."""

    kind: ClassVar[str] = "faiss-gpu-ivf"
    file_name: ClassVar[str] = "faiss-gpu.faiss"
    min_filter_share: ClassVar[float] = 1 / 8
    """GPUs do not filter: where fewer rows count, too few of those that they return would be left."""
    candidates_per_result: ClassVar[int] = 4

    def __init__(self, index: Any, gpus: FaissGpus | None = None) -> None:
        self._index = index
        self._gpus = gpus
        self._copy: GpuCopy | None = None
        self._lock = threading.Lock()
        self.why_on_cpu = ""
        """Why the CPU searches, if it does."""

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        """Name the best rows that faiss finds. They suffice if they are at least half of the candidates."""
        rows = self._rows(queries, mask, effort)
        return Candidates(rows, rows[:, effort.candidates // 2 - 1] >= 0)

    def _rows(self, queries: Vectors, mask: Mask | None, effort: SearchEffort) -> Ids:
        count = effort.candidates
        copy = self._gpu_copy() if count <= MAX_GPU_RESULTS else None
        if copy is not None:
            try:
                unfiltered = count if mask is None else _unfiltered_count(count, mask)
                rows = copy.search(queries, unfiltered, self._parameters(effort, unfiltered, on_gpu=True))
                return _filtered(rows, mask, count)
            except GpuOutOfMemory as error:
                self._fall_back_to_cpu(error)
        parameters = self._parameters(effort, count, on_gpu=False)
        if mask is not None:
            parameters.sel = row_filter(import_faiss(self.kind), mask)
        found: Ids = self._index.search(queries, count, params=parameters)[1]
        return found

    def save(self, file: Path) -> None:
        """Write the index that is kept in main memory."""
        write_index(self._index, file)

    @classmethod
    def load(cls, file: Path) -> Self:
        """Map the index; it is copied to the GPUs by the first search.

        Raises `ValueError` for another file, and `IndexUnavailable` without faiss.
        """
        return cls(map_index(import_faiss(cls.kind), file))

    def _gpu_copy(self) -> GpuCopy | None:
        with self._lock:
            if self._gpus is None:
                self._gpus = FaissGpus.detect()
            if not self._gpus:
                self.why_on_cpu = self.why_on_cpu or why_no_gpu()
                return None
            if self._copy is None and not self.why_on_cpu:
                try:
                    self._copy = GpuCopy(self._index, self._gpus)
                except GpuOutOfMemory as error:
                    self._fall_back_to_cpu(error)
            return self._copy

    def _fall_back_to_cpu(self, error: GpuOutOfMemory) -> None:
        self._copy = None
        if not self.why_on_cpu:
            self.why_on_cpu = f"the GPU is out of memory ({error})"
            _log.warning("%s: the CPU searches instead", self.why_on_cpu)

    def _parameters(self, effort: SearchEffort, count: int, *, on_gpu: bool) -> Any:
        faiss = import_faiss(self.kind)
        probes = max(1, round(effort.share * self._index.nlist))
        return faiss.SearchParametersIVF(nprobe=min(probes, MAX_GPU_RESULTS) if on_gpu else probes)


class FaissGpuIvfLists(FaissGpuGenerator):
    """IVF lists that hold the vectors themselves."""

    @classmethod
    def build(
        cls,
        vectors: VectorSource,
        *,
        gpus: FaissGpus | None = None,
        on_progress: BuildCallback = lambda done, total: None,
    ) -> Self:
        """Train on an even sample, then assign all rows. Raises `IndexUnavailable` without faiss."""
        index = ivf_index(import_faiss(cls.kind), vectors, cls.code(len(vectors), vectors.dim))
        if hasattr(index, "pq"):
            index.do_polysemous_training = False  # it serves Hamming distances, and takes minutes
            index.pq.cp.niter = TRAINING_ITERATIONS
            index.pq.cp.min_points_per_centroid = 1
        fill_ivf(index, vectors, on_progress)
        return cls(index, gpus)

    @classmethod
    def code(cls, count: int, dim: int) -> str:
        """Return how the lists hold a row, by faiss's name for it."""
        return "Flat"


class FaissGpuPqLists(FaissGpuIvfLists):
    """IVF lists that hold product codes: a byte for every few dimensions."""

    kind = "faiss-gpu-pq"

    @classmethod
    def code(cls, count: int, dim: int) -> str:
        """Return as many product codes as GPUs support; the vectors themselves where there are too few to train on."""
        fitting = [number for number in GPU_PQ_CODES if dim % number == 0 and dim // number in GPU_PQ_DIMS]
        return f"PQ{fitting[0]}x8" if fitting and count >= MIN_PQ_ROWS else "Flat"


class FaissGpuCagraGraph(FaissGpuGenerator):
    """A graph that a GPU builds; it is kept in main memory, where the CPU can search it, too."""

    kind = "faiss-gpu-cagra"

    @classmethod
    def build(
        cls,
        vectors: VectorSource,
        *,
        gpus: FaissGpus | None = None,
        on_progress: BuildCallback = lambda done, total: None,
    ) -> Self:
        """Link all rows on a GPU. Raises `IndexUnavailable` if faiss has no CAGRA or can use no GPU."""
        gpus = FaissGpus.detect() if gpus is None else gpus
        if not gpus or not gpus.has_cagra:
            missing = "a faiss with cuVS" if gpus else f"a GPU that faiss can use ({why_no_gpu()})"
            raise IndexUnavailable(f"the index {cls.kind} needs {missing}: use hnsw, which needs neither")
        faiss = gpus.faiss
        on_progress(0, len(vectors))
        resources = faiss.StandardGpuResources()
        # Unit vectors with the largest product are those at the smallest distance, and every release takes distances.
        on_gpu = faiss.GpuIndexCagra(resources, vectors.dim, faiss.METRIC_L2)
        try:
            on_gpu.train(np.ascontiguousarray(vectors.sample(len(vectors))))
        except RuntimeError as error:
            raise IndexUnavailable(f"the index {cls.kind} does not fit on the GPU: use faiss-gpu-pq") from error
        index = faiss.index_gpu_to_cpu(on_gpu)
        on_progress(len(vectors), len(vectors))
        return cls(index, gpus)

    def _parameters(self, effort: SearchEffort, count: int, *, on_gpu: bool) -> Any:
        breadth = max(MIN_GRAPH_BREADTH, count)
        if on_gpu and self._gpus is not None:
            parameters = self._gpus.faiss.SearchParametersCagra()
            parameters.itopk_size = -(-breadth // 32) * 32
            return parameters
        return import_faiss(self.kind).SearchParametersHNSW(efSearch=breadth)


def _unfiltered_count(count: int, mask: Mask) -> int:
    """Return how many rows to ask for so that about `count` are left after the filter: a fourth more than expected."""
    return min(MAX_GPU_RESULTS, -(-5 * count * len(mask) // (4 * int(np.count_nonzero(mask)))))


def _filtered(rows: Ids, mask: Mask | None, count: int) -> Ids:
    """Return the first `count` rows of each query that pass the mask, in their order, filled up with -1."""
    passes = rows >= 0 if mask is None else (rows >= 0) & mask[rows]
    first = np.argsort(~passes, axis=1, kind="stable")[:, :count]
    kept = np.where(np.take_along_axis(passes, first, axis=1), np.take_along_axis(rows, first, axis=1), -1)
    return np.pad(kept, ((0, 0), (0, count - kept.shape[1])), constant_values=-1)
