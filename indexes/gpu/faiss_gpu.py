"""Exact search by FAISS on GPUs: all vectors in float16 in their memory, the best re-scored from the stored vectors."""

from __future__ import annotations

import logging
import threading
from weakref import WeakKeyDictionary

import numpy as np

from bindsearch.types import Ids, Mask, Scores, Vectors

from ..exact import ExactIndex
from ..scan.blocks import Block
from ..scan.error_bounds import float16_error_bound
from ..scan.rows import RowSelection
from ..scan.shortlist import Shortlist
from .faiss_copies import MAX_GPU_RESULTS, FlatGpuCopy, GpuOutOfMemory
from .faiss_probe import FaissGpus, why_no_gpu

EXTRA_RESULTS = 32
"""Results that are asked of the GPUs beyond those wanted, so that they seldom have to be asked again."""
MIN_GPU_ROWS = 1 << 13
"""Fewer rows are scanned by the CPU before a GPU has started."""

_log = logging.getLogger(__name__)


class FaissGpuIndex(ExactIndex):
    """The exact index, with its blocks scanned on the GPUs that faiss can use.

    The CPU scans, as in the exact index, if there is no GPU, for a block that does not fit into the memory of the GPUs,
    and for queries whose best rows float16 cannot tell apart. Answers do not depend on it.
    """

    kind = "faiss-gpu"

    def __init__(self, dim: int, *, gpus: FaissGpus | None = None, min_gpu_rows: int = MIN_GPU_ROWS) -> None:
        super().__init__(dim)
        self._gpus = FaissGpus.detect() if gpus is None else gpus
        self._min_gpu_rows = min_gpu_rows
        self._copies: WeakKeyDictionary[Block, FlatGpuCopy | None] = WeakKeyDictionary()
        """The copy of each block that was searched; None if it does not fit."""
        self._copy_lock = threading.Lock()
        self._why_on_cpu = ""

    @property
    def device_text(self) -> str:
        """What runs the search, for people."""
        if not self._gpus:
            return f"the CPU: {why_no_gpu()}"
        gpus = f"faiss on {len(self._gpus.numbers)} GPU{'s' * (len(self._gpus.numbers) > 1)}"
        return f"{gpus}, in part the CPU: {self._why_on_cpu}" if self._why_on_cpu else gpus

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Return the best `min(k, searched)` of each query, best first, equal scores by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._scan_part)

    def _scan_part(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        copy = self._gpu_copy(part.block)
        remaining = np.arange(len(queries))
        if copy is not None:
            found = shortlist.empty_copy()  # the memory may run out after some of the queries
            try:
                remaining = _scan_on_gpus(copy, part, queries, found)
                shortlist.merge(found, np.arange(len(queries)))
            except GpuOutOfMemory as error:
                self._log_out_of_memory(error)
        if len(remaining) == len(queries):
            self._scan(part, queries, shortlist)
        elif len(remaining):
            rest = Shortlist(len(remaining), shortlist.wanted)
            self._scan(part, queries[remaining], rest)
            shortlist.merge(rest, remaining)

    def _gpu_copy(self, block: Block) -> FlatGpuCopy | None:
        if not self._gpus or len(block.ids) < self._min_gpu_rows:
            return None
        with self._copy_lock:
            if block not in self._copies:
                try:
                    self._copies[block] = FlatGpuCopy(block.vectors, self._gpus)
                except GpuOutOfMemory as error:
                    self._copies[block] = None
                    self._log_out_of_memory(error)
            return self._copies[block]

    def _log_out_of_memory(self, error: GpuOutOfMemory) -> None:
        if not self._why_on_cpu:
            self._why_on_cpu = f"the GPU is out of memory ({error})"
            _log.warning("%s: the CPU searches instead", self._why_on_cpu)


def _scan_on_gpus(copy: FlatGpuCopy, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> Ids:
    """Add the rows of those queries for which none can be missing. Return the indexes of the other queries.

    Queries for which rows may be missing are asked again for four times as many, or for all.
    """
    error_bounds, total = float16_error_bound(queries), len(part.block.ids)
    remaining, count = np.arange(len(queries)), min(total, shortlist.wanted + EXTRA_RESULTS)
    while len(remaining) and count <= MAX_GPU_RESULTS:
        scores, rows = copy.search(queries[remaining], count)
        passes = rows >= 0
        if part.mask is not None:
            passes &= part.mask[rows]
        complete = _is_complete(scores, passes, 2 * error_bounds[remaining], shortlist, remaining) | (count == total)
        query_index, column = np.nonzero(passes & complete[:, None])
        shortlist.add(remaining[query_index], rows[query_index, column], scores[query_index, column], error_bounds)
        remaining = remaining[~complete]
        count = total if count < total <= MAX_GPU_RESULTS else 4 * count
    return remaining


def _is_complete(scores: Scores, passes: Mask, window: Scores, shortlist: Shortlist, remaining: Ids) -> Mask:
    """Return, for each query, whether all rows that may be among its best were returned.

    They were if the last score returned is more than the window, twice the error bound, below the `wanted`-th best.
    """
    floors = shortlist.floors[remaining] + window / 2
    if passes.shape[1] >= shortlist.wanted:
        descending = -np.sort(-np.where(passes, scores, -np.inf), axis=1)
        floors = np.maximum(floors, descending[:, shortlist.wanted - 1])
    complete: Mask = scores[:, -1] < floors - window
    return complete
