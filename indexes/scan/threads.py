"""Threads of our own, which take pieces of a search as they come: so a busy core delays its piece, not the others.

Faiss and torch would start threads of their own in each. How many they may is a setting of the thread that calls them.
It must not be changed anywhere else: a thread that embeds would be left with one.
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
Given = TypeVar("Given")

THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
FEW = 2
_told = threading.local()
_telling = threading.Lock()
"""Held while torch has been told a number that is not meant for new threads."""


def each(work: Callable[[Piece], Given], pieces: Iterable[Piece]) -> Iterator[Given]:
    """Do a work with each piece, and give what comes of it in their order. The work must not call this again."""
    torch = sys.modules.get("torch")
    with _telling:
        usual = 0 if torch is None else torch.get_num_threads()

    def alone(piece: Piece) -> Given:
        _start_no_threads(usual)
        return work(piece)

    return _pool().map(alone, pieces)


def do_each(work: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Do a work with each piece; in threads, if there are so many that it is not sooner done than these are told."""
    for _ in each(work, pieces) if len(pieces) > FEW else map(work, pieces):
        pass


def _start_no_threads(usual: int) -> None:
    """Have faiss, and torch if it has so many threads usually, start none from this one."""
    if sys.modules.get("faiss") is not None and not hasattr(_told, "faiss"):
        import faiss

        faiss.omp_set_num_threads(1)
        _told.faiss = True
    if usual and not hasattr(_told, "torch"):
        import torch

        with _telling:
            torch.get_num_threads()  # a thread begins with what was said last when it first uses or asks for its number
            torch.set_num_threads(1)
            # New threads begin with what was said last, so it is said once more, by one that ends.
            last = threading.Thread(target=torch.set_num_threads, args=(usual,))
            last.start()
            last.join()
        _told.torch = True


class _Kept(threading.local):
    def __init__(self) -> None:
        self.rooms: dict[str, NDArray[Any]] = {}


_kept = _Kept()


def room(name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
    """Return memory of this thread, with anything in it, until it is asked for by this name again.

    New pages cost more than what is written into them.
    """
    size = math.prod(shape)
    kept = _kept.rooms.get(name)
    if kept is None or kept.size < size or kept.dtype != dtype:
        kept = _kept.rooms[name] = np.empty(size, dtype=dtype)
    return kept[:size].reshape(shape)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(THREADS, "bindsearch-search")


if hasattr(os, "register_at_fork"):  # threads stay behind when a process forks: the child makes its own
    os.register_at_fork(after_in_child=_pool.cache_clear)
