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


def kept_vectors(words: Sequence[str], space: Callable[[], Space], name: Path, *, dim: int) -> Vectors:
    """Return the vectors of words, from a file called so if it is there, else write it; none where there are no
    texts.
    """
    folder, stem = name.parent, f"{name.name}-{hashlib.sha256('|'.join(words).encode()).hexdigest()[:8]}"
    with suppress(OSError, ValueError):
        kept: Vectors = np.load(folder / f"{stem}.npy")
        if kept.ndim == 2 and kept.shape[1] == dim and kept.dtype == np.float32:
            return kept
    try:
        vectors = _embedded(words, space(), dim)
    except BindsearchError:  # weights that are not at hand: nobody asks by words here, today
        return np.empty((0, dim), dtype=np.float32)
    with suppress(OSError), replacing(folder / f"{stem}.npy", shared=True) as draft, draft.open("wb") as out:
        np.save(out, vectors)
    return vectors


def _embedded(words: Sequence[str], space: Space, dim: int) -> Vectors:
    if Modality.TEXT not in space.spec.modalities:
        return np.empty((0, dim), dtype=np.float32)
    return space.embed(words, modality="text")
