"""Where in a picture a query is answered, found in one way for every space: parts of the picture are embedded.

Squares of two sizes are laid over the picture so that they overlap. Each is embedded as if it were a picture, all in
one batch, and its score counts where it lies, most in its middle. What a part scores with ordinary queries is taken
off, because some parts are near to everything. The sizes are brought to one scale and averaged. No layer of any model
is looked into; what is shown is how well each part answers on its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from bindsearch.types import Modality, Piece, Vectors

RelevanceMap = NDArray[np.float64]
"""*Shape:* (height, width)"""

SHARES = (1 / 2, 1 / 4)
"""Of the shorter side: how large the squares are."""
STEP = 0.5
"""From one square to the next, as a share of its side."""
MOST = 160
"""Squares of one size."""
LONGEST = 16
"""Of a panorama they are not square, but this share of its length."""
SMALLEST = 8


Square = tuple[int, int, int, int]
"""Left, top, right, bottom."""


def relevance_map(
    picture: Image,
    vector: Vectors,
    embed: Callable[[Sequence[Piece]], Vectors],
    *,
    others: Vectors,
    modality: Modality = Modality.IMAGE,
) -> RelevanceMap:
    """Say how well each place of a picture answers a query, in cosines above the mean answer to `others`."""
    squares = [_squares(picture.size, share) for share in SHARES]
    every = [square for size in squares for square in size]
    rows = embed([Piece(modality, picture.crop(square)) for square in every])
    scores = (rows @ vector).astype(np.float64)
    if len(others):
        scores -= rows @ others.mean(axis=0)
    maps, start = [], 0
    for size in squares:
        maps.append(_spread(size, scores[start : start + len(size)], picture.size))
        start += len(size)
    return _smooth(_together(maps), squares[-1][0][2] // 4)


def _squares(size: tuple[int, int], share: float) -> list[Square]:
    side = min(min(size), max(SMALLEST, round(share * min(size))))
    wide, high = (max(side, length // LONGEST) for length in size)
    step = STEP
    while True:
        counts = [
            math.ceil((length - part) / (part * step)) + 1 for length, part in zip(size, (wide, high), strict=True)
        ]
        if math.prod(counts) <= MOST:
            break
        step *= 1.1
    xs, ys = (
        [round(place) for place in np.linspace(0, length - part, count).tolist()]
        for length, part, count in zip(size, (wide, high), counts, strict=True)
    )
    return [(x, y, x + wide, y + high) for y in ys for x in xs]


def _spread(squares: Sequence[Square], scores: NDArray[np.float64], size: tuple[int, int]) -> RelevanceMap:
    """Return each place the mean of the squares over it, by how near to their middles it lies."""
    total, weight = np.zeros(size[::-1]), np.zeros(size[::-1])
    left, top, right, bottom = squares[0]
    cap = np.outer(_bump(bottom - top), _bump(right - left))
    for (left, top, right, bottom), score in zip(squares, scores.tolist(), strict=True):
        total[top:bottom, left:right] += score * cap
        weight[top:bottom, left:right] += cap
    heat: RelevanceMap = total / weight
    return heat


def _smooth(heat: RelevanceMap, radius: int) -> RelevanceMap:
    """Round off the corners that squares leave."""
    if radius < 1:
        return heat
    kernel = np.sin(np.pi * (np.arange(2 * radius + 1) + 1) / (2 * radius + 2)) ** 2
    kernel /= kernel.sum()
    for axis in (0, 1):
        wide = np.pad(heat, [(radius, radius) if axis == each else (0, 0) for each in (0, 1)], mode="edge")
        heat = np.apply_along_axis(np.convolve, axis, wide, kernel, "valid")
    return heat


def _bump(length: int) -> NDArray[np.float64]:
    bump: NDArray[np.float64] = np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2 + 0.02
    return bump


def _together(maps: Sequence[RelevanceMap]) -> RelevanceMap:
    """Average maps of different centre and spread, and give the mean those of the first, in which squares are large."""
    spreads = [float(heat.std()) for heat in maps]
    if min(spreads) < 1e-6:
        mean: RelevanceMap = np.mean(maps, axis=0)
        return mean
    alike = np.mean([(heat - heat.mean()) / spread for heat, spread in zip(maps, spreads, strict=True)], axis=0)
    together: RelevanceMap = alike * spreads[0] + maps[0].mean()
    return together
