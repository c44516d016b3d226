"""Where weight files are on this machine, without network access."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path

from bindsearch.errors import MissingWeights
from bindsearch.spaces.catalogue import SpaceWeights, WeightFile, find_weights

OFFLINE = ("BINDSEARCH_OFFLINE", "HF_HUB_OFFLINE")
"""Environment variables that forbid network access."""


def locate(weights: SpaceWeights, file: WeightFile) -> Path | None:
    """Return the path of a weight file, in the folder of the space or in the hub's cache; None if it is in neither."""
    for name in filter(None, (file.name, file.alternative)):
        if (own := weights.folder / name).exists():
            return own
    return _cached(file) if file.repository else None


def _cached(file: WeightFile) -> Path | None:
    try:
        from_cache = import_module("huggingface_hub").try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    paths = (from_cache(file.repository, name) for name in filter(None, (file.name, file.alternative)))
    return next((Path(path) for path in paths if isinstance(path, str)), None)


def require(space: str, name: str) -> Path:
    """Return the path of a weight file of a space. Raises `MissingWeights`, which says how to get it."""
    weights = find_weights(space)
    file = next(file for file in weights.files if file.name == name)
    path = locate(weights, file)
    if path is None:
        raise missing_weights(weights, file)
    return path


def missing_weights(weights: SpaceWeights, file: WeightFile, *, why: str = "") -> MissingWeights:
    """Return the error for a missing file: its size, how to fetch it, and where to put it by hand."""
    size = f" ({format_bytes(file.approximate_size)})" if file.approximate_size else ""
    return MissingWeights(
        f"{weights.space} needs {file.name}{size}, which is not on this machine{why}: "
        f"`bindsearch spaces get {weights.space}` fetches it, or put it at {display_path(weights.folder / file.name)}; "
        f"it comes from {file.origin}"
    )


def display_path(path: Path) -> str:
    """Return a path with ~ for the home folder."""
    home = Path.home()
    return f"~{os.sep}{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def format_bytes(size: int) -> str:
    """Return a size with its unit."""
    for unit, per in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= per:
            return f"{size / per:.3g} {unit}"
    return f"{size} bytes"


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in OFFLINE)
