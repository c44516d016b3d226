"""Which index for how many vectors: a table made from what was measured, in docs/benchmarks.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec

from .gpu.devices import devices

CODES_PER_SECOND = 15e9
"""Bytes of codes that an exact search looks at in a second: half of what two busy cores did."""
FLOATS_PER_SECOND = 20e9
"""Bytes of vectors, where neither faiss nor torch is there to multiply bytes."""
PATIENCE = 0.05
"""Seconds that an exact search may take, before an approximate one is chosen."""
CELL_BYTES = 24
"""Of a row in cells, beside a bit a dimension."""
LINK_BYTES = 140
"""Of a row in a graph, beside six bits a dimension."""
ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """An index, and why it is the one."""

    kind: str
    why: str


def choose(
    count: int,
    dim: int,
    *,
    recall: float = 0.99,
    memory: int | None = None,
    device: str = "auto",
    has_faiss: bool | None = None,
    gpu_bytes: int | None = None,
) -> Choice:
    """Choose for a number of vectors: exact while that takes no longer than `PATIENCE` and its codes fit.

    A card is taken where it is asked for, and by itself only where everything must be found and the processor takes
    too long: cells on the processor are quicker than copying all vectors to a card for one question. Whether there is
    faiss, and how much free memory a card has, is looked up unless it is told.
    """
    quick = find_spec("faiss") is not None if has_faiss is None else has_faiss
    choice = _on_processor(count, dim, recall=recall, memory=memory, has_faiss=quick)
    slow = choice.kind == "exact" and exact_seconds(count, dim, codes=quick) > PATIENCE
    if device == "cpu" or not count or (device == "auto" and not slow):
        return choice
    card, free = _card() if gpu_bytes is None else ("torch", gpu_bytes)
    needed = 2 * dim * count
    if needed <= free:
        return Choice(card, "the GPU was asked for" if device == "cuda" else f"{choice.why}; the GPU is faster")
    if card == "faiss-gpu" and device == "cuda" and recall < 1.0 and count * (dim // 8 + ID_BYTES) <= free:
        return Choice("faiss-gpu-pq", f"the GPU was asked for; of {_mb(needed)} of vectors it holds codes")
    if device == "auto":
        return choice
    lack = f"has {_mb(free)} free of the {_mb(needed)} that it takes" if free else "is not there"
    return replace(choice, why=f"the GPU that was asked for {lack}; {choice.why}")


def _card() -> tuple[str, float]:
    """Return the index for the cards that are here, and their free memory: faiss uses all of them, torch one."""
    here = devices()
    if here.faiss_runs:
        return "faiss-gpu", sum(gpu.free for gpu in here.gpus) if here.gpus else math.inf
    return "torch", max((gpu.free for gpu in here.gpus), default=0)


def _on_processor(count: int, dim: int, *, recall: float, memory: int | None, has_faiss: bool) -> Choice:
    seconds = exact_seconds(count, dim, codes=has_faiss)
    needed = count * memory_per_segment("exact", dim, codes=has_faiss)
    told = f"an exact search takes about {1000 * seconds:.0f} ms"
    fits = memory is None or needed <= memory
    if not fits:
        assert memory is not None
        told += f" in {_mb(needed)} of memory, of which it may have {_mb(memory)}"
    if seconds <= PATIENCE and fits:
        return Choice("exact", told)
    if recall >= 1.0:
        return Choice("exact", f"everything must be found; {told}")
    if not has_faiss:
        return Choice("exact", f"{told}; with faiss (pip install 'bindsearch[faiss]') an approximate one needs less")
    needed = count * memory_per_segment("ivf", dim)
    if memory is not None and needed > memory:
        told += f"; even cells take {_mb(needed)}, so the disk will be read"
    return Choice("ivf", told)


def exact_seconds(count: int, dim: int, *, codes: bool) -> float:
    """Estimate what an exact search for one query takes."""
    return count * dim / CODES_PER_SECOND if codes else 4 * count * dim / FLOATS_PER_SECOND


def bytes_per_segment(kind: str, dim: int) -> int:
    """Return what a segment takes on disk: vector, codes, id, and cells if any."""
    return 5 * dim + ID_BYTES + {"ivf": _cell(dim), "hnsw": _knot(dim)}.get(kind, 0)


def memory_per_segment(kind: str, dim: int, *, codes: bool = True) -> int:
    """Return what of a segment has to be in memory for steady speed.

    For an exact search its codes twice, on disk's pages and as faiss holds them, or its vector where there is no
    faiss; for cells its bits (four times as much where one a dimension told too little); for a graph its links and six
    bits a dimension. All know its id. Vectors and codes that a search in cells reads stay on disk.
    """
    if kind in ("ivf", "hnsw"):
        return (_cell(dim) if kind == "ivf" else _knot(dim)) + ID_BYTES
    return (2 if codes else 4) * dim + ID_BYTES


def _cell(dim: int) -> int:
    return dim // 8 + CELL_BYTES


def _knot(dim: int) -> int:
    return 3 * dim // 4 + LINK_BYTES


def _mb(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
