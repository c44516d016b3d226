"""A faiss with fake GPUs, for machines without one: it accepts and refuses what faiss accepts and refuses on a GPU.

Vectors are stored in float16, filters are refused, at most 2,048 neighbours are returned, and memory is limited.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from bindsearch.indexes.gpu.faiss_probe import FaissGpus

MAX_RESULTS = 2048
PLENTY_BYTES = 10**12


class FakeFaiss:
    """Stands for the module faiss. What needs no GPU comes from the real one."""

    INDICES_64_BIT = 2

    def __init__(self, free_bytes: int = PLENTY_BYTES) -> None:
        import faiss

        self._real = faiss
        self.free_bytes = free_bytes
        """The free memory of all GPUs together."""
        self.searched: list[int] = []
        """The number of the GPU of every search."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def StandardGpuResources(self) -> Any:
        return SimpleNamespace(setTempMemory=lambda size: None)

    def GpuClonerOptions(self) -> Any:
        return SimpleNamespace(useFloat16=False, indicesOptions=0)

    def GpuMultipleClonerOptions(self) -> Any:
        return SimpleNamespace(useFloat16=False, indicesOptions=0, shard=False)

    def SearchParametersCagra(self) -> Any:
        return SimpleNamespace(itopk_size=64)

    def allocate(self, size: int) -> None:
        if size > self.free_bytes:
            raise RuntimeError("Error in virtual void* allocMemory: StandardGpuResources: alloc fail: out of memory")
        self.free_bytes -= size

    def index_cpu_to_gpu(self, resources: Any, gpu: int, index: Any, options: Any) -> FakeGpuIndex:
        assert options.useFloat16
        return FakeGpuIndex(self, gpu, self._real.clone_index(index))

    def index_cpu_to_gpu_multiple_py(self, resources: Any, index: Any, options: Any, gpus: list[int]) -> Any:
        assert options.shard
        parts = self._split(index, len(gpus))
        shards = [FakeGpuIndex(self, gpu, part) for gpu, part in zip(gpus, parts, strict=True)]
        return SimpleNamespace(at=lambda place: shards[place])

    def _split(self, index: Any, number: int) -> list[Any]:
        """Return the part of an inverted file that each GPU gets: a range of ids, which stay the same."""
        parts = []
        for place in range(number):
            part = self._real.clone_index(index)
            lost = [*range(index.ntotal * place // number), *range(index.ntotal * (place + 1) // number, index.ntotal)]
            part.remove_ids(np.array(lost, dtype=np.int64))
            parts.append(part)
        return parts

    def GpuIndexCagra(self, resources: Any, dim: int, metric: int) -> Any:
        graph = self._real.IndexHNSWFlat(dim, 16, metric)
        graph.hnsw.efConstruction = 100
        return SimpleNamespace(train=lambda vectors: (self.allocate(2 * vectors.size), graph.add(vectors)), graph=graph)

    def index_gpu_to_cpu(self, built: Any) -> Any:
        return built.graph


class FakeGpuIndex:
    """An index on a fake GPU."""

    def __init__(self, faiss: FakeFaiss, gpu: int, index: Any) -> None:
        self._faiss, self._gpu, self._index = faiss, gpu, index
        faiss.allocate(2 * index.ntotal * index.d)

    @property
    def ntotal(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: Any) -> None:
        self._faiss.allocate(2 * vectors.size)
        self._index.add(vectors.astype(np.float16).astype(np.float32))

    def search(self, queries: Any, k: int, params: Any = None) -> Any:
        assert 0 < k <= MAX_RESULTS, f"GPUs cannot return {k} neighbours"
        assert queries.flags.c_contiguous
        self._faiss.searched.append(self._gpu)
        if hasattr(params, "itopk_size"):
            assert params.itopk_size >= k
            params = self._faiss._real.SearchParametersHNSW(efSearch=params.itopk_size)
        assert params is None or params.sel is None, "GPUs do not filter"
        rounded = queries.astype(np.float16).astype(np.float32)
        return self._index.search(rounded, k, params=params)


def fake_gpus(number: int = 1, *, free_bytes: int = PLENTY_BYTES) -> FaissGpus:
    """Return some fake GPUs that have this much memory together."""
    return FaissGpus(FakeFaiss(free_bytes), tuple(range(number)), has_cagra=True)
