"""The pocket space's text tower in numpy, so that a query in words does not load torch.

It computes the same as `towers.TextTower`, the module that is trained; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Vectors

HEADS = 4
Weights = Mapping[str, Vectors]


class NumpyTextTower:
    """Embeds texts."""

    def __init__(self, weights: Weights) -> None:
        """Use the weights of a `towers.TextTower`, under the names of its state dict."""
        self._weights = weights
        self._layers = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("layers."))

    def __call__(self, tokens: NDArray[np.int64]) -> Vectors:
        """*Shape:* (batch, length), padded with 0, to (batch, dim), not normalised."""
        tokens = tokens[:, : max(1, int((tokens != 0).sum(axis=1).max()))]
        mask = tokens != 0
        x = self._linear("widen", self._weights["table.weight"][tokens]) + self._weights["places"][: tokens.shape[1]]
        for layer in range(self._layers):
            x = self._layer(f"layers.{layer}", x, mask)
        x = self._layer_norm("norm", x) * mask[:, :, None]
        return self._linear("head", x.sum(axis=1) / mask.sum(axis=1, keepdims=True).clip(min=1).astype(np.float32))

    def _layer(self, name: str, x: Vectors, mask: NDArray[np.bool_]) -> Vectors:
        x = x + self._attention(name, self._layer_norm(f"{name}.before", x), mask)
        inner = self._linear(f"{name}.neurons.0", self._layer_norm(f"{name}.between", x))
        return x + self._linear(f"{name}.neurons.2", _gelu(inner))

    def _attention(self, name: str, x: Vectors, mask: NDArray[np.bool_]) -> Vectors:
        batch, length, width = x.shape
        split = self._linear(f"{name}.ask", x).reshape(batch, length, 3, HEADS, width // HEADS)
        query, key, value = split.transpose(2, 0, 3, 1, 4)
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32((width // HEADS) ** 0.5)
        scores = np.where(mask[:, None, None, :], scores, np.float32(-1e9))
        weights = np.exp(scores - scores.max(axis=3, keepdims=True))
        weights /= weights.sum(axis=3, keepdims=True)
        return self._linear(f"{name}.answer", (weights @ value).transpose(0, 2, 1, 3).reshape(batch, length, width))

    def _linear(self, name: str, x: Vectors) -> Vectors:
        y: Vectors = x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return y

    def _layer_norm(self, name: str, x: Vectors) -> Vectors:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(1e-5))
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(x: Vectors) -> Vectors:
    y: Vectors = x * (1 + np.tanh(np.float32((2 / np.pi) ** 0.5) * (x + np.float32(0.044715) * x * x * x))) / 2
    return y
