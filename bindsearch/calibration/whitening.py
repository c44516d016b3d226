"""What questions are multiplied by, so that directions in which all questions vary much count less.

A matched filter: if what questions vary in by chance has a covariance, then the direction that tells one of them best
from the others is the question times the inverse of it. It stays one vector, so any index can be searched with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Vectors

LOOSE = 10.0
"""So much of no whitening at all is added to what strangers vary in, which varies as much as 1 in each direction..."""
OTHERS = 0.1
"""...and so much of what the things vary in that are searched."""
_NOTHING = 1e-12

Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitening:
    """How questions are whitened, and which of them have a say for which.

    Questions that whiten themselves look more like chance than others do. So when they are tried, each form of question
    is whitened by the other forms, and by no question about the same things.
    """

    forms: Ids
    """The form of each question. *Shape:* (n,)"""
    things: Ids
    """What each is about. *Shape:* (n,)"""
    among: Matrix | None = None
    """What the things vary in that are searched, as `scatter` gives it. *Shape:* (dim, dim)"""

    def matrix(self, questions: Vectors) -> Matrix:
        """Return what whitens by these questions, not to scale. *Shape:* (dim, dim)"""
        loose = scatter(questions) + LOOSE * np.eye(questions.shape[1])
        if self.among is not None:
            loose = loose + OTHERS * self.among
        matrix: Matrix = np.linalg.inv(loose).astype(np.float64)
        return matrix

    def folds(self) -> Iterator[tuple[Ids, Ids]]:
        """Return the places of each form's questions, and of those that they are whitened by."""
        for form in np.unique(self.forms):
            mine = self.forms == form
            others = ~mine & ~np.isin(self.things, self.things[mine])
            yield np.flatnonzero(mine), np.flatnonzero(others)


def scatter(rows: Vectors) -> Matrix:
    """Return the covariance of vectors, as large as if each direction had a variance of 1. *Shape:* (dim, dim)"""
    far = (rows - rows.mean(axis=0)).astype(np.float64)
    squares: Matrix = far.T @ far
    return squares * (len(squares) / max(_NOTHING, float(np.trace(squares))))


def scatter_of_all(kinds: Sequence[Vectors]) -> Matrix | None:
    """Return the mean of what several kinds of things vary in, each around its own mean; None if there is no kind."""
    if not kinds:
        return None
    mean: Matrix = np.mean([scatter(rows) for rows in kinds], axis=0)
    return mean
