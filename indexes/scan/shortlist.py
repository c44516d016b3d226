"""The best of many vectors for each query: a fast look at every one, a careful look at the few that may count.

A fast look gives every score up to a margin that is known, so it only decides what is looked at again. The scores that
are compared and given back come from a sum that depends on the two vectors alone: the answer is the same whichever
way was taken, in which blocks the vectors lie, and which other queries came along.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Mask, Scores, Vectors

from .blocks import Block
from .int8_codes import runs
from .threads import do_each, room

BATCH = 256
"""Queries that are looked up in one pass."""
CHUNK_ROWS = 1 << 18
CHUNK_SCORES = 1 << 21
"""At most so many rows, and scores, at once: they should still be in the cache when they are compared."""
GATHERED_ROWS = 1 << 12
"""At most so many vectors are copied at once."""
PAIRS = 1 << 8
"""So many pairs of query and vector are multiplied at once: they should stay in the cache."""
GATHER_SHARE = 0.03
"""Below this share of rows, copying them out is cheaper than looking at all."""
THREAD_ROWS = 1 << 13
"""Vectors that a thread takes at a time, where one query is multiplied with all."""
AT_ONCE = 128
"""So few of a query are all looked at carefully."""
FOLD = 16
"""Of so many scores at a time, the largest is compared first."""
LOWEST = np.finfo(np.float32).min


@dataclass(frozen=True, eq=False)
class RowSelection:
    """The rows of a block that a search may look at."""

    block: Block
    count: int
    mask: Mask | None = None
    """Over all rows of the block; None where all may be looked at, and where there are `rows`."""
    rows: Ids | None = None
    """The rows themselves, ascending, where they are few."""

    @classmethod
    def of(cls, block: Block, allowed: Ids | None) -> Self:
        """Narrow a block down to what is alive and allowed."""
        if allowed is None:
            return cls(block, block.count, mask=block.alive)
        if len(allowed) < GATHER_SHARE * len(block.ids):
            rows = np.unique(block.find(allowed)[1])
            return cls(block, len(rows), rows=rows)
        mask = np.isin(block.ids, allowed)
        if block.alive is not None:
            mask &= block.alive
        return cls(block, int(np.count_nonzero(mask)), mask=mask)

    def chunks(self, size: int) -> Iterator[tuple[Ids, Vectors, Mask | None]]:
        """Return rows, vectors and mask, up to `size` rows at a time."""
        block, rows, mask = self.block, self.rows, self.mask
        if rows is not None:
            for start in range(0, len(rows), GATHERED_ROWS):
                few = rows[start : start + GATHERED_ROWS]
                yield few, block.vectors[few], None
            return
        for start in range(0, len(block.ids), size):
            piece = slice(start, start + size)
            vectors = block.vectors[piece]
            yield np.arange(start, start + len(vectors)), vectors, None if mask is None else mask[piece]


class Scan(Protocol):
    """A way to see what of a part may be among the best, and to offer it to the shortlist of that part."""

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Offer the candidates of a part."""
        ...


class Shortlist:
    """For each query, the rows that may be among its best `wanted`, with the range in which their scores lie."""

    def __init__(self, queries: int, wanted: int) -> None:
        self.wanted = wanted
        self.floors = np.full(queries, LOWEST, dtype=np.float32)
        """What the highest possible score of a row must reach, that it may count."""
        self.crowd = 4 * queries * wanted + 64
        """More rows than this should not be offered at once, if it can be helped."""
        self._tops = np.full((queries, wanted), LOWEST, dtype=np.float32)
        self._noting = threading.Lock()
        self._part = 0
        self._pending = 0
        self._limit = self.crowd
        nothing = np.empty(0, dtype=np.int64)
        self._offers = [_Offer(nothing, nothing, nothing, np.empty(0, np.float32), np.empty(0, np.float32))]

    def next_part(self) -> None:
        """Say that what is offered from now on are rows of the next part."""
        self._part += 1

    def note(self, lows: Scores) -> None:
        """Raise the floors by scores that the best rows of a piece have at least; of no piece twice, from any thread.

        *Shape:* (queries, wanted).
        """
        with self._noting:
            both = np.concatenate([self._tops, lows], axis=1)
            self._tops = np.partition(both, self.wanted, axis=1)[:, self.wanted :]
            self.floors = np.maximum(self.floors, self._tops.min(axis=1))

    def offer(self, places: Ids, rows: Ids, scores: Scores, margin: Scores) -> None:
        """Take in rows of a part, each with the place of the query and a score that is right up to its margin."""
        around = margin[places]
        parts = np.full(len(places), self._part)
        self._offers.append(_Offer(places, parts, rows, scores - around, scores + around))
        self._pending += len(places)
        if self._pending > self._limit:
            self._limit = self.crowd + 2 * len(self._narrow().places)

    def aside(self) -> Shortlist:
        """Return an empty one for the same part, of which something may have to be thrown away."""
        other = Shortlist(len(self.floors), self.wanted)
        other.floors = self.floors
        return other

    def adopt(self, other: Shortlist, places: Ids) -> None:
        """Take in what another shortlist holds of the same part, for queries that are at these places here."""
        offer = other._narrow()
        mine = _Offer(places[offer.places], np.full(len(offer.places), self._part), offer.rows, offer.low, offer.high)
        self._offers.append(mine)
        self._pending += len(mine.places)

    def settle(self, parts: Sequence[RowSelection], queries: Vectors) -> tuple[Scores, Ids]:
        """Re-score what may count, and give the best of each query as a row: by score, then by id."""
        offer = self._narrow() if self._pending > AT_ONCE * len(queries) else self._all()
        if len(offer.places) > AT_ONCE:
            scores, around = _quick(parts, offer, queries), _rounding(queries)[offer.places]
            self._offers = [replace(offer, low=scores - around, high=scores + around)]
            offer = self._narrow()
        return _ranked(offer, _careful(parts, offer, queries), parts, self.wanted)

    def _narrow(self) -> _Offer:
        """Order by query and lowest possible score, raise the floors, and drop what cannot reach them."""
        offer = self._all()
        offer = offer.take(np.lexsort((-offer.low, offer.places)))
        last = _rank(offer.places) == self.wanted - 1
        with self._noting:
            floors = self.floors.copy()
            floors[offer.places[last]] = np.maximum(floors[offer.places[last]], offer.low[last])
            self.floors = floors
        offer = offer.take(offer.high >= self.floors[offer.places])
        self._offers, self._pending = [offer], len(offer.places)
        return offer

    def _all(self) -> _Offer:
        return _Offer(*(np.concatenate(column) for column in zip(*map(_Offer.columns, self._offers), strict=True)))


@dataclass(frozen=True, eq=False)
class _Offer:
    places: Ids
    parts: Ids
    rows: Ids
    low: Scores
    high: Scores

    def columns(self) -> tuple[Ids, Ids, Ids, Scores, Scores]:
        return self.places, self.parts, self.rows, self.low, self.high

    def take(self, which: Ids | Mask) -> _Offer:
        return _Offer(self.places[which], self.parts[which], self.rows[which], self.low[which], self.high[which])


def best(parts: Sequence[RowSelection], queries: Vectors, wanted: int, scan: Scan) -> tuple[Scores, Ids]:
    """Find the best `wanted` for each query, best first, equal ones by id. There must be as many."""
    scores = np.empty((len(queries), wanted), dtype=np.float32)
    ids = np.empty((len(queries), wanted), dtype=np.int64)
    if wanted:
        for start in range(0, len(queries), BATCH):
            batch = queries[start : start + BATCH]
            shortlist = Shortlist(len(batch), wanted)
            for part in parts:
                (scan if part.rows is None else scan_floats)(part, batch, shortlist)
                shortlist.next_part()
            scores[start : start + BATCH], ids[start : start + BATCH] = shortlist.settle(parts, batch)
    return scores, ids


def scan_floats(part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
    """Multiply in float32 everything with everything."""
    margin = _rounding(queries)
    for rows, vectors, mask in part.chunks(max(1, min(CHUNK_ROWS, CHUNK_SCORES // len(queries)))):
        fast = _products(queries, vectors)
        if mask is not None:
            fast[:, ~mask] = -np.inf
        places, here = reaching(fast, margin, shortlist)
        shortlist.offer(places, rows[here], fast[places, here], margin)


def reaching(table: NDArray[Any], margin: Scores, shortlist: Shortlist, steps: Scores | None = None) -> tuple[Ids, Ids]:
    """Return row and column of each value of a table that may be among its row's best, being right up to a margin.

    Values are scores, or whole numbers that make scores when they are multiplied with steps. The table is folded like
    a map: the largest of each stack is compared before its layers are. Where too many reach the floor, near the start,
    or where vectors come in the order of their scores, the table's own best raise it first.
    """
    fold = 1 if table.shape[1] % FOLD else FOLD
    stacks = table.reshape(len(table), fold, -1)
    tops = np.max(stacks, axis=1, out=room("tops", (len(stacks), stacks.shape[2]), table.dtype))
    limits = _limits(shortlist.floors - margin, steps)
    hits = np.flatnonzero(tops >= limits[:, None])
    several = tops if tops.shape[1] > shortlist.wanted else table
    if len(hits) > shortlist.crowd and several.shape[1] > shortlist.wanted:
        own = np.partition(several, -shortlist.wanted, axis=1)[:, -shortlist.wanted :].astype(np.float32)
        shortlist.note((own if steps is None else own * steps[:, None]) - margin[:, None])
        limits = _limits(shortlist.floors - margin, steps)
        hits = np.flatnonzero(tops >= limits[:, None])
    places, stack = np.divmod(hits, tops.shape[1])
    hit, layer = np.nonzero(stacks[places, :, stack] >= limits[places, None])
    return places[hit], stack[hit] + layer * tops.shape[1]


def _limits(scores: Scores, steps: Scores | None) -> NDArray[Any]:
    """Return the values that scores stand for: where there are steps, rounded down, within what they can be."""
    if steps is None:
        return scores
    whole = np.iinfo(np.int32)
    return np.clip(np.floor(scores / steps.astype(np.float64)), whole.min + 1, whole.max - 1).astype(np.int64)


def _products(queries: Vectors, vectors: Vectors) -> Scores:
    """Multiply queries with vectors: many by BLAS, one in threads of our own.

    One query is as fast as memory is read. BLAS cuts the rows in equal shares and waits for the slowest; threads that
    take small pieces as they come lose little to a core that is busy with something else.
    """
    if len(queries) > 1:
        return queries @ vectors.T
    products = np.empty((1, len(vectors)), dtype=np.float32)

    def multiply(start: int) -> None:
        piece = slice(start, start + THREAD_ROWS)
        np.einsum("ij,j->i", vectors[piece], queries[0], out=products[0, piece])

    do_each(multiply, range(0, len(vectors), THREAD_ROWS))
    return products


def _rounding(queries: Vectors) -> Scores:
    """Bound, for each query and vectors of unit length, by how much a product in float32 can be wrong."""
    margin: Scores = np.linalg.norm(queries, axis=1) * np.float32((queries.shape[1] + 2) * np.finfo(np.float32).eps)
    return margin


def _quick(parts: Sequence[RowSelection], offer: _Offer, queries: Vectors) -> Scores:
    """Multiply pairs in float32."""

    def multiply(vectors: Vectors, places: Ids) -> Scores:
        scores = np.empty(len(places), dtype=np.float32)
        for start, end in runs(places):
            np.einsum("ij,j->i", vectors[start:end], queries[places[start]], out=scores[start:end])
        return scores

    return _by_pieces(multiply, parts, offer)


def _careful(parts: Sequence[RowSelection], offer: _Offer, queries: Vectors) -> Scores:
    """Multiply pairs in double precision and round once."""

    def multiply(vectors: Vectors, places: Ids) -> Scores:
        asked = np.take(queries, places, axis=0, out=room("queries", vectors.shape), mode="clip")
        products = room("careful products", vectors.shape, np.float64)
        scores: Scores = np.multiply(vectors, asked, out=products, dtype=np.float64).sum(axis=1).astype(np.float32)
        return scores

    return _by_pieces(multiply, parts, offer)


def _by_pieces(multiply: Callable[[Vectors, Ids], Scores], parts: Sequence[RowSelection], offer: _Offer) -> Scores:
    """Multiply some pairs at once, those of a query beside each other; where they are many, in threads."""
    scores = np.empty(len(offer.places), dtype=np.float32)
    order = np.lexsort((offer.places, offer.parts))
    parts_of = runs(offer.parts[order])
    pieces = [order[at : min(at + PAIRS, end)] for start, end in parts_of for at in range(start, end, PAIRS)]

    def fill(few: Ids) -> None:
        vectors = parts[int(offer.parts[few[0]])].block.vectors
        copied = np.take(vectors, offer.rows[few], 0, room("vectors", (len(few), vectors.shape[1])), mode="clip")
        scores[few] = multiply(copied, offer.places[few])

    do_each(fill, pieces)
    return scores


def _ranked(offer: _Offer, scores: Scores, parts: Sequence[RowSelection], wanted: int) -> tuple[Scores, Ids]:
    ids = np.empty(len(scores), dtype=np.int64)
    for number, part in enumerate(parts):
        mine = offer.parts == number
        ids[mine] = part.block.ids[offer.rows[mine]]
    order = np.lexsort((ids, -scores, offer.places))
    kept = order[_rank(offer.places[order]) < wanted]
    return scores[kept].reshape(-1, wanted), ids[kept].reshape(-1, wanted)


def _rank(places: Ids) -> Ids:
    """Count, in ascending places, which of its place each is."""
    return np.arange(len(places)) - np.searchsorted(places, places)
