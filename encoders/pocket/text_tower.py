"""The text tower of the pocket space in plain numpy: a question in words is answered without loading torch.

The same arithmetic as `pocket_towers.TextTower`, which is what is trained; tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Vectors

HEADS = 4
Weights = Mapping[str, Vectors]


class NumpyTextTower:
    """A text in the space."""

    def __init__(self, weights: Weights) -> None:
        """`weights` are named as torch names the trained tower's."""
        self._weights = weights
        self._layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))

    def __call__(self, pieces: NDArray[np.int64]) -> Vectors:
        """*Shape:* (batch, length) of numbers, 0 where nothing is, to (batch, dim), not normalised."""
        pieces = pieces[:, : max(1, int((pieces != 0).sum(axis=1).max()))]
        there = pieces != 0
        x = self._linear("widen", self._weights["table.weight"][pieces]) + self._weights["places"][: pieces.shape[1]]
        for layer in range(self._layers):
            x = self._layer(f"layers.{layer}", x, there)
        x = self._layer_norm("norm", x) * there[:, :, None]
        return self._linear("head", x.sum(axis=1) / there.sum(axis=1, keepdims=True).clip(min=1).astype(np.float32))

    def _layer(self, name: str, x: Vectors, there: NDArray[np.bool_]) -> Vectors:
        x = x + self._attention(name, self._layer_norm(f"{name}.before", x), there)
        inner = self._linear(f"{name}.neurons.0", self._layer_norm(f"{name}.between", x))
        return x + self._linear(f"{name}.neurons.2", _gelu(inner))

    def _attention(self, name: str, x: Vectors, there: NDArray[np.bool_]) -> Vectors:
        batch, length, width = x.shape
        split = self._linear(f"{name}.ask", x).reshape(batch, length, 3, HEADS, width // HEADS)
        query, key, value = split.transpose(2, 0, 3, 1, 4)
        alike = query @ key.transpose(0, 1, 3, 2) / np.float32((width // HEADS) ** 0.5)
        alike = np.where(there[:, None, None, :], alike, np.float32(-1e9))
        shares = np.exp(alike - alike.max(axis=3, keepdims=True))
        shares /= shares.sum(axis=3, keepdims=True)
        return self._linear(f"{name}.answer", (shares @ value).transpose(0, 2, 1, 3).reshape(batch, length, width))

    def _linear(self, name: str, x: Vectors) -> Vectors:
        found: Vectors = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return found

    def _layer_norm(self, name: str, x: Vectors) -> Vectors:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Vectors) -> Vectors:
    bent: Vectors = x * (1 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x))) / 2
    return bent
