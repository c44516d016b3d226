"""Unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bindsearch.types import Modality, Vectors

if TYPE_CHECKING:
    pass


def unit(vectors: Any) -> Vectors:
    """Scale float vectors to unit length, in float32. *Shape:* (n, dim)."""
    wide = np.asarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
    scaled: Vectors = (wide / np.maximum(norms, 1e-30)[:, None]).astype(np.float32)
    return scaled


def mean_vector(vectors: Vectors, modalities: Sequence[Modality]) -> Vectors:
    """Return the unit mean of a file's vectors; what is seen and what is heard of it count the same. *Shape:* (dim,)"""
    kinds = np.array([str(modality) for modality in modalities])
    parts = np.stack([vectors[kinds == kind].mean(axis=0) for kind in sorted(set(kinds.tolist()))])
    mean: Vectors = unit(unit(parts).mean(axis=0, keepdims=True))[0]
    return mean
