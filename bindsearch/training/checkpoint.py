"""What training would lose if it were killed now: written often, and always whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def save(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one before it stays in force until this one is complete on disk."""
    import torch

    fresh = path.with_suffix(".new")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def load(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or None where there is none yet. Raises `OSError` where it cannot be read."""
    import torch

    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
