"""Vectors as one signed byte a dimension, with a bound on how much that can change a score.

All vectors and queries are first multiplied by the same orthogonal matrix. This leaves every inner product as it is,
but spreads each vector evenly over its dimensions, so one step size fits all vectors of all spaces and the error is
about the same for each. Without it, vectors of real encoders, in which a few dimensions are much larger than the rest,
would lose three times as much.
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

from .threads import for_each, scratch_array

CodeValues = NDArray[np.int8]

ENCODED_ROWS = 1 << 14
"""Rows that are encoded at a time."""
PRODUCT_PAIRS = 1 << 9
"""Pairs of query and code that are multiplied at a time: they should stay in the processor's cache."""
CODE_RANGE_RMS = 5.0
"""Codes reach this many times the root mean square of a unit vector's values; larger values are clipped."""
_MAX_CODE = 127
_MAX_FLOAT32_DIMS = 2**24 // _MAX_CODE**2
"""Up to this dimension, inner products of codes are whole numbers that float32 holds exactly."""
_HUGE_PAGE_BYTES = 1 << 21


@dataclass(frozen=True, eq=False)
class Codes:
    """The codes of some vectors."""

    values: CodeValues
    """*Shape:* (n, dim)."""
    error: float
    """The largest distance between a rotated vector and what its code stands for."""

    def take(self, rows: Ids | NDArray[np.bool_]) -> Codes:
        """Return the codes of some rows."""
        return Codes(self.values[rows], self.error)


@dataclass(frozen=True, eq=False)
class CodedQueries:
    """Queries as codes. Products of query codes and vector codes, times `steps`, approximate the scores."""

    values: CodeValues
    steps: Scores
    error: Scores
    """For each query, the distance between the rotated query and what its code stands for."""
    lengths: Scores


class Int8Coder:
    """Encodes vectors and queries, always by the same rotation and step size."""

    def __init__(self, dim: int, rotation: Vectors | None = None) -> None:
        self._dim = dim
        self._given_rotation = rotation
        self.step = CODE_RANGE_RMS / _MAX_CODE / np.sqrt(dim)

    @cached_property
    def rotation(self) -> Vectors:
        """The orthogonal matrix; made on first use, since small indexes never need it."""
        return _random_rotation(self._dim) if self._given_rotation is None else self._given_rotation

    def encode(self, vectors: Vectors) -> Codes:
        """Encode unit vectors, `ENCODED_ROWS` at a time."""
        values = code_array(vectors.shape)
        error = 0.0
        for start in range(0, len(vectors), ENCODED_ROWS):
            rotated = vectors[start : start + ENCODED_ROWS] @ self.rotation
            rounded = np.clip(np.rint(rotated / np.float32(self.step)), -_MAX_CODE, _MAX_CODE)
            values[start : start + ENCODED_ROWS] = rounded
            rotated -= rounded * np.float32(self.step)
            error = max(error, float(np.sqrt(np.einsum("ij,ij->i", rotated, rotated).max())))
        return Codes(values, error)

    def rotate(self, queries: Vectors) -> Vectors:
        """Rotate queries as the vectors were rotated."""
        rotated: Vectors = queries @ self.rotation
        return rotated

    def encode_queries(self, queries: Vectors, rotated: Vectors) -> CodedQueries:
        """Encode queries, each with its own step size."""
        steps = np.maximum(np.abs(rotated).max(axis=1), np.float32(1e-30)) / _MAX_CODE
        values = np.rint(rotated / steps[:, None]).astype(np.int8)
        error = np.linalg.norm(rotated - values * steps[:, None], axis=1)
        lengths = np.linalg.norm(queries, axis=1)
        return CodedQueries(values, steps * np.float32(self.step), error, lengths)

    def scores(self, codes: Codes, rows: Ids, queries: CodedQueries, query_index: Ids) -> Scores:
        """Return the approximate scores of pairs: of each row with the query at its index.

        The pairs of one query must be adjacent.
        """
        exact = np.float32 if self._dim <= _MAX_FLOAT32_DIMS else np.float64
        products = np.empty(len(rows), dtype=np.float32)
        pieces = list(pieces_of_groups(query_index, PRODUCT_PAIRS))

        def multiply(piece: tuple[int, int]) -> None:
            pairs = slice(*piece)
            shape = piece[1] - piece[0], self._dim
            copied = np.take(codes.values, rows[pairs], 0, scratch_array("codes", shape, np.int8), mode="clip")
            numbers = scratch_array("numbers", shape, exact)
            numbers[:] = copied
            products[pairs] = np.einsum("ij,j->i", numbers, queries.values[query_index[piece[0]]].astype(exact))

        for_each(multiply, pieces)
        scores: Scores = products * queries.steps[query_index]
        return scores

    def error_bound(self, codes: Codes, queries: CodedQueries) -> Scores:
        """Bound, for each query, how far the score of a unit vector can be from the product of the codes.

        Let x' and q' be what the codes of vector x and query q stand for. Then q·x - q'·x' = q·(x - x') + (q - q')·x',
        so |q||x - x'| + |q - q'||x'| bounds the difference. One more term covers float32 arithmetic: of the rotation,
        of the steps, and of the scores.
        """
        longest_code = 1.0 + codes.error
        rounding = 4 * self._dim * np.finfo(np.float32).eps
        bound: Scores = queries.lengths * np.float32(codes.error + rounding) + queries.error * np.float32(longest_code)
        return bound


def pieces_of_groups(values: Ids, size: int) -> Iterator[tuple[int, int]]:
    """Return start and end of pieces of at most `size`, each within one run of equal values; there must be some."""
    for start, end in equal_runs(values):
        for at in range(start, end, size):
            yield at, min(at + size, end)


def equal_runs(values: Ids) -> Iterator[tuple[int, int]]:
    """Return start and end of each run of equal values; there must be some values."""
    inner: list[int] = (np.flatnonzero(values[1:] != values[:-1]) + 1).tolist()
    return pairwise([0, *inner, len(values)])


def code_array(shape: tuple[int, ...]) -> CodeValues:
    """Return memory for codes, in huge pages where the system has them: scanning is twice as fast there."""
    size = int(np.prod(shape))
    if size < _HUGE_PAGE_BYTES or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(shape, dtype=np.int8)
    memory = mmap.mmap(-1, size)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, dtype=np.int8, count=size).reshape(shape)


def _random_rotation(dim: int) -> Vectors:
    """Return an orthogonal matrix that depends on the dimension alone, as long as NumPy draws the same numbers.

    A saved index keeps its own copy.
    """
    drawn = np.random.default_rng(dim).standard_normal((dim, dim))
    rotation: Vectors = np.linalg.qr(drawn)[0].astype(np.float32)
    return rotation
