"""Exact search by FAISS on cards: all vectors in float16 in their memory, the best scored anew from the vectors."""

from __future__ import annotations

import logging
import threading
from weakref import WeakKeyDictionary

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from ..exact import ExactIndex
from ..scan.blocks import Block
from ..scan.error_bounds import half_margin
from ..scan.shortlist import RowSelection, Shortlist
from .faiss_copies import MOST, CardFull, FlatClone
from .faiss_probe import Cards, lack

SPARE = 32
"""More than is wanted is asked of the cards, so that they seldom have to be asked again."""
SMALL = 1 << 13
"""Fewer rows are looked at by the processor before a card has begun."""

_log = logging.getLogger(__name__)


class FaissGpuIndex(ExactIndex):
    """The exact index, looking at its blocks on the cards that faiss runs on.

    Where there is none, for a block that the cards have no room for, and where float16 cannot tell the best from the
    next, the processor looks, as in the exact index. What is found does not depend on it.
    """

    kind = "faiss-gpu"

    def __init__(self, dim: int, *, cards: Cards | None = None, small: int = SMALL) -> None:
        super().__init__(dim)
        self._cards = Cards.here() if cards is None else cards
        self._small = small
        self._held: WeakKeyDictionary[Block, FlatClone | None] = WeakKeyDictionary()
        self._copying = threading.Lock()
        self._lack = ""

    @property
    def words(self) -> str:
        """What does the looking, for people."""
        if not self._cards:
            return f"the processor: {lack()}"
        which = f"faiss on {len(self._cards.numbers)} GPU{'s' * (len(self._cards.numbers) > 1)}"
        return f"{which}, in part the processor: {self._lack}" if self._lack else which

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, equal ones by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, self._look)

    def _look(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        clone = self._clone(part.block)
        left = np.arange(len(queries))
        if clone is not None:
            found = shortlist.aside()  # some queries may be done when there is no room for more
            try:
                left = self._look_on_cards(clone, part, queries, found)
                shortlist.adopt(found, np.arange(len(queries)))
            except CardFull as full:
                self._say(full)
        if len(left) == len(queries):
            self._looks(part, queries, shortlist)
        elif len(left):
            rest = Shortlist(len(left), shortlist.wanted)
            self._looks(part, queries[left], rest)
            shortlist.adopt(rest, left)

    def _look_on_cards(self, clone: FlatClone, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> Ids:
        """Offer what the cards find of those queries for which nothing can be missing, and give the other queries."""
        margin, count = half_margin(queries), len(part.block.ids)
        left, many = np.arange(len(queries)), min(count, shortlist.wanted + SPARE)
        while len(left) and many <= MOST:
            scores, rows = clone.search(queries[left], many)
            counts = rows >= 0
            if part.mask is not None:
                counts &= part.mask[rows]
            sure = _sure(scores, counts, 2 * margin[left], shortlist, left) | (many == count)
            places, which = np.nonzero(counts & sure[:, None])
            shortlist.offer(left[places], rows[places, which], scores[places, which], margin)
            left = left[~sure]
            many = count if many < count <= MOST else 4 * many
        return left

    def _clone(self, block: Block) -> FlatClone | None:
        if not self._cards or len(block.ids) < self._small:
            return None
        with self._copying:
            if block not in self._held:
                try:
                    self._held[block] = FlatClone(block.vectors, self._cards)
                except CardFull as full:
                    self._held[block] = None
                    self._say(full)
            return self._held[block]

    def _say(self, full: CardFull) -> None:
        if not self._lack:
            self._lack = f"the GPU has no room ({full})"
            _log.warning("%s: the processor searches instead", self._lack)


def _sure(scores: Scores, counts: np.ndarray, window: Scores, shortlist: Shortlist, left: Ids) -> np.ndarray:
    """Return for which queries all that may be among the best is there: the last is too far below the `wanted`-th."""
    wanted = shortlist.wanted
    floors = shortlist.floors[left] + window / 2
    if counts.shape[1] >= wanted:
        ranked = -np.sort(-np.where(counts, scores, -np.inf), axis=1)
        floors = np.maximum(floors, ranked[:, wanted - 1])
    sure: np.ndarray = scores[:, -1] < floors - window
    return sure
