"""Checkpoints of a training run, written atomically."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bindsearch.core.files import replacing


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the previous one stays valid until this one is complete on disk."""
    import torch

    with replacing(path) as draft:
        torch.save(state, draft)


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none yet. Raises `OSError` if it cannot be read."""
    import torch

    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
