"""Fingerprints of pictures: copies are found after re-encoding, resizing, a change of gain, and cropping.

A picture is kept small and grey. Its sketch is the low corner of its cosine transform without the mean, so that
brightness and contrast do not matter; sketches of its crops stand beside, so that a cropped copy meets one of them.
What meets is looked at again: the crop is moved until finer sketches agree best, and they must agree well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bindsearch.core.vectors import unit
from bindsearch.types import Vectors

Grey = NDArray[np.float32]
Box = tuple[float, float, float, float]
"""Left, top, width and height, as shares of the picture."""

SIDE = 64
COARSE, FINE = 8, 20
"""Frequencies of a sketch, each way."""
SCALES = (0.95, 0.9, 0.85)
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
LIKELY, SURE = 0.75, 0.92
"""Cosines of coarse and of fine sketches. Chosen on training photos (scripts/experiments/fingerprints.py)."""
LOOKED_AT = 5
"""At most so many of the likely ones are looked at again."""
STEPS = (0.02, 0.01, 0.005)
SMALLEST = 0.75
"""A crop is never taken for smaller than this share of a side."""
FLAT = 2.0
"""Standard deviation, of 255, under which a picture shows nothing."""
_BLOCK = 256


def grey(picture: Image.Image) -> Grey:
    """Make a picture small and grey. *Shape:* (SIDE, SIDE)"""
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=3.0)
    return np.asarray(small, dtype=np.float32)


def shows_nothing(picture: Grey) -> bool:
    """Whether a picture is too flat to be told from others."""
    return float(picture.std()) < FLAT


def matches(ours: Sequence[Grey], theirs: Sequence[Grey]) -> Iterator[tuple[int, int, float]]:
    """Return which of ours is a copy of which of theirs, either being cropped, and how well they agree."""
    if not ours or not theirs:
        return
    boxes = [WHOLE, *crops()]
    one, other = (np.stack([sketches(each, boxes, COARSE) for each in side]) for side in (ours, theirs))
    for start in range(0, len(ours), _BLOCK):
        block = one[start : start + _BLOCK]
        alike = np.maximum(_best(block[:, 0], other), _best(other[:, 0], block).T)
        for row, cosines in enumerate(alike):
            place = start + row
            likely = np.argsort(-cosines, kind="stable")[:LOOKED_AT]
            for found in likely[cosines[likely] >= LIKELY].tolist():
                agreed = agreement(ours[place], theirs[found])
                if agreed >= SURE:
                    yield place, found, agreed


def agreement(one: Grey, other: Grey) -> float:
    """Return how well two pictures agree when either is cropped to fit the other at its best."""
    return max(_fitted(one, other), _fitted(other, one))


def crops() -> list[Box]:
    """Return the crops that are looked for: of each scale, nine places."""
    return [
        (left * (1 - scale) / 2, top * (1 - scale) / 2, scale, scale)
        for scale, left, top in product(SCALES, range(3), range(3))
    ]


def sketches(picture: Grey, boxes: Sequence[Box], count: int) -> Vectors:
    """Return the low frequencies of some crops, as unit vectors. *Shape:* (len(boxes), count² - 1)"""
    across = np.stack([_basis(left, width, count) for left, _, width, _ in boxes])
    down = np.stack([_basis(top, height, count) for _, top, _, height in boxes])
    rows = (down @ picture @ across.transpose(0, 2, 1)) * _weights(count)
    return unit(rows.reshape(len(boxes), -1)[:, 1:])


def _best(wholes: Vectors, cropped: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the best cosine of each whole with any crop of each other. *Shape:* (wholes, cropped)"""
    best: NDArray[np.float32] = np.max([wholes @ cropped[:, box].T for box in range(cropped.shape[1])], axis=0)
    return best


def _fitted(whole: Grey, source: Grey) -> float:
    """Move the crop of one picture until it agrees best with the whole of another."""
    target = sketches(whole, [WHOLE], FINE)[0]
    boxes = [WHOLE, *crops()]
    cosines = sketches(source, boxes, FINE) @ target
    box, best = boxes[int(cosines.argmax())], float(cosines.max())
    for step in STEPS:
        for _ in range(4):
            near = list(_moved(box, step))
            cosines = sketches(source, near, FINE) @ target
            if cosines.max() <= best:
                break
            box, best = near[int(cosines.argmax())], float(cosines.max())
    return best


def _moved(box: Box, step: float) -> Iterator[Box]:
    """Return the crops that differ by a step in one or two of their edges."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    for a, b, c, d in product((-step, 0.0, step), repeat=4):
        if abs(a) + abs(b) + abs(c) + abs(d) <= 2.5 * step:
            x, y = max(0.0, left + a), max(0.0, top + b)
            width, height = min(1.0, right + c) - x, min(1.0, bottom + d) - y
            if width >= SMALLEST and height >= SMALLEST:
                yield round(x, 4), round(y, 4), round(width, 4), round(height, 4)


@cache
def _basis(start: float, length: float, count: int) -> Grey:
    """Return cosines over a stretch of a line of pixels, by what each pixel has in it. *Shape:* (count, SIDE)"""
    edges = np.clip((np.arange(SIDE + 1) / SIDE - start) / length, 0.0, 1.0)
    middle, share = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    waves = np.cos(np.pi * np.arange(count)[:, None] * middle[None, :])
    basis: Grey = (waves * share).astype(np.float32)
    return basis


@cache
def _weights(count: int) -> Grey:
    """Raise high frequencies, which photographs have little of and which tell them apart."""
    one = np.arange(count)
    weights: Grey = np.sqrt(np.hypot(one[:, None], one[None, :])).astype(np.float32)
    return weights
