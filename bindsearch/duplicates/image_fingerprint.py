"""Fingerprints of images: they recognise copies after re-encoding, resizing, a change of gain, and cropping.

A fingerprint is a small grey thumbnail. A descriptor holds the low frequencies of its cosine transform without the
mean, so that brightness and contrast do not matter. Descriptors of the thumbnail's crops are compared, too, so that a
cropped copy matches one of them. Candidates are verified: the crop is shifted until finer descriptors agree best, and
they must agree well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bindsearch.core.vectors import unit
from bindsearch.duplicates.copy_match import CopyMatch
from bindsearch.types import Vectors

Thumbnail = NDArray[np.float32]
"""Grey values from 0 to 255. *Shape:* (THUMBNAIL_SIDE, THUMBNAIL_SIDE)"""
Box = tuple[float, float, float, float]
"""Left, top, width and height, as shares of the image."""

THUMBNAIL_SIDE = 64
COARSE_FREQUENCIES, FINE_FREQUENCIES = 8, 20
"""Frequencies of a descriptor in each direction."""
CROP_SCALES = (0.95, 0.9, 0.85)
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
MIN_COARSE_COSINE, MIN_FINE_COSINE = 0.75, 0.92
"""Cosines of coarse and fine descriptors. Chosen on training photos (scripts/experiments/fingerprints.py)."""
MAX_CANDIDATES = 5
"""Candidates per image that are verified."""
REFINEMENT_STEPS = (0.02, 0.01, 0.005)
"""By how much the edges of a crop are moved, from coarse to fine."""
MAX_MOVES_PER_STEP = 4
MIN_CROP_SIDE = 0.75
"""A crop is never taken to be smaller than this share of a side."""
MIN_DEVIATION = 2.0
"""Standard deviation of grey values, of 255, below which an image is too flat to be compared."""
_BLOCK_IMAGES = 256


def thumbnail(image: Image.Image) -> Thumbnail:
    """Return a small grey version of an image. *Shape:* (THUMBNAIL_SIDE, THUMBNAIL_SIDE)"""
    small = image.convert("L").resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX, reducing_gap=3.0)
    return np.asarray(small, dtype=np.float32)


def is_flat(image: Thumbnail) -> bool:
    """Whether an image has too little contrast to be distinguished from others."""
    return float(image.std()) < MIN_DEVIATION


def find_copies(ours: Sequence[Thumbnail], theirs: Sequence[Thumbnail]) -> Iterator[CopyMatch]:
    """Yield which of ours are copies of which of theirs; either may be cropped."""
    if not ours or not theirs:
        return
    boxes = [WHOLE, *crops()]
    one, other = (np.stack([descriptors(each, boxes, COARSE_FREQUENCIES) for each in side]) for side in (ours, theirs))
    for start in range(0, len(ours), _BLOCK_IMAGES):
        block = one[start : start + _BLOCK_IMAGES]
        similarity = np.maximum(_best_cosines(block[:, 0], other), _best_cosines(other[:, 0], block).T)
        for row, cosines in enumerate(similarity):
            place = start + row
            candidates = np.argsort(-cosines, kind="stable")[:MAX_CANDIDATES]
            for found in candidates[cosines[candidates] >= MIN_COARSE_COSINE].tolist():
                agreed = agreement(ours[place], theirs[found])
                if agreed >= MIN_FINE_COSINE:
                    yield CopyMatch(place, found, agreed)


def agreement(one: Thumbnail, other: Thumbnail) -> float:
    """Return how well two images agree when the better of the two is cropped to fit the other."""
    return max(_best_crop_cosine(one, other), _best_crop_cosine(other, one))


def crops() -> list[Box]:
    """Return the crops to compare: nine positions at each scale."""
    return [
        (left * (1 - scale) / 2, top * (1 - scale) / 2, scale, scale)
        for scale, left, top in product(CROP_SCALES, range(3), range(3))
    ]


def descriptors(image: Thumbnail, boxes: Sequence[Box], count: int) -> Vectors:
    """Return the low frequencies of some crops, as unit vectors. *Shape:* (len(boxes), count² - 1)"""
    across = np.stack([_cosine_basis(left, width, count) for left, _, width, _ in boxes])
    down = np.stack([_cosine_basis(top, height, count) for _, top, _, height in boxes])
    rows = (down @ image @ across.transpose(0, 2, 1)) * _frequency_weights(count)
    return unit(rows.reshape(len(boxes), -1)[:, 1:])


def _best_cosines(wholes: Vectors, cropped: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the best cosine of each whole image with any crop of each other. *Shape:* (wholes, cropped)"""
    best: NDArray[np.float32] = np.max([wholes @ cropped[:, box].T for box in range(cropped.shape[1])], axis=0)
    return best


def _best_crop_cosine(whole: Thumbnail, source: Thumbnail) -> float:
    """Move the crop of one image until it agrees best with the whole of another, and return their cosine."""
    target = descriptors(whole, [WHOLE], FINE_FREQUENCIES)[0]
    boxes = [WHOLE, *crops()]
    cosines = descriptors(source, boxes, FINE_FREQUENCIES) @ target
    box, best = boxes[int(cosines.argmax())], float(cosines.max())
    for step in REFINEMENT_STEPS:
        for _ in range(MAX_MOVES_PER_STEP):
            near = list(_neighbours(box, step))
            cosines = descriptors(source, near, FINE_FREQUENCIES) @ target
            if cosines.max() <= best:
                break
            box, best = near[int(cosines.argmax())], float(cosines.max())
    return best


def _neighbours(box: Box, step: float) -> Iterator[Box]:
    """Yield the crops that differ by a step in at most two of their edges."""
    left, top, right, bottom = box[0], box[1], box[0] + box[2], box[1] + box[3]
    for a, b, c, d in product((-step, 0.0, step), repeat=4):
        if abs(a) + abs(b) + abs(c) + abs(d) <= 2.5 * step:
            x, y = max(0.0, left + a), max(0.0, top + b)
            width, height = min(1.0, right + c) - x, min(1.0, bottom + d) - y
            if width >= MIN_CROP_SIDE and height >= MIN_CROP_SIDE:
                yield round(x, 4), round(y, 4), round(width, 4), round(height, 4)


@cache
def _cosine_basis(start: float, length: float, count: int) -> NDArray[np.float32]:
    """Return cosines over a section of a line of pixels, weighted by each pixel's share of the section.

    *Shape:* (count, THUMBNAIL_SIDE)
    """
    edges = np.clip((np.arange(THUMBNAIL_SIDE + 1) / THUMBNAIL_SIDE - start) / length, 0.0, 1.0)
    middle, share = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    waves = np.cos(np.pi * np.arange(count)[:, None] * middle[None, :])
    basis: NDArray[np.float32] = (waves * share).astype(np.float32)
    return basis


@cache
def _frequency_weights(count: int) -> NDArray[np.float32]:
    """Return weights that raise high frequencies: photographs have little of them, and they distinguish photographs."""
    one = np.arange(count)
    weights: NDArray[np.float32] = np.sqrt(np.hypot(one[:, None], one[None, :])).astype(np.float32)
    return weights
