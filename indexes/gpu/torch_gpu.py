"""Exact search on a torch device: vectors are multiplied in its memory, and the best re-scored from the stored ones."""

from __future__ import annotations

import logging
import threading
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Ids, Scores, Vectors

from ..exact import ExactIndex
from ..scan.blocks import Block
from ..scan.error_bounds import float16_error_bound, float32_error_bound
from ..scan.rows import RowSelection
from ..scan.shortlist import Shortlist

PIECE_ROWS = 1 << 18
"""Rows whose scores are held on the device at a time, for each of up to 256 queries."""
_log = logging.getLogger(__name__)


class TorchIndex(ExactIndex):
    """The exact index, with its blocks scanned on a device: in float16 on a GPU, in float32 on the CPU.

    `device` is torch's name, or `auto` for the first CUDA device. The CPU scans, as in the exact index, if there is
    none, and for a block that does not fit into its memory; `device_text` says which it is.
    """

    kind = "torch"

    def __init__(self, dim: int, *, device: str = "auto") -> None:
        super().__init__(dim)
        self.device = _device(device)
        self._copies: WeakKeyDictionary[Block, Any] = WeakKeyDictionary()
        self._copy_lock = threading.Lock()
        self._why_on_cpu = ""

    @property
    def device_text(self) -> str:
        """What runs the search, for people."""
        if self.device is None:
            return "the CPU: torch finds no GPU"
        return f"{self.device}, in part the CPU: {self._why_on_cpu}" if self._why_on_cpu else self.device

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Return the best `min(k, searched)` of each query, best first, equal scores by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._scan_part)

    def _scan_part(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        if self.device is None:
            self._scan(part, queries, shortlist)
            return
        import torch

        found = shortlist.empty_copy()  # the memory may run out after half of the rows
        try:
            self._scan_on_device(part, queries, found, self.device)
            shortlist.merge(found, np.arange(len(queries)))
        except torch.OutOfMemoryError:
            self._copies.pop(part.block, None)
            if not self._why_on_cpu:
                self._why_on_cpu = f"{self.device} is out of memory"
                _log.warning("%s: the CPU searches instead", self._why_on_cpu)
            self._scan(part, queries, shortlist)

    def _scan_on_device(self, part: RowSelection, queries: Vectors, shortlist: Shortlist, device: str) -> None:
        import torch

        vectors = self._device_copy(part.block, device)
        on_device = torch.from_numpy(queries).to(device, vectors.dtype)
        error_bounds = (float16_error_bound if vectors.dtype == torch.float16 else float32_error_bound)(queries)
        for start in range(0, len(vectors), PIECE_ROWS):
            products = (on_device @ vectors[start : start + PIECE_ROWS].T).float()
            if part.mask is not None:
                mask = torch.from_numpy(part.mask[start : start + PIECE_ROWS]).to(device)
                products.masked_fill_(~mask, -torch.inf)
            floors = torch.from_numpy(shortlist.floors - error_bounds).to(device)
            if products.shape[1] > shortlist.wanted:
                worst = products.topk(shortlist.wanted, dim=1).values[:, -1]
                floors = torch.maximum(floors, worst - 2 * torch.from_numpy(error_bounds).to(device))
            query_index, rows = (products >= floors[:, None]).nonzero(as_tuple=True)
            scores = products[query_index, rows].cpu().numpy()
            shortlist.add(query_index.cpu().numpy(), rows.cpu().numpy() + start, scores, error_bounds)

    def _device_copy(self, block: Block, device: str) -> Any:
        """Return the vectors of a block on the device; they are copied by the first search."""
        import torch

        with self._copy_lock:
            if block not in self._copies:
                dtype = torch.float32 if device == "cpu" else torch.float16
                self._copies[block] = torch.from_numpy(np.array(block.vectors)).to(device, dtype)
            return self._copies[block]


def _device(name: str) -> str | None:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise IndexUnavailable("the index torch needs torch: pip install 'bindsearch[models]'") from error
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else None
