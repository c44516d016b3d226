"""Fast looks at codes, by whatever this machine multiplies bytes with, and which look is taken when."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Scores, Vectors

from .faiss_int8 import BytePieces, faiss_scans_bytes, room_for, scan_pieces
from .int8_codes import Coder, Codes, CodeValues, Questions
from .shortlist import FOLD, RowSelection, Shortlist, reaching, scan_floats
from .threads import THREADS, each, room

Products = NDArray[np.int32]
Multiply = Callable[[CodeValues, CodeValues], Products]
"""Queries (b, dim) and vectors (c, dim) -> products (b, c), exact, in memory that may be written to, until it is called
again."""

CODED_ROWS = 1 << 15
"""Smaller blocks are not worth the codes."""
CODED_SCORES = 1 << 22
"""At most so many products at once in a thread."""
PIECES = 2
"""So many for each thread, where there are rows for so many: a thread that is late waits less."""
LEAST_ROWS = 1 << 13
"""Fewer rows at once are not worth a piece."""
FEW_QUERIES = 4
"""So many are scanned one by one faster than they are multiplied as a matrix."""
SECONDS_TO_LOAD = {"faiss": 0.3, "torch": 1.5}
"""What loading a package costs: it is paid only when looking at floats has cost as much."""
_NEVER = np.iinfo(np.int32).min


class ScanStrategy:
    """Chooses how an index looks at its blocks. What is found does not depend on it.

    `by` is `best`, or the one way that is to be taken: `floats`, `faiss`, `torch`, or `bytes` for NumPy's slow product.
    """

    def __init__(self, coder: Coder, *, by: str = "best", coded_rows: int = CODED_ROWS) -> None:
        self.coder = coder
        self._by = by
        self._coded_rows = coded_rows
        self._seconds = 0.0
        self._making = threading.Lock()
        self._pieces: WeakKeyDictionary[Codes, BytePieces] = WeakKeyDictionary()

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Scan a part: at its codes where bytes multiply fast here, at its floats otherwise."""
        way = self._way(len(queries)) if len(part.block.ids) >= self._coded_rows else "floats"
        if way == "floats":
            before = time.perf_counter()
            scan_floats(part, queries, shortlist)
            self._seconds += time.perf_counter() - before
            return
        with self._making:
            codes = part.block.encode(self.coder)
            pieces = self._pieces_of(codes) if way == "faiss" else None
        asked = self.coder.ask(queries, self.coder.turn(queries))
        if pieces is not None:
            scan_pieces(part, pieces, self.coder, asked, shortlist)
        else:
            scan_codes(part, self.coder, asked, shortlist, _multiply(way))

    def _way(self, queries: int) -> str:
        if self._by != "best":
            return self._by
        if queries <= FEW_QUERIES and self._is_worth("faiss") and faiss_scans_bytes():
            return "faiss"
        if self._is_worth("torch") and multiply_by_torch() is not None:
            return "torch"
        return "floats"

    def _is_worth(self, package: str) -> bool:
        return package in sys.modules or self._seconds > SECONDS_TO_LOAD[package]

    def _pieces_of(self, codes: Codes) -> BytePieces | None:
        if codes not in self._pieces and (self._by == "faiss" or room_for(codes)):
            self._pieces[codes] = BytePieces(codes.values)
        return self._pieces.get(codes)


def _multiply(way: str) -> Multiply:
    return (multiply_by_torch() if way != "bytes" else None) or multiply_by_numpy


def scan_codes(part: RowSelection, coder: Coder, asked: Questions, shortlist: Shortlist, multiply: Multiply) -> None:
    """Multiply codes, and offer what reaches the floors within the bound on what coding can change."""
    codes = part.block.codes
    assert codes is not None
    margin = coder.margin(codes, asked)
    caps = None if part.mask is None else np.where(part.mask, np.iinfo(np.int32).max, _NEVER).astype(np.int32)

    def scan(piece: slice) -> tuple[Ids, Ids, Scores]:
        products = multiply(asked.values, codes.values[piece])
        if caps is not None:
            np.minimum(products, caps[piece], out=products)
        places, rows = reaching(products, margin, shortlist, asked.steps)
        return places, rows + piece.start, products[places, rows].astype(np.float32) * asked.steps[places]

    for found in each(scan, _pieces(len(codes.values), len(asked.values))):
        shortlist.offer(*found, margin)


def _pieces(rows: int, queries: int) -> Iterator[slice]:
    """Cut rows into pieces that fold, several for each thread, but for the last few."""
    most = min(CODED_SCORES // queries, rows // (PIECES * THREADS))
    size = max(FOLD, LEAST_ROWS, most) // FOLD * FOLD
    folding = rows // FOLD * FOLD
    for start in range(0, folding, size):
        yield slice(start, min(start + size, folding))
    if folding < rows:
        yield slice(folding, rows)


def multiply_by_numpy(queries: CodeValues, vectors: CodeValues) -> Products:
    """Multiply bytes slowly, on any machine."""
    return np.ascontiguousarray(queries.astype(np.int32) @ vectors.T.astype(np.int32))


@cache
def multiply_by_torch() -> Multiply | None:
    """Return torch's product of bytes, which uses all cores; None where it is missing, slow or wrong."""
    if find_spec("torch") is None:
        return None
    import torch

    def multiply(queries: CodeValues, vectors: CodeValues) -> Products:
        product = room("products", (len(queries), len(vectors)), np.int32)
        # A copy: of one query that is a view, as in values[None], it makes nonsense without a word.
        torch._int_mm(torch.from_numpy(queries.copy()), torch.from_numpy(vectors).T, out=torch.from_numpy(product))
        return product

    extremes = np.resize(np.array([127, -127, 127, 127, -128], dtype=np.int8), (3, 1024))
    try:
        right = np.array_equal(multiply(extremes, extremes[:2]), multiply_by_numpy(extremes, extremes[:2]))
    except (AttributeError, RuntimeError):  # a private function: another release may have none, or take other things
        return None
    return multiply if right and torch.backends.mkldnn.is_available() else None
