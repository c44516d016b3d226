"""Vectors of fixed texts, cached on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from bindsearch.core.files import replacing
from bindsearch.errors import BindsearchError
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors


def cached_text_vectors(texts: Sequence[str], space: Callable[[], Space], name: Path, *, dim: int) -> Vectors:
    """Return the vectors of fixed texts, from the cache file `name` if it is valid, else computed and written there.

    *Shape:* (len(texts), dim); (0, dim) if the space has no texts or its weights are missing.
    """
    folder, stem = name.parent, f"{name.name}-{hashlib.sha256('|'.join(texts).encode()).hexdigest()[:8]}"
    with suppress(OSError, ValueError):
        cached: Vectors = np.load(folder / f"{stem}.npy")
        if cached.ndim == 2 and cached.shape[1] == dim and cached.dtype == np.float32:
            return cached
    try:
        vectors = _embed(texts, space(), dim)
    except BindsearchError:  # for example, the weights are missing: text queries do not work here yet
        return np.empty((0, dim), dtype=np.float32)
    with suppress(OSError), replacing(folder / f"{stem}.npy", shared=True) as draft, draft.open("wb") as out:
        np.save(out, vectors)
    return vectors


def _embed(texts: Sequence[str], space: Space, dim: int) -> Vectors:
    if Modality.TEXT not in space.spec.modalities:
        return np.empty((0, dim), dtype=np.float32)
    return space.embed(texts, modality="text")
