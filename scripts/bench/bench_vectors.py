"""Synthetic vectors for benchmarks, like those of a space whose modalities were each aligned with images.

Segments of one class lie near each other, and classes near related classes: 4,000 clusters in 64 latent dimensions of
falling weight, rotated into the dimensions of the space, with a little noise. As in trained spaces, all vectors of a
modality share a direction (the modality gap), and a few dimensions are much larger than the rest. Half of the queries
come from the same modality (held-out segments), half from another: these share the latent meaning, attenuated and
noisy, but lie around another mean, off the distribution of the indexed vectors. Graphs and IVF lists miss most there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

CLUSTERS = 4_000
LATENT = 64
BATCH_ROWS = 1 << 15


class Space:
    """Draws vectors of two modalities."""

    def __init__(self, dim: int, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim = dim
        self._weights = np.arange(1, LATENT + 1) ** -0.5
        self._centres = rng.standard_normal((CLUSTERS, LATENT)) * self._weights
        rotation = np.linalg.qr(rng.standard_normal((dim, LATENT)))[0].T
        self._rotation = (rotation / np.linalg.norm(self._weights)).astype(np.float32)
        self._means = 0.6 * _unit(rng.standard_normal((2, dim)).astype(np.float32))
        self._means[:, :2] += 0.4  # two dimensions that are large in every vector

    def segments(self, count: int, *, seed: int) -> Vectors:
        """Draw vectors to be indexed."""
        rng = np.random.default_rng(seed)
        drawn = np.empty((count, self.dim), dtype=np.float32)
        for start in range(0, count, BATCH_ROWS):
            part = drawn[start : start + BATCH_ROWS]
            part[:] = _unit(self._means[0] + self._latent_meaning(rng, len(part)) + self._noise(rng, len(part), 0.25))
        return drawn

    def queries(self, count: int, *, seed: int) -> Vectors:
        """Draw queries: the first half of the segments' modality, the rest of the other."""
        rng = np.random.default_rng(seed)
        same, other = self.segments(count - count // 2, seed=seed + 1), count // 2
        other_modality = self._means[1] + 0.5 * self._latent_meaning(rng, other) + self._noise(rng, other, 0.4)
        return np.concatenate([same, _unit(other_modality)])

    def _latent_meaning(self, rng: np.random.Generator, count: int) -> Vectors:
        around = 0.35 * rng.standard_normal((count, LATENT)) * self._weights
        latent = self._centres[rng.integers(0, CLUSTERS, count)] + around
        return latent.astype(np.float32) @ self._rotation

    def _noise(self, rng: np.random.Generator, count: int, length: float) -> Vectors:
        noise = rng.standard_normal((count, self.dim), dtype=np.float32)
        return noise * np.float32(length / np.sqrt(self.dim))


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
