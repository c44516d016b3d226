"""The threads of one run of indexing."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from bindsearch.ingest.report import Report

Value = TypeVar("Value")


class ThreadPools:
    """The threads of one run."""

    def __init__(self) -> None:
        self.decoders = max(2, os.cpu_count() or 1)
        self.scan = ThreadPoolExecutor(1, "bindsearch-scan")
        self.hash = ThreadPoolExecutor(2, "bindsearch-hash")
        self.decode = ThreadPoolExecutor(self.decoders, "bindsearch-decode")
        self._commit = ThreadPoolExecutor(1, "bindsearch-commit")
        self._committing: Future[Report] | None = None

    def commit(self, write: Callable[[], Report]) -> Report:
        """Start writing a batch; return the report of the batch before, or raise what writing it raised."""
        report = self.finish()
        self._committing = self._commit.submit(write)
        return report

    def finish(self) -> Report:
        """Wait for the batch that is being written; return its report, or raise what writing it raised."""
        committing, self._committing = self._committing, None
        return Report() if committing is None else committing.result()

    def shutdown(self) -> None:
        """End all threads."""
        for pool in (self.scan, self.hash, self.decode, self._commit):
            pool.shutdown(cancel_futures=True)


def put(target: queue.Queue[Value], value: Value, halt: threading.Event) -> bool:
    """Put a value into a bounded queue. Return false if the run was halted meanwhile."""
    while not halt.is_set():
        try:
            target.put(value, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
