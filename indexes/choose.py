"""Which index for how many vectors: a table made from what was measured, in docs/benchmarks.md."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

CODES_PER_SECOND = 15e9
"""Bytes of codes that an exact search looks at in a second: half of what two busy cores did."""
FLOATS_PER_SECOND = 20e9
"""Bytes of vectors, where neither faiss nor torch is there to multiply bytes."""
PATIENCE = 0.05
"""Seconds that an exact search may take, before an approximate one is chosen."""
CELL_BYTES = 24
"""Of a row in cells, beside a bit a dimension."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An index, and why it is the one."""

    kind: str
    why: str


def choose(count: int, dim: int, *, recall: float = 0.99, has_faiss: bool | None = None) -> Choice:
    """Choose for a number of vectors: exact while that takes no longer than `PATIENCE`, or if all must be found."""
    quick = find_spec("faiss") is not None if has_faiss is None else has_faiss
    seconds = exact_seconds(count, dim, codes=quick)
    told = f"an exact search takes about {1000 * seconds:.0f} ms"
    if seconds <= PATIENCE:
        return Choice("exact", told)
    if recall >= 1.0:
        return Choice("exact", f"everything must be found; {told}")
    if not quick:
        return Choice("exact", f"{told}; with faiss (pip install 'bindsearch[faiss]') an approximate one is faster")
    return Choice("ivf", told)


def exact_seconds(count: int, dim: int, *, codes: bool) -> float:
    """Estimate what an exact search for one query takes."""
    return count * dim / CODES_PER_SECOND if codes else 4 * count * dim / FLOATS_PER_SECOND


def bytes_per_segment(kind: str, dim: int) -> int:
    """Give what a segment takes on disk: vector, codes, id, and cells if any."""
    return 5 * dim + 8 + (dim // 8 + CELL_BYTES if kind == "ivf" else 0)
