"""Where an image matches a query, found in the same way for every space: by embedding parts of the image.

Overlapping squares of two sizes cover the image. Each square is embedded as an image of its own, all in one batch. Its
score counts for the pixels it covers, most in its middle. The mean score of typical queries is subtracted, because
some parts are similar to any query. Both sizes are brought to the same scale and averaged. The map shows how well
each part matches by itself; it needs no access to the layers of a model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from bindsearch.types import Modality, Piece, Vectors

RelevanceMap = NDArray[np.float64]
"""One score per pixel. *Shape:* (height, width)"""
Square = tuple[int, int, int, int]
"""Left, top, right, bottom."""

SIDE_SHARES = (1 / 2, 1 / 4)
"""Sides of the squares, as shares of the shorter side of the image."""
STEP_SHARE = 0.5
"""The distance between neighbouring squares, as a share of their side."""
MAX_SQUARES = 160
"""Of one size."""
MAX_PANORAMA_SQUARES = 16
"""Along the long side of a panorama; beyond this, squares become rectangles."""
MIN_SIDE_PIXELS = 8


def relevance_map(
    image: Image,
    vector: Vectors,
    embed: Callable[[Sequence[Piece]], Vectors],
    *,
    others: Vectors,
    modality: Modality = Modality.IMAGE,
) -> RelevanceMap:
    """Return how well each pixel matches a query: cosines, less the mean cosine of the queries `others`."""
    squares = [_squares(image.size, share) for share in SIDE_SHARES]
    every = [square for size in squares for square in size]
    rows = embed([Piece(modality, image.crop(square)) for square in every])
    scores = (rows @ vector).astype(np.float64)
    if len(others):
        scores -= rows @ others.mean(axis=0)
    maps, start = [], 0
    for size in squares:
        maps.append(_spread(size, scores[start : start + len(size)], image.size))
        start += len(size)
    return _smoothed(_averaged(maps), squares[-1][0][2] // 4)


def _squares(size: tuple[int, int], share: float) -> list[Square]:
    """Cover an image of this size with squares, fewer than `MAX_SQUARES`."""
    side = min(min(size), max(MIN_SIDE_PIXELS, round(share * min(size))))
    width, height = (max(side, length // MAX_PANORAMA_SQUARES) for length in size)
    step = STEP_SHARE
    while True:
        counts = [
            math.ceil((length - part) / (part * step)) + 1 for length, part in zip(size, (width, height), strict=True)
        ]
        if math.prod(counts) <= MAX_SQUARES:
            break
        step *= 1.1
    xs, ys = (
        [round(place) for place in np.linspace(0, length - part, count).tolist()]
        for length, part, count in zip(size, (width, height), counts, strict=True)
    )
    return [(x, y, x + width, y + height) for y in ys for x in xs]


def _spread(squares: Sequence[Square], scores: NDArray[np.float64], size: tuple[int, int]) -> RelevanceMap:
    """Return for each pixel the mean score of the squares that cover it, weighted by the distance to their middles."""
    total, weight = np.zeros(size[::-1]), np.zeros(size[::-1])
    left, top, right, bottom = squares[0]
    window = np.outer(_window(bottom - top), _window(right - left))
    for (left, top, right, bottom), score in zip(squares, scores.tolist(), strict=True):
        total[top:bottom, left:right] += score * window
        weight[top:bottom, left:right] += window
    spread: RelevanceMap = total / weight
    return spread


def _smoothed(relevance: RelevanceMap, radius: int) -> RelevanceMap:
    """Blur the edges of the squares."""
    if radius < 1:
        return relevance
    kernel = np.sin(np.pi * (np.arange(2 * radius + 1) + 1) / (2 * radius + 2)) ** 2
    kernel /= kernel.sum()
    for axis in (0, 1):
        padding = [(radius, radius) if axis == each else (0, 0) for each in (0, 1)]
        padded = np.pad(relevance, padding, mode="edge")
        relevance = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return relevance


def _window(length: int) -> NDArray[np.float64]:
    """Return weights that are largest in the middle and nowhere zero."""
    window: NDArray[np.float64] = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2 + 0.02
    return window


def _averaged(maps: Sequence[RelevanceMap]) -> RelevanceMap:
    """Average maps after standardising them; the result has the mean and spread of the first, of large squares."""
    spreads = [float(each.std()) for each in maps]
    if min(spreads) < 1e-6:
        mean: RelevanceMap = np.mean(maps, axis=0)
        return mean
    standard = np.mean([(each - each.mean()) / spread for each, spread in zip(maps, spreads, strict=True)], axis=0)
    averaged: RelevanceMap = standard * spreads[0] + maps[0].mean()
    return averaged
