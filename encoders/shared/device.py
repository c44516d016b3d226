"""Choose the device and the dtype of towers; nothing else does."""

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
"""Cosine to the float32 vectors that a shorter dtype must reach."""
MIN_SPEEDUP = 1.2
"""How many times as fast as float32 a shorter dtype must be on a CPU to be chosen."""
MIN_PARAMETERS = 20_000_000
"""Towers with fewer parameters run in float32, because they gain nothing."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ALLOWED_DTYPES = DTYPES | {"int8": torch.int8}
"""Values of `BINDSEARCH_DTYPE`. int8 is opt-in, because its loss of accuracy depends on the weights."""
_TIMED_ROUNDS = 3


@cache
def device() -> Any:
    """Return the device that `BINDSEARCH_DEVICE` names, else a GPU if there is one, else the CPU.

    Raises `UnusableSpace` if the named device does not exist.
    """
    name = os.environ.get("BINDSEARCH_DEVICE", "")
    if name:
        return _device_named(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _device_named(name: str) -> Any:
    try:
        named = torch.device(name)
        torch.empty(1, device=named)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise UnusableSpace(f"BINDSEARCH_DEVICE={name}: no such device on this machine ({reason}); try cpu") from error
    return named


def reduced_precision(kind: str) -> Any:
    """Return the shorter dtype that may be faster on a kind of device; float32 if there is none."""
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability() >= (8, 0) else torch.float16
    if kind == "mps":
        return torch.float16
    return torch.bfloat16 if _has_bfloat16_instructions() else torch.float32


@cache
def _has_bfloat16_instructions() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    try:
        cpu_info = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    flags = next((line for line in cpu_info.splitlines() if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def known_dtype(key: str, parameters: int, *, int8: bool = False) -> Any:
    """Return the dtype of a tower: from `BINDSEARCH_DTYPE`, by its size, or as measured before; None if unknown.

    A tower without an `int8` version runs in the device's shorter float dtype instead.
    Raises `UnusableSpace` for an unknown dtype.
    """
    name = os.environ.get("BINDSEARCH_DTYPE", "")
    if name:
        if name not in ALLOWED_DTYPES:
            raise UnusableSpace(f"BINDSEARCH_DTYPE={name}: choose one of {', '.join(ALLOWED_DTYPES)}")
        return ALLOWED_DTYPES[name] if int8 or name != "int8" else reduced_precision(device().type)
    if parameters < MIN_PARAMETERS or reduced_precision(device().type) is torch.float32:
        return torch.float32
    return DTYPES.get(str(read_cache("dtypes").get(_cache_key(key))))


def measure_dtype(key: str, run: Callable[[Any], Any], shorten: Callable[[Any], None]) -> Any:
    """Choose between float32 and the shorter dtype, which must be faster and agree; cache the choice under `key`.

    `run` returns the output for a trial batch of a dtype; `shorten` converts the tower, which starts in float32.
    """
    short = reduced_precision(device().type)
    exact, exact_seconds = _time(lambda: run(torch.float32))
    shorten(short)
    rounded, short_seconds = _time(lambda: run(short))
    is_faster = device().type != "cpu" or exact_seconds > MIN_SPEEDUP * short_seconds
    chosen = short if is_faster and _agrees(exact, rounded) else torch.float32
    write_cache("dtypes", _cache_key(key), str(chosen).removeprefix("torch."))
    return chosen


def _agrees(exact: Any, rounded: Any) -> bool:
    cosines = torch.nn.functional.cosine_similarity(exact.float(), rounded.float())
    return bool(torch.isfinite(rounded).all() and (cosines >= MIN_COSINE).all())


def _time(run: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result, and the seconds of the fastest round after a warm-up."""
    result, best = run(), float("inf")
    for _ in range(_TIMED_ROUNDS):
        start = time.perf_counter()
        result = run().cpu()
        best = min(best, time.perf_counter() - start)
    return result.cpu(), best


def _cache_key(key: str) -> str:
    kind = device().type
    name = torch.cuda.get_device_name() if kind == "cuda" else f"{os.cpu_count()} cores"
    return f"{key} {kind} {name} torch {torch.__version__}"
