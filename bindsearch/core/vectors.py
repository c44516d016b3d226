"""Unit vectors and their means."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bindsearch.types import Modality, Vectors


def unit(vectors: Any) -> Vectors:
    """Scale float vectors to unit length, in float32. *Shape:* (n, dim)."""
    wide = np.asarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide, dtype=np.float64))
    scaled: Vectors = (wide / np.maximum(norms, 1e-30)[:, None]).astype(np.float32)
    return scaled


def mean_vector(vectors: Vectors, modalities: Sequence[Modality]) -> Vectors:
    """Return the unit mean of a file's vectors; each modality has the same weight. *Shape:* (dim,)"""
    names = np.array([str(modality) for modality in modalities])
    means = np.stack([vectors[names == name].mean(axis=0) for name in sorted(set(names.tolist()))])
    mean: Vectors = unit(unit(means).mean(axis=0, keepdims=True))[0]
    return mean
