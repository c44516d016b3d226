"""Vectors for measuring indexes, made like those of a space that was bound through images.

Segments of one kind of thing lie near each other, kinds near related kinds: 4,000 clusters in 64 latent dimensions of
falling weight, turned into the space's dimensions, with a little noise. As in trained spaces, all vectors of a modality
share a direction (the modality gap), and a few dimensions are much larger than the rest. Queries come half from the
same modality (held-out segments) and half from another: these share the latent meaning, attenuated and noisy, but lie
around another mean, off the distribution of what is indexed. Graphs and cells lose most there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

CLUSTERS = 4_000
LATENT = 64
STEP = 1 << 15


class Space:
    """Draws vectors of two modalities."""

    def __init__(self, dim: int, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.dim = dim
        self._weights = np.arange(1, LATENT + 1) ** -0.5
        self._centres = rng.standard_normal((CLUSTERS, LATENT)) * self._weights
        turn = np.linalg.qr(rng.standard_normal((dim, LATENT)))[0].T
        self._turn = (turn / np.linalg.norm(self._weights)).astype(np.float32)
        self._means = 0.6 * _unit(rng.standard_normal((2, dim)).astype(np.float32))
        self._means[:, :2] += 0.4  # dimensions in which everything is large

    def segments(self, count: int, *, seed: int) -> Vectors:
        """Draw what is indexed."""
        rng = np.random.default_rng(seed)
        drawn = np.empty((count, self.dim), dtype=np.float32)
        for start in range(0, count, STEP):
            part = drawn[start : start + STEP]
            part[:] = _unit(self._means[0] + self._meant(rng, len(part)) + self._noise(rng, len(part), 0.25))
        return drawn

    def queries(self, count: int, *, seed: int) -> Vectors:
        """Draw queries: the first half of the segments' modality, the rest of the other."""
        rng = np.random.default_rng(seed)
        same, other = self.segments(count - count // 2, seed=seed + 1), count // 2
        meant = self._means[1] + 0.5 * self._meant(rng, other) + self._noise(rng, other, 0.4)
        return np.concatenate([same, _unit(meant)])

    def _meant(self, rng: np.random.Generator, count: int) -> Vectors:
        around = 0.35 * rng.standard_normal((count, LATENT)) * self._weights
        latent = self._centres[rng.integers(0, CLUSTERS, count)] + around
        return latent.astype(np.float32) @ self._turn

    def _noise(self, rng: np.random.Generator, count: int, length: float) -> Vectors:
        noise = rng.standard_normal((count, self.dim), dtype=np.float32)
        return noise * np.float32(length / np.sqrt(self.dim))


def _unit(vectors: Vectors) -> Vectors:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
