"""Exact search on a torch device: all vectors in its memory, multiplied in float16 or float32, the best scored anew."""

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
from ..scan.error_bounds import half_margin, single_margin
from ..scan.shortlist import RowSelection, Shortlist

PIECE_ROWS = 1 << 18
"""Rows whose scores are held on the device at once, for each of up to 256 queries."""
_log = logging.getLogger(__name__)


class TorchIndex(ExactIndex):
    """The exact index, looking at its blocks on a device; what the device finds is scored from the vectors.

    `device` is torch's name, or `auto`: the first CUDA device. Where there is none, and for a block that the device has
    no room for, the processor looks, as in the exact index; `words` says which it is.
    """

    kind = "torch"

    def __init__(self, dim: int, *, device: str = "auto") -> None:
        super().__init__(dim)
        self.device = _device(device)
        self._held: WeakKeyDictionary[Block, Any] = WeakKeyDictionary()
        self._copying = threading.Lock()
        self._lack = ""

    @property
    def words(self) -> str:
        """What does the looking, for people."""
        if self.device is None:
            return "the processor: torch sees no GPU here"
        return f"{self.device}, in part the processor: {self._lack}" if self._lack else self.device

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, equal ones by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._look)

    def _look(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        if self.device is None:
            self._looks(part, queries, shortlist)
            return
        import torch

        found = shortlist.aside()  # half of it may be there when there is no room for more
        try:
            self._look_on_device(part, queries, found, self.device)
            shortlist.adopt(found, np.arange(len(queries)))
        except torch.OutOfMemoryError:
            self._held.pop(part.block, None)
            if not self._lack:
                self._lack = f"{self.device} has no room"
                _log.warning("%s: the processor searches instead", self._lack)
            self._looks(part, queries, shortlist)

    def _look_on_device(self, part: RowSelection, queries: Vectors, shortlist: Shortlist, device: str) -> None:
        import torch

        held = self._on_device(part.block, device)
        asked = torch.from_numpy(queries).to(device, held.dtype)
        margin = (half_margin if held.dtype == torch.float16 else single_margin)(queries)
        for start in range(0, len(held), PIECE_ROWS):
            products = (asked @ held[start : start + PIECE_ROWS].T).float()
            if part.mask is not None:
                mask = torch.from_numpy(part.mask[start : start + PIECE_ROWS]).to(device)
                products.masked_fill_(~mask, -torch.inf)
            floors = torch.from_numpy(shortlist.floors - margin).to(device)
            if products.shape[1] > shortlist.wanted:
                own = products.topk(shortlist.wanted, dim=1).values[:, -1]
                floors = torch.maximum(floors, own - 2 * torch.from_numpy(margin).to(device))
            places, rows = (products >= floors[:, None]).nonzero(as_tuple=True)
            scores = products[places, rows].cpu().numpy()
            shortlist.offer(places.cpu().numpy(), rows.cpu().numpy() + start, scores, margin)

    def _on_device(self, block: Block, device: str) -> Any:
        """Return the block's vectors on the device, in float16 where that is a GPU."""
        import torch

        with self._copying:
            if block not in self._held:
                kind = torch.float32 if device == "cpu" else torch.float16
                self._held[block] = torch.from_numpy(np.array(block.vectors)).to(device, kind)
            return self._held[block]


def _device(name: str) -> str | None:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise IndexUnavailable("the index torch needs torch: pip install torch") from error
    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else None
