"""Which index for how many vectors: rules from what was measured, see docs/benchmarks.md."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib.util import find_spec

from .gpu.devices import devices

CODE_BYTES_PER_SECOND = 15e9
"""How fast an exact search scans codes: half of what two busy cores reached."""
FLOAT_BYTES_PER_SECOND = 20e9
"""How fast it scans float32 vectors, where neither faiss nor torch is there to multiply bytes."""
MAX_EXACT_SECONDS = 0.05
"""If an exact search takes longer than this, an approximate index is chosen."""
IVF_ROW_BYTES = 24
"""Of a row in IVF lists, besides one bit a dimension."""
HNSW_ROW_BYTES = 140
"""Of a row in a graph, besides six bits a dimension."""
ID_BYTES = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of index, and why it was chosen."""

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
    """Choose an index for `count` vectors: exact, as long as that is fast enough and its codes fit into `memory`.

    A GPU is used if `device` is `cuda`, and by itself only where everything must be found and the CPU is too slow: IVF
    lists on the CPU are faster than copying all vectors to a GPU for one query. `has_faiss` and `gpu_bytes`, the free
    memory of the GPU, are detected unless they are given.
    """
    codes = find_spec("faiss") is not None if has_faiss is None else has_faiss
    choice = _choose_for_cpu(count, dim, recall=recall, memory=memory, has_faiss=codes)
    slow = choice.kind == "exact" and exact_seconds(count, dim, codes=codes) > MAX_EXACT_SECONDS
    if device == "cpu" or not count or (device == "auto" and not slow):
        return choice
    kind, free = _gpu_index() if gpu_bytes is None else ("torch", gpu_bytes)
    needed = 2 * dim * count
    if needed <= free:
        return Choice(kind, "the GPU was requested" if device == "cuda" else f"{choice.why}; the GPU is faster")
    if kind == "faiss-gpu" and device == "cuda" and recall < 1.0 and count * (dim // 8 + ID_BYTES) <= free:
        return Choice("faiss-gpu-pq", f"the GPU was requested; it holds codes of the {_size(needed)} of vectors")
    if device == "auto":
        return choice
    lack = f"has {_size(free)} free of the {_size(needed)} needed" if free else "is missing"
    return replace(choice, why=f"the requested GPU {lack}; {choice.why}")


def _gpu_index() -> tuple[str, float]:
    """Return the index for the GPUs of this machine, and their free memory: faiss uses all of them, torch one."""
    detected = devices()
    if detected.faiss_runs:
        return "faiss-gpu", sum(gpu.free for gpu in detected.gpus) if detected.gpus else math.inf
    return "torch", max((gpu.free for gpu in detected.gpus), default=0)


def _choose_for_cpu(count: int, dim: int, *, recall: float, memory: int | None, has_faiss: bool) -> Choice:
    seconds = exact_seconds(count, dim, codes=has_faiss)
    needed = count * memory_per_segment("exact", dim, codes=has_faiss)
    why = f"an exact search takes about {1000 * seconds:.0f} ms"
    fits = memory is None or needed <= memory
    if not fits:
        assert memory is not None
        why += f" and needs {_size(needed)} of memory, of which {_size(memory)} are allowed"
    if seconds <= MAX_EXACT_SECONDS and fits:
        return Choice("exact", why)
    if recall >= 1.0:
        return Choice("exact", f"everything must be found; {why}")
    if not has_faiss:
        return Choice("exact", f"{why}; with faiss (pip install 'bindsearch[faiss]') an approximate index needs less")
    needed = count * memory_per_segment("ivf", dim)
    if memory is not None and needed > memory:
        why += f"; even ivf needs {_size(needed)}, so searches will read the disk"
    return Choice("ivf", why)


def exact_seconds(count: int, dim: int, *, codes: bool) -> float:
    """Estimate how long an exact search takes for one query."""
    return count * dim / CODE_BYTES_PER_SECOND if codes else 4 * count * dim / FLOAT_BYTES_PER_SECOND


def bytes_per_segment(kind: str, dim: int) -> int:
    """Return what a segment takes on disk: vector, codes, id, and its share of the candidate generator."""
    return 5 * dim + ID_BYTES + {"ivf": _ivf_bytes(dim), "hnsw": _hnsw_bytes(dim)}.get(kind, 0)


def memory_per_segment(kind: str, dim: int, *, codes: bool = True) -> int:
    """Return what of a segment must be in memory for steady speed.

    Exact search needs its codes twice, as mapped pages of the file and in the copy of faiss, or its vector where there
    is no faiss. IVF lists need one bit a dimension (four where one separates rows too poorly), a graph its links and
    six bits a dimension. All need the id. The vectors and codes of candidates stay on disk.
    """
    if kind in ("ivf", "hnsw"):
        return (_ivf_bytes(dim) if kind == "ivf" else _hnsw_bytes(dim)) + ID_BYTES
    return (2 if codes else 4) * dim + ID_BYTES


def _ivf_bytes(dim: int) -> int:
    return dim // 8 + IVF_ROW_BYTES


def _hnsw_bytes(dim: int) -> int:
    return 3 * dim // 4 + HNSW_ROW_BYTES


def _size(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"
