"""Scans of codes, by whatever multiplies bytes fast on this machine, and the choice among them."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Scores, Vectors

from .faiss_int8 import FaissCodes, faiss_multiplies_bytes, has_memory_for_copy, scan_with_faiss
from .float_scan import scan_floats
from .int8_codes import CodedQueries, Codes, CodeValues, Int8Coder
from .rows import RowSelection
from .score_table import FOLD_SCORES, select_candidates
from .shortlist import Shortlist
from .threads import THREADS, map_in_threads, scratch_array

Products = NDArray[np.int32]
Multiply = Callable[[CodeValues, CodeValues], Products]
"""Queries (b, dim) and vectors (c, dim) -> exact products (b, c), in memory that the caller may write to until the next
call in the same thread."""

MIN_CODED_ROWS = 1 << 15
"""Smaller blocks are scanned in float32: codes would not pay."""
CODED_SCORES = 1 << 22
"""Products that a thread computes at a time, at most."""
PIECES_PER_THREAD = 2
"""With several pieces for each thread, the others wait less for a thread that is late."""
MIN_PIECE_ROWS = 1 << 13
"""Fewer rows are not worth a piece of their own."""
MAX_SINGLE_QUERIES = 4
"""Up to this many queries are faster one by one, by FAISS, than as a matrix product."""
SECONDS_TO_IMPORT = {"faiss": 0.3, "torch": 1.5}
"""What importing a package costs. It is imported only once scans in float32 have taken as long."""
_INT32 = np.iinfo(np.int32)


class ScanMethod(StrEnum):
    """How large blocks are scanned. Answers do not depend on it."""

    AUTO = "auto"
    FLOATS = "floats"
    FAISS = "faiss"
    TORCH = "torch"
    NUMPY = "numpy"
    """NumPy's product of bytes, which is slow."""


class ScanStrategy:
    """Chooses the scan for each block: codes where bytes are multiplied fast, float32 otherwise."""

    def __init__(
        self, coder: Int8Coder, *, method: ScanMethod = ScanMethod.AUTO, min_coded_rows: int = MIN_CODED_ROWS
    ) -> None:
        self.coder = coder
        self._method = method
        self._min_coded_rows = min_coded_rows
        self._float_seconds = 0.0
        """The time spent in scans of floats so far."""
        self._encoding = threading.Lock()
        self._faiss_copies: WeakKeyDictionary[Codes, FaissCodes] = WeakKeyDictionary()

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Scan a part, as `Scan` says."""
        large = len(part.block.ids) >= self._min_coded_rows
        method = self._method_for(len(queries)) if large else ScanMethod.FLOATS
        if method is ScanMethod.FLOATS:
            start = time.perf_counter()
            scan_floats(part, queries, shortlist)
            self._float_seconds += time.perf_counter() - start
            return
        with self._encoding:
            codes = part.block.encode(self.coder)
            faiss_copy = self._faiss_copy(codes) if method is ScanMethod.FAISS else None
        coded = self.coder.encode_queries(queries, self.coder.rotate(queries))
        if faiss_copy is not None:
            scan_with_faiss(part, faiss_copy, self.coder, coded, shortlist)
        else:
            scan_codes(part, self.coder, coded, shortlist, _multiply_by(method))

    def _method_for(self, queries: int) -> ScanMethod:
        if self._method is not ScanMethod.AUTO:
            return self._method
        if queries <= MAX_SINGLE_QUERIES and self._may_import("faiss") and faiss_multiplies_bytes():
            return ScanMethod.FAISS
        if self._may_import("torch") and multiply_by_torch() is not None:
            return ScanMethod.TORCH
        return ScanMethod.FLOATS

    def _may_import(self, package: str) -> bool:
        return package in sys.modules or self._float_seconds > SECONDS_TO_IMPORT[package]

    def _faiss_copy(self, codes: Codes) -> FaissCodes | None:
        if codes not in self._faiss_copies and (self._method is ScanMethod.FAISS or has_memory_for_copy(codes)):
            self._faiss_copies[codes] = FaissCodes(codes.values)
        return self._faiss_copies.get(codes)


def _multiply_by(method: ScanMethod) -> Multiply:
    return (multiply_by_torch() if method is not ScanMethod.NUMPY else None) or multiply_by_numpy


def scan_codes(
    part: RowSelection, coder: Int8Coder, queries: CodedQueries, shortlist: Shortlist, multiply: Multiply
) -> None:
    """Multiply codes, and add what reaches the floors within the bound on the error of coding."""
    codes = part.block.codes
    assert codes is not None
    error_bounds = coder.error_bound(codes, queries)
    caps = None if part.mask is None else np.where(part.mask, _INT32.max, _INT32.min).astype(np.int32)

    def scan(piece: slice) -> tuple[Ids, Ids, Scores]:
        products = multiply(queries.values, codes.values[piece])
        if caps is not None:
            np.minimum(products, caps[piece], out=products)
        query_index, rows = select_candidates(products, error_bounds, shortlist, queries.steps)
        scores = products[query_index, rows].astype(np.float32) * queries.steps[query_index]
        return query_index, rows + piece.start, scores

    for found in map_in_threads(scan, _pieces(len(codes.values), len(queries.values))):
        shortlist.add(*found, error_bounds)


def _pieces(rows: int, queries: int) -> Iterator[slice]:
    """Cut rows into pieces for the threads, each a multiple of `FOLD_SCORES` rows, and one for the last few rows."""
    most = min(CODED_SCORES // queries, rows // (PIECES_PER_THREAD * THREADS))
    size = max(FOLD_SCORES, MIN_PIECE_ROWS, most) // FOLD_SCORES * FOLD_SCORES
    folding = rows // FOLD_SCORES * FOLD_SCORES
    for start in range(0, folding, size):
        yield slice(start, min(start + size, folding))
    if folding < rows:
        yield slice(folding, rows)


def multiply_by_numpy(queries: CodeValues, vectors: CodeValues) -> Products:
    """Multiply bytes slowly, on any machine."""
    return np.ascontiguousarray(queries.astype(np.int32) @ vectors.T.astype(np.int32))


@cache
def multiply_by_torch() -> Multiply | None:
    """Return torch's product of bytes; None if torch is missing, or its product is slow or wrong here."""
    if find_spec("torch") is None:
        return None
    import torch

    def multiply(queries: CodeValues, vectors: CodeValues) -> Products:
        product = scratch_array("products", (len(queries), len(vectors)), np.int32)
        # A copy: given one query that is a view without a step between rows, as values[None] is, torch returns
        # nonsense without an error.
        torch._int_mm(torch.from_numpy(queries.copy()), torch.from_numpy(vectors).T, out=torch.from_numpy(product))
        return product

    extremes = np.resize(np.array([127, -127, 127, 127, -128], dtype=np.int8), (3, 1024))
    try:
        right = np.array_equal(multiply(extremes, extremes[:2]), multiply_by_numpy(extremes, extremes[:2]))
    except (AttributeError, RuntimeError):  # a private function: another release may lack it, or take other arguments
        return None
    return multiply if right and torch.backends.mkldnn.is_available() else None
