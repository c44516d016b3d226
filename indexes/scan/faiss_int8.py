"""Codes in pieces that FAISS scans, one thread a piece: for few queries nothing reads memory faster.

FAISS multiplies bytes with bytes if vectors are stored as signed bytes and the query holds whole numbers.
"""

from __future__ import annotations

import ctypes
import mmap
import re
import sys
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Mask, Scores

from .int8_codes import CodedQueries, Codes, CodeValues, Int8Coder
from .rows import RowSelection
from .shortlist import Shortlist
from .threads import map_in_threads

PIECE_ROWS = 1 << 16
EXTRA_RESULTS = 32
"""Results that each piece returns beyond those wanted, so that it seldom has to be searched again."""
_SIGN_BIT = np.uint8(128)
_LOWEST_PRODUCT = -1e30
_PAGE_BYTES = mmap.PAGESIZE
_HUGE_PAGE_BYTES = 1 << 21
_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25
"""Advice for Linux: huge pages are welcome here; make them now."""


class FaissCodes:
    """A copy of codes as FAISS stores them."""

    def __init__(self, values: CodeValues) -> None:
        self.starts = range(0, len(values), PIECE_ROWS)
        self._pieces = [_faiss_piece(values[start : start + PIECE_ROWS]) for start in self.starts]

    def __len__(self) -> int:
        return len(self._pieces)

    def search(self, number: int, query: CodeValues, count: int, mask: Mask | None) -> tuple[Scores, Ids]:
        """Return the largest products of a query with a piece, descending, and their rows.

        For threads of `map_in_threads` only, where FAISS starts no threads of its own.
        """
        import faiss

        piece, start = self._pieces[number], self.starts[number]
        parameters: Any = faiss.SearchParameters()
        if mask is not None:
            bitmap: Any = faiss.IDSelectorBitmap
            parameters.sel = bitmap(np.packbits(mask[start : start + piece.ntotal], bitorder="little"))
        products, rows = piece.search(query[None].astype(np.float32), min(count, piece.ntotal), params=parameters)
        found = rows[0] >= 0
        return products[0, found], rows[0, found] + start


def scan_with_faiss(
    part: RowSelection, pieces: FaissCodes, coder: Int8Coder, queries: CodedQueries, shortlist: Shortlist
) -> None:
    """Add, for each query, all rows whose product is within the error bound of the best."""
    codes = part.block.codes
    assert codes is not None
    error_bounds = coder.error_bound(codes, queries)
    for index, query in enumerate(queries.values):
        step, error = float(queries.steps[index]), float(error_bounds[index])
        floor = max(_LOWEST_PRODUCT, (float(shortlist.floors[index]) - error) / step)
        window = 2 * error / step + 1
        products, rows = _products_above(pieces, query, shortlist.wanted, part.mask, floor, window)
        shortlist.add(np.full(len(rows), index), rows, products * np.float32(step), error_bounds)


def _products_above(
    pieces: FaissCodes, query: CodeValues, wanted: int, mask: Mask | None, floor: float, window: float
) -> tuple[Scores, Ids]:
    """Return all products that reach a floor and are at most a window below the `wanted`-th best.

    A piece whose results end above the floor may hold more of them: it is searched again for more results.
    """
    count = wanted + EXTRA_RESULTS
    found = _search_pieces(pieces, range(len(pieces)), query, count, mask)
    together = np.sort(np.concatenate([products for products, _ in found]))
    if len(together) >= wanted:
        floor = max(floor, float(together[-wanted]) - window)
    while again := [number for number, (products, _) in enumerate(found) if _is_cut_off(products, count, floor)]:
        count *= 4
        for number, result in zip(again, _search_pieces(pieces, again, query, count, mask), strict=True):
            found[number] = result
    products, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    reached = products >= floor
    return products[reached], rows[reached]


def _search_pieces(
    pieces: FaissCodes, numbers: Sequence[int], query: CodeValues, count: int, mask: Mask | None
) -> list[tuple[Scores, Ids]]:
    return list(map_in_threads(lambda number: pieces.search(number, query, count, mask), numbers))


def _is_cut_off(products: Scores, count: int, floor: float) -> bool:
    """Whether the results of a piece ended before the floor was reached."""
    return len(products) == count and products[-1] >= floor and count < PIECE_ROWS


def _faiss_piece(values: CodeValues) -> Any:
    import faiss

    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    piece: Any = faiss.IndexScalarQuantizer(values.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    piece.codes.resize(values.size)
    memory = faiss.rev_swig_ptr(piece.codes.data(), values.size)
    _move_to_huge_pages(memory)
    np.bitwise_xor(values.reshape(-1).view(np.uint8), _SIGN_BIT, out=memory)
    piece.ntotal, piece.is_trained = len(values), True
    return piece


def _move_to_huge_pages(memory: NDArray[np.uint8]) -> None:
    """Ask for huge pages, where the system has them: scans were a fifth faster."""
    madvise = _madvise()
    if madvise is None:
        return
    start = -(-memory.ctypes.data // _PAGE_BYTES) * _PAGE_BYTES
    size = (memory.ctypes.data + memory.nbytes - start) // _PAGE_BYTES * _PAGE_BYTES
    if size >= _HUGE_PAGE_BYTES:
        for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)


@cache
def _madvise() -> Any:
    """Return the system's `madvise`, or None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None


@cache
def faiss_multiplies_bytes() -> bool:
    """Whether faiss is installed and its products of bytes, as they are used here, are exact."""
    if find_spec("faiss") is None:
        return False
    values = np.random.default_rng(0).integers(-127, 128, (66, 256), dtype=np.int8)
    values[0], values[1], values[65] = 127, -127, np.resize([127, -127, -127, 127], 256)
    exact = np.sort(values[:65].astype(np.int64) @ values[65].astype(np.int64))[::-1]
    try:
        [(products, _)] = _search_pieces(FaissCodes(values[:65]), [0], values[65], 65, None)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False  # another release, with other names
    return bool(np.array_equal(products, exact))


def has_memory_for_copy(codes: Codes) -> bool:
    """Whether a copy of codes takes less than a fourth of the available memory; true if that is unknown."""
    try:
        meminfo = Path("/proc/meminfo").read_text()
    except OSError:
        return True
    available = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo, flags=re.MULTILINE)
    return available is None or 4 * codes.values.nbytes < 1024 * int(available[1])
