"""Vectors as one byte a dimension, and a bound on what that can change in a score.

A vector is turned by a rotation that all vectors and queries share, which leaves every product as it is but spreads
what a vector holds evenly over its dimensions. So one step size fits all vectors of all spaces, and the error is about
the same for each: vectors of real encoders, a few of whose dimensions are much larger than the rest, would otherwise
lose three times as much.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Scores, Vectors

from .threads import do_each, room

CodeValues = NDArray[np.int8]

ROWS = 1 << 14
"""Rows that are encoded at once."""
PAIRS = 1 << 9
"""So many pairs of query and codes are multiplied at once: they should stay in the cache."""
RANGE = 5.0
"""Codes reach this many times the root mean square of a unit vector's values; what lies beyond is clipped."""
_TOP = 127
_EXACT_DIMS = 2**24 // _TOP**2
"""Up to which products of bytes are whole numbers in float32."""
_HUGE_PAGE = 1 << 21


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of some vectors."""

    values: CodeValues
    """*Shape:* (n, dim)."""
    error: float
    """No vector is further from what its code says than this."""

    def take(self, rows: Ids | NDArray[np.bool_]) -> Codes:
        """Return the codes of some rows."""
        return Codes(self.values[rows], self.error)


@dataclass(frozen=True, eq=False)
class Questions:
    """Queries as codes: `products * steps` are the scores that codes say."""

    values: CodeValues
    steps: Scores
    error: Scores
    """Of each query: how far it is from what its code says."""
    lengths: Scores


class Coder:
    """Turns vectors into codes and queries into questions, always by the same rotation."""

    def __init__(self, dim: int, rotation: Vectors | None = None) -> None:
        self._dim = dim
        self._given = rotation
        self.step = RANGE / _TOP / np.sqrt(dim)

    @cached_property
    def rotation(self) -> Vectors:
        """The orthogonal matrix, made when it is first needed: small indexes never need it."""
        return _rotation(self._dim) if self._given is None else self._given

    def encode(self, vectors: Vectors) -> Codes:
        """Encode unit vectors, a bounded number at a time."""
        values = roomy(vectors.shape)
        error = 0.0
        for start in range(0, len(vectors), ROWS):
            turned = vectors[start : start + ROWS] @ self.rotation
            rounded = np.clip(np.rint(turned / np.float32(self.step)), -_TOP, _TOP)
            values[start : start + ROWS] = rounded
            turned -= rounded * np.float32(self.step)
            error = max(error, float(np.sqrt(np.einsum("ij,ij->i", turned, turned).max())))
        return Codes(values, error)

    def turn(self, queries: Vectors) -> Vectors:
        """Turn queries as the vectors were."""
        turned: Vectors = queries @ self.rotation
        return turned

    def ask(self, queries: Vectors, turned: Vectors) -> Questions:
        """Encode queries that were turned, each with a step of its own."""
        steps = np.maximum(np.abs(turned).max(axis=1), np.float32(1e-30)) / _TOP
        values = np.rint(turned / steps[:, None]).astype(np.int8)
        error = np.linalg.norm(turned - values * steps[:, None], axis=1)
        lengths = np.linalg.norm(queries, axis=1)
        return Questions(values, steps * np.float32(self.step), error, lengths)

    def scores(self, codes: Codes, rows: Ids, questions: Questions, places: Ids) -> Scores:
        """Return what the codes of some rows say, each for the query at its place; those of one query come together."""
        exact = np.float32 if self._dim <= _EXACT_DIMS else np.float64
        products = np.empty(len(rows), dtype=np.float32)
        pieces = [(at, min(at + PAIRS, end)) for start, end in runs(places) for at in range(start, end, PAIRS)]

        def multiply(piece: tuple[int, int]) -> None:
            few = slice(*piece)
            shape = piece[1] - piece[0], self._dim
            copied = np.take(codes.values, rows[few], 0, room("codes", shape, np.int8), mode="clip")
            numbers = room("numbers", shape, exact)
            numbers[:] = copied
            products[few] = np.einsum("ij,j->i", numbers, questions.values[places[piece[0]]].astype(exact))

        do_each(multiply, pieces)
        scores: Scores = products * questions.steps[places]
        return scores

    def margin(self, codes: Codes, questions: Questions) -> Scores:
        """Bound, for each query, how far the score of a unit vector is from what the codes say.

        With x' and q' for what codes say, q·x - q'·x' = q·(x - x') + (q - q')·x'. The last term is for arithmetic in
        float32: of the rotation, of the steps, and of the scores.
        """
        reach = 1.0 + codes.error
        rounding = 4 * self._dim * np.finfo(np.float32).eps
        margin: Scores = questions.lengths * np.float32(codes.error + rounding) + questions.error * np.float32(reach)
        return margin


def runs(values: Ids) -> Iterator[tuple[int, int]]:
    """Return where runs of the same values begin and end; there must be some."""
    inner: list[int] = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return pairwise([0, *inner, len(values)])


def roomy(shape: tuple[int, ...]) -> CodeValues:
    """Return an array for codes, in huge pages where the system has them: they are read twice as fast."""
    size = int(np.prod(shape))
    if size < _HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype=np.int8)
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=np.int8, count=size).reshape(shape)


def _rotation(dim: int) -> Vectors:
    """Return an orthogonal matrix, the same one for a dimension wherever NumPy draws the same numbers.

    An index that is saved keeps its own copy.
    """
    drawn = np.random.default_rng(dim).standard_normal((dim, dim))
    rotation: Vectors = np.linalg.qr(drawn)[0].astype(np.float32)
    return rotation
