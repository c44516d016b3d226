"""Copies, on cards, of what faiss holds on the processor: in float16, spread over several cards where there are."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .faiss_probe import Cards

ROWS = 1 << 16
"""Rows that travel to a card at once."""
SCRATCH = 256 << 20
"""Bytes that faiss may take on each card besides what it holds."""
MOST = 2048
"""Neighbours that faiss finds on a card at the most."""
OUT_OF_MEMORY = ("out of memory", "alloc fail", "cudaMalloc", "bad_alloc")


class CardFull(Exception):
    """A card has no room for what it should hold, or for what a search needs."""


class FlatClone:
    """Vectors on cards, each holding as many; searched by comparing everything."""

    def __init__(self, vectors: Vectors, cards: Cards) -> None:
        """Copy the vectors. Raises `CardFull`."""
        self._searching = threading.Lock()
        self._shards: list[tuple[int, Any]] = []
        self._resources = [_resources(cards.faiss) for _ in cards.numbers]
        edges = np.linspace(0, len(vectors), len(cards.numbers) + 1).astype(int)
        with full_is_said():
            for place, number in enumerate(cards.numbers):
                empty = cards.faiss.IndexFlatIP(vectors.shape[1])
                on_card = cards.faiss.index_cpu_to_gpu(self._resources[place], number, empty, _half(cards.faiss))
                for start in range(edges[place], edges[place + 1], ROWS):
                    on_card.add(np.ascontiguousarray(vectors[start : min(start + ROWS, edges[place + 1])]))
                self._shards.append((int(edges[place]), on_card))

    def search(self, queries: Vectors, many: int) -> tuple[Scores, Ids]:
        """Return the best rows of all cards, falling, -1 where there are no more. Raises `CardFull`."""
        with self._searching, full_is_said():
            found = [(start, shard.search(queries, min(many, shard.ntotal))) for start, shard in self._shards]
        scores = np.concatenate([each for _, (each, _) in found], axis=1)
        rows = np.concatenate([np.where(each < 0, -1, each + start) for start, (_, each) in found], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :many]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


class Clone:
    """A faiss index of the processor, on cards: whole on one, in parts on several."""

    def __init__(self, kept: Any, cards: Cards) -> None:
        """Copy the index. Raises `CardFull`."""
        self._searching = threading.Lock()
        faiss, numbers = cards.faiss, list(cards.numbers)
        self._sign = 1 if kept.metric_type == faiss.METRIC_L2 else -1
        self._resources = [_resources(faiss) for _ in numbers]
        with full_is_said():
            if len(numbers) == 1:
                self._whole = faiss.index_cpu_to_gpu(self._resources[0], numbers[0], kept, _half(faiss))
                self._parts = [self._whole]
            else:
                options = faiss.GpuMultipleClonerOptions()
                options.useFloat16 = options.shard = True
                options.indicesOptions = faiss.INDICES_64_BIT
                self._whole = faiss.index_cpu_to_gpu_multiple_py(self._resources, kept, options, numbers)
                self._parts = [self._whole.at(place) for place in range(len(numbers))]

    def search(self, queries: Vectors, many: int, parameters: Any) -> Ids:
        """Return rows, best first, -1 where there are no more. Raises `CardFull`.

        The parts are asked one by one: together they would not take parameters in every release of faiss.
        """
        with self._searching, full_is_said():
            found = [part.search(queries, many, params=parameters) for part in self._parts]
        scores, rows = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
        order = np.argsort(np.where(rows < 0, np.inf, self._sign * scores), axis=1, kind="stable")[:, :many]
        return np.take_along_axis(rows, order, axis=1)


class full_is_said:
    """Raises `CardFull` for what faiss raises where a card has no room."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)
        ):
            raise CardFull(str(error).splitlines()[-1] if str(error) else "out of memory") from error


def _resources(faiss: Any) -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH)
    return resources


def _half(faiss: Any) -> Any:
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    options.indicesOptions = faiss.INDICES_64_BIT
    return options
