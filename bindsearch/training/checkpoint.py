"""Checkpoints of a training run, written atomically."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the previous one stays valid until this one is complete on disk."""
    import torch

    unfinished = path.with_suffix(".new")
    with unfinished.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none yet. Raises `OSError` if it cannot be read."""
    import torch

    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
