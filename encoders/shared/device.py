"""Where towers run, and in what numbers: the one place that chooses device and dtype."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bindsearch.errors import UnusableSpace

from .local_cache import read_cache, write_cache

MIN_COSINE = 0.999
"""Cosine to float32 that shorter numbers must keep."""
MIN_SPEEDUP = 1.2
"""How many times as fast they must be, on a processor, to be taken."""
MIN_PARAMETERS = 20_000_000
"""Parameters. Smaller towers run in float32: there is nothing to gain."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALLOWED_DTYPES = DTYPES | {"int8": torch.int8}
"""What people may ask for. int8 is never taken unasked: what it loses depends on the weights."""
_TIMED_ROUNDS = 3


@cache
def device() -> Any:
    """Return the device: `BINDSEARCH_DEVICE`, else a GPU, if there is one. Raises `UnusableSpace` for one that is
    not.
    """
    named = os.environ.get("BINDSEARCH_DEVICE", "")
    if named:
        return _device_named(named)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device_named(name: str) -> Any:
    try:
        made = torch.device(name)
        torch.empty(1, device=made)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first = str(error).partition("\n")[0]
        raise UnusableSpace(f"BINDSEARCH_DEVICE={name}: there is no such device here ({first}); try cpu") from error
    return made


def reduced_precision(kind: str) -> Any:
    """Return the shorter dtype that a kind of device may gain by, float32 where there is none."""
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    if kind == "mps":
        return torch.float16
    return torch.bfloat16 if _has_bfloat16_instructions() else torch.float32


@cache
def _has_bfloat16_instructions() -> bool:
    """Whether this processor has instructions for it; without them bfloat16 is slower than float32."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    flags = next((line for line in told.splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def known_dtype(key: str, parameters: int, *, int8: bool = False) -> Any:
    """Return the dtype for a tower if it needs no measuring, else None: said, of a small tower, or measured before.

    A tower that cannot do `int8` runs in the shorter floats of the device where that is said.
    """
    said = os.environ.get("BINDSEARCH_DTYPE", "")
    if said:
        if said not in ALLOWED_DTYPES:
            raise UnusableSpace(f"BINDSEARCH_DTYPE={said}: there are {', '.join(ALLOWED_DTYPES)}")
        return ALLOWED_DTYPES[said] if int8 or said != "int8" else reduced_precision(device().type)
    if parameters < MIN_PARAMETERS or reduced_precision(device().type) is torch.float32:
        return torch.float32
    return DTYPES.get(str(read_cache("dtypes").get(_cache_key(key))))


def measure_dtype(key: str, run: Callable[[Any], Any], shorten: Callable[[Any], None]) -> Any:
    """Try a tower, that is in float32, in the shorter dtype; keep that if it pays and says the same. Remember it.

    `run` gives what the tower makes of a trial batch of a dtype, `shorten` turns the tower into a dtype.
    """
    short = reduced_precision(device().type)
    exact, slow = _time(lambda: run(torch.float32))
    shorten(short)
    rough, fast = _time(lambda: run(short))
    pays = device().type != "cpu" or slow > MIN_SPEEDUP * fast
    chosen = short if pays and _agrees(exact, rough) else torch.float32
    write_cache("dtypes", _cache_key(key), str(chosen).removeprefix("torch."))
    return chosen


def _agrees(exact: Any, rough: Any) -> bool:
    cosines = torch.nn.functional.cosine_similarity(exact.float(), rough.float())
    return bool(torch.isfinite(rough).all() and (cosines >= MIN_COSINE).all())


def _time(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the seconds of the fastest round, after one that does not count."""
    result, best = run(), float("inf")
    for _ in range(_TIMED_ROUNDS):
        began = time.perf_counter()
        result = run().cpu()
        best = min(best, time.perf_counter() - began)
    return result.cpu(), best


def _cache_key(key: str) -> str:
    kind = device().type
    name = torch.cuda.get_device_name() if kind == "cuda" else f"{os.cpu_count()} cores"
    return f"{key} {kind} {name} torch {torch.__version__}"
