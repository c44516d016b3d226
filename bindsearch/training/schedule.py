"""The learning rate schedule."""

from __future__ import annotations

import math


def cosine(progress: float, *, warmup: float = 0.02, floor: float = 0.01) -> float:
    """Return the share of the full learning rate at `progress` from 0 to 1: linear warm-up, then cosine decay."""
    if progress < warmup:
        return max(progress, 1e-4) / warmup
    done = min(1.0, (progress - warmup) / (1 - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
