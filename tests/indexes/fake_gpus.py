"""A faiss with cards, for machines that have none: it takes what faiss takes on a card, and refuses what it refuses.

Vectors lie in float16, filters are not taken, at most 2,048 neighbours are given, and memory has an end.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from bindsearch.indexes.gpu.faiss_probe import Cards

MOST = 2048
ROOMY = 10**12


class FakeFaiss:
    """Stands for the module; what it has no card for comes from the real one."""

    INDICES_64_BIT = 2

    def __init__(self, room: int = ROOMY) -> None:
        import faiss

        self._real = faiss
        self.room = room
        """Bytes that all cards together have left."""
        self.asked: list[int] = []
        """The cards that were searched."""

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

    def take(self, size: int) -> None:
        if size > self.room:
            raise RuntimeError("Error in virtual void* allocMemory: StandardGpuResources: alloc fail: out of memory")
        self.room -= size

    def index_cpu_to_gpu(self, resources: Any, card: int, index: Any, options: Any) -> FakeGpuIndex:
        assert options.useFloat16
        return FakeGpuIndex(self, card, self._real.clone_index(index))

    def index_cpu_to_gpu_multiple_py(self, resources: Any, index: Any, options: Any, cards: list[int]) -> Any:
        assert options.shard
        shards = [
            FakeGpuIndex(self, card, part) for card, part in zip(cards, self._split(index, len(cards)), strict=True)
        ]
        return SimpleNamespace(at=lambda place: shards[place])

    def _split(self, index: Any, number: int) -> list[Any]:
        """Return what of an inverted file each card gets: the ids of a range, called as before."""
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
        return SimpleNamespace(train=lambda vectors: (self.take(2 * vectors.size), graph.add(vectors)), graph=graph)

    def index_gpu_to_cpu(self, built: Any) -> Any:
        return built.graph


class FakeGpuIndex:
    """An index on a card."""

    def __init__(self, faiss: FakeFaiss, card: int, held: Any) -> None:
        self._faiss, self._card, self._held = faiss, card, held
        faiss.take(2 * held.ntotal * held.d)

    @property
    def ntotal(self) -> int:
        return int(self._held.ntotal)

    def add(self, vectors: Any) -> None:
        self._faiss.take(2 * vectors.size)
        self._held.add(vectors.astype(np.float16).astype(np.float32))

    def search(self, queries: Any, k: int, params: Any = None) -> Any:
        assert 0 < k <= MOST, f"cards find no {k} neighbours"
        assert queries.flags.c_contiguous
        self._faiss.asked.append(self._card)
        if hasattr(params, "itopk_size"):
            assert params.itopk_size >= k
            params = self._faiss._real.SearchParametersHNSW(efSearch=params.itopk_size)
        assert params is None or params.sel is None, "cards do not filter"
        half = queries.astype(np.float16).astype(np.float32)
        return self._held.search(half, k, params=params)


def fake_cards(number: int = 1, *, room: int = ROOMY) -> Cards:
    """Return some cards that have so much room together."""
    return Cards(FakeFaiss(room), tuple(range(number)), graphs=True)
