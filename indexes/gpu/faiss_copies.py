"""Copies on GPUs of what faiss holds in main memory: in float16, spread over all GPUs where there are several."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .faiss_probe import FaissGpus

COPIED_ROWS = 1 << 16
"""Rows that are sent to a GPU at a time."""
SCRATCH_BYTES = 256 << 20
"""Memory that faiss may take on each GPU beyond what it holds."""
MAX_GPU_RESULTS = 2048
"""The most neighbours that faiss returns from a GPU."""
OUT_OF_MEMORY_MESSAGES = ("out of memory", "alloc fail", "cudaMalloc", "bad_alloc")


class GpuOutOfMemory(Exception):
    """A GPU has no memory left for a copy, or for what a search needs."""


class FlatGpuCopy:
    """Vectors on GPUs, an equal share on each; every search compares them all."""

    def __init__(self, vectors: Vectors, gpus: FaissGpus) -> None:
        """Copy the vectors. Raises `GpuOutOfMemory`."""
        self._lock = threading.Lock()
        self._shards: list[tuple[int, Any]] = []
        """The first row of each shard, and the shard."""
        self._resources = [_resources(gpus.faiss) for _ in gpus.numbers]
        edges = np.linspace(0, len(vectors), len(gpus.numbers) + 1).astype(int)
        with raising_out_of_memory():
            for place, number in enumerate(gpus.numbers):
                empty = gpus.faiss.IndexFlatIP(vectors.shape[1])
                shard = gpus.faiss.index_cpu_to_gpu(self._resources[place], number, empty, _float16(gpus.faiss))
                for start in range(edges[place], edges[place + 1], COPIED_ROWS):
                    end = min(start + COPIED_ROWS, edges[place + 1])
                    shard.add(np.ascontiguousarray(vectors[start:end]))
                self._shards.append((int(edges[place]), shard))

    def search(self, queries: Vectors, count: int) -> tuple[Scores, Ids]:
        """Return the best rows of all GPUs, best first, -1 where there are no more. Raises `GpuOutOfMemory`."""
        with self._lock, raising_out_of_memory():
            found = [(start, shard.search(queries, min(count, shard.ntotal))) for start, shard in self._shards]
        scores = np.concatenate([each for _, (each, _) in found], axis=1)
        rows = np.concatenate([np.where(each < 0, -1, each + start) for start, (_, each) in found], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


class GpuCopy:
    """A faiss index on GPUs: whole on one, in shards on several."""

    def __init__(self, index: Any, gpus: FaissGpus) -> None:
        """Copy the index. Raises `GpuOutOfMemory`."""
        self._lock = threading.Lock()
        faiss, numbers = gpus.faiss, list(gpus.numbers)
        self._sign = 1 if index.metric_type == faiss.METRIC_L2 else -1
        self._resources = [_resources(faiss) for _ in numbers]
        with raising_out_of_memory():
            if len(numbers) == 1:
                self._copy = faiss.index_cpu_to_gpu(self._resources[0], numbers[0], index, _float16(faiss))
                self._shards = [self._copy]
            else:
                options = faiss.GpuMultipleClonerOptions()
                options.useFloat16 = options.shard = True
                options.indicesOptions = faiss.INDICES_64_BIT
                self._copy = faiss.index_cpu_to_gpu_multiple_py(self._resources, index, options, numbers)
                self._shards = [self._copy.at(place) for place in range(len(numbers))]

    def search(self, queries: Vectors, count: int, parameters: Any) -> Ids:
        """Return rows, best first, -1 where there are no more. Raises `GpuOutOfMemory`.

        The shards are searched one by one: together they do not take parameters in every release of faiss.
        """
        with self._lock, raising_out_of_memory():
            found = [shard.search(queries, count, params=parameters) for shard in self._shards]
        scores, rows = (np.concatenate(column, axis=1) for column in zip(*found, strict=True))
        order = np.argsort(np.where(rows < 0, np.inf, self._sign * scores), axis=1, kind="stable")[:, :count]
        return np.take_along_axis(rows, order, axis=1)


@contextmanager
def raising_out_of_memory() -> Iterator[None]:
    """Raise `GpuOutOfMemory` instead of the various errors that faiss raises then."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = str(error)
        if not isinstance(error, MemoryError) and not any(part in words for part in OUT_OF_MEMORY_MESSAGES):
            raise
        raise GpuOutOfMemory(words.splitlines()[-1] if words else "out of memory") from error


def _resources(faiss: Any) -> Any:
    resources = faiss.StandardGpuResources()
    resources.setTempMemory(SCRATCH_BYTES)
    return resources


def _float16(faiss: Any) -> Any:
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True
    options.indicesOptions = faiss.INDICES_64_BIT
    return options
