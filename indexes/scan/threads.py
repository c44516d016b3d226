"""A pool of threads that take pieces of a search as they become free, so that a busy core delays only its own piece.

FAISS and torch would each start threads of their own inside these. Their number of threads is a setting of the calling
thread, so it is lowered to one in the threads of this pool, and must not be changed anywhere else: a thread that
encodes media would be left with a single one.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Piece = TypeVar("Piece")
Result = TypeVar("Result")

THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
MAX_INLINE_PIECES = 2
"""Up to this many pieces the calling thread is done sooner by itself than by waking others."""
_limited = threading.local()
"""The packages that were limited to one thread in this thread, as attributes."""
_torch_setting = threading.Lock()
"""Held while torch's setting for new threads is one that is not meant for them."""


def map_in_threads(work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Apply `work` to every piece in the pool and return the results in order. `work` must not call this again."""
    torch = sys.modules.get("torch")
    with _torch_setting:
        torch_threads = 0 if torch is None else torch.get_num_threads()

    def limited_work(piece: Piece) -> Result:
        _limit_to_one_thread(torch_threads)
        return work(piece)

    return _pool().map(limited_work, pieces)


def for_each(work: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Apply `work` to every piece: in the pool if there are many, in the calling thread if not."""
    for _ in map_in_threads(work, pieces) if len(pieces) > MAX_INLINE_PIECES else map(work, pieces):
        pass


def _limit_to_one_thread(torch_threads: int) -> None:
    """Keep faiss, and torch if it is loaded, from starting threads in this one.

    `torch_threads` is the number that torch must go on using in threads that start later; 0 without torch.
    """
    if sys.modules.get("faiss") is not None and not hasattr(_limited, "faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        _limited.faiss = True
    if torch_threads and not hasattr(_limited, "torch"):
        import torch

        with _torch_setting:
            # A thread takes over the last number set anywhere when it first uses or reads its own: let it do so now.
            torch.get_num_threads()
            torch.set_num_threads(1)
            # New threads would now start with one, so the usual number is set once more, by a thread that ends.
            last = threading.Thread(target=torch.set_num_threads, args=(torch_threads,))
            last.start()
            last.join()
        _limited.torch = True


class _Scratch(threading.local):
    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}


_scratch = _Scratch()


def scratch_array(name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """Return uninitialised memory of this thread, valid until the same name is used again.

    Reusing memory matters: faulting in new pages costs more than writing the values.
    """
    size = math.prod(shape)
    array = _scratch.arrays.get(name)
    if array is None or array.size < size or array.dtype != dtype:
        array = _scratch.arrays[name] = np.empty(size, dtype=dtype)
    return array[:size].reshape(shape)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "bindsearch-search")


if hasattr(os, "register_at_fork"):  # a forked child has no threads of its parent: it makes its own pool
    os.register_at_fork(after_in_child=_pool.cache_clear)
