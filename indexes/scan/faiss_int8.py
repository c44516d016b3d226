"""Codes in pieces that FAISS scans, one thread a piece: for few queries nothing reads memory faster.

FAISS multiplies bytes with bytes when vectors are stored as signed bytes and a query holds whole numbers.
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

from .int8_codes import Coder, Codes, CodeValues, Questions
from .shortlist import RowSelection, Shortlist
from .threads import each

PIECE_ROWS = 1 << 16
SPARE = 32
"""More than is wanted is asked of each piece, so that it seldom has to be asked again."""
_SIGN = np.uint8(128)
_LOWEST = -1e30
_PAGE = mmap.PAGESIZE
_HUGE_PAGE = 1 << 21
_HUGEPAGE, _COLLAPSE = 14, 25
"""What Linux is advised: that huge pages are welcome, and to make them now."""


class BytePieces:
    """A copy of codes as FAISS holds them."""

    def __init__(self, values: CodeValues) -> None:
        self.starts = range(0, len(values), PIECE_ROWS)
        self._pieces = [_piece(values[start : start + PIECE_ROWS]) for start in self.starts]

    def __len__(self) -> int:
        return len(self._pieces)

    def best(self, number: int, query: CodeValues, many: int, mask: Mask | None) -> tuple[Scores, Ids]:
        """Return the largest products of a piece with a query, falling, and their rows. For threads of `each`."""
        import faiss

        piece, start = self._pieces[number], self.starts[number]
        parameters: Any = faiss.SearchParameters()
        if mask is not None:
            bitmap: Any = faiss.IDSelectorBitmap
            parameters.sel = bitmap(np.packbits(mask[start : start + piece.ntotal], bitorder="little"))
        products, rows = piece.search(query[None].astype(np.float32), min(many, piece.ntotal), params=parameters)
        found = rows[0] >= 0
        return products[0, found], rows[0, found] + start


def scan_pieces(part: RowSelection, pieces: BytePieces, coder: Coder, asked: Questions, shortlist: Shortlist) -> None:
    """Offer, for each query, what of all pieces is within the bound of the best."""
    codes = part.block.codes
    assert codes is not None
    margin = coder.margin(codes, asked)
    for place, query in enumerate(asked.values):
        step, around = float(asked.steps[place]), float(margin[place])
        floor = max(_LOWEST, (float(shortlist.floors[place]) - around) / step)
        window = 2 * around / step + 1
        products, rows = _reaching(pieces, query, shortlist.wanted, part.mask, floor, window)
        shortlist.offer(np.full(len(rows), place), rows, products * np.float32(step), margin)


def _reaching(
    pieces: BytePieces, query: CodeValues, wanted: int, mask: Mask | None, floor: float, window: float
) -> tuple[Scores, Ids]:
    """Return all products that reach a floor and are no further than a window below the `wanted`-th best."""
    many = wanted + SPARE
    found = _scanned(pieces, range(len(pieces)), query, many, mask)
    together = np.sort(np.concatenate([products for products, _ in found]))
    if len(together) >= wanted:
        floor = max(floor, float(together[-wanted]) - window)
    while again := [number for number, (products, _) in enumerate(found) if _may_lack(products, many, floor)]:
        many *= 4
        for number, given in zip(again, _scanned(pieces, again, query, many, mask), strict=True):
            found[number] = given
    products, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    reached = products >= floor
    return products[reached], rows[reached]


def _scanned(
    pieces: BytePieces, numbers: Sequence[int], query: CodeValues, many: int, mask: Mask | None
) -> list[tuple[Scores, Ids]]:
    return list(each(lambda number: pieces.best(number, query, many, mask), numbers))


def _may_lack(products: Scores, many: int, floor: float) -> bool:
    """Whether a piece was cut off before the floor."""
    return len(products) == many and products[-1] >= floor and many < PIECE_ROWS


def _piece(values: CodeValues) -> Any:
    import faiss

    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    piece: Any = faiss.IndexScalarQuantizer(values.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
    piece.codes.resize(values.size)
    held = faiss.rev_swig_ptr(piece.codes.data(), values.size)
    _in_huge_pages(held)
    np.bitwise_xor(values.reshape(-1).view(np.uint8), _SIGN, out=held)
    piece.ntotal, piece.is_trained = len(values), True
    return piece


def _in_huge_pages(held: NDArray[np.uint8]) -> None:
    """Have memory put into huge pages, where the system does that: scans were a fifth faster."""
    madvise = _madvise()
    if madvise is None:
        return
    start = -(-held.ctypes.data // _PAGE) * _PAGE
    size = (held.ctypes.data + held.nbytes - start) // _PAGE * _PAGE
    if size >= _HUGE_PAGE:
        for advice in (_HUGEPAGE, _COLLAPSE):
            madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), advice)


@cache
def _madvise() -> Any:
    """Return the system's call; None where there is none."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None).madvise
    except (AttributeError, OSError):
        return None


@cache
def faiss_scans_bytes() -> bool:
    """Whether the faiss at hand, if any, multiplies bytes exactly in the way that is used here."""
    if find_spec("faiss") is None:
        return False
    drawn = np.random.default_rng(0).integers(-127, 128, (66, 256), dtype=np.int8)
    drawn[0], drawn[1], drawn[65] = 127, -127, np.resize([127, -127, -127, 127], 256)
    exact = np.sort(drawn[:65].astype(np.int64) @ drawn[65].astype(np.int64))[::-1]
    try:
        [(told, _)] = _scanned(BytePieces(drawn[:65]), [0], drawn[65], 65, None)
    except (AttributeError, RuntimeError, TypeError, ValueError):
        return False  # another release, with other names
    return bool(np.array_equal(told, exact))


def room_for(codes: Codes) -> bool:
    """Whether a copy of codes leaves most of the memory that is available, where the system says how much is."""
    try:
        told = Path("/proc/meminfo").read_text()
    except OSError:
        return True
    available = re.search(r"^MemAvailable:\s+(\d+) kB", told, flags=re.MULTILINE)
    return available is None or 4 * codes.values.nbytes < 1024 * int(available[1])
