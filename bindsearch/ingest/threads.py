"""The threads of one run of indexing."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")


class ThreadPools:
    """The threads of one run."""

    def __init__(self) -> None:
        self.decoders = max(2, os.cpu_count() or 1)
        self.scan = ThreadPoolExecutor(1, "bindsearch-scan")
        self.hash = ThreadPoolExecutor(2, "bindsearch-hash")
        self.decode = ThreadPoolExecutor(self.decoders, "bindsearch-decode")
        self._commit = ThreadPoolExecutor(1, "bindsearch-commit")
        self._committing: Future[None] | None = None

    def commit(self, write: Callable[[], None]) -> None:
        """Write a batch while the next one is made; raises what the one before raised."""
        self.finish()
        self._committing = self._commit.submit(write)

    def finish(self) -> None:
        """Wait for the batch that is being written; raises what it raised."""
        committing, self._committing = self._committing, None
        if committing is not None:
            committing.result()

    def shutdown(self) -> None:
        """End all threads."""
        for pool in (self.scan, self.hash, self.decode, self._commit):
            pool.shutdown(cancel_futures=True)


def put(target: queue.Queue[Thing], value: Thing, halt: threading.Event) -> bool:
    """Put into a bounded queue unless the run ends meanwhile."""
    while not halt.is_set():
        try:
            target.put(value, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
