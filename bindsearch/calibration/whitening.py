"""Whitening of text queries: directions in which unrelated queries vary much count less.

A matched filter: if unrelated queries have covariance `S`, the direction that best distinguishes one query from the
others is the query times the inverse of `S`. The result is still one vector, so any index can be searched with it.

    W = c * (S + 0.1 * C + 10 * I)^-1        S: background queries, C: what is searched, I: identity
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Vectors

IDENTITY_WEIGHT = 10.0
"""Weight of the identity, relative to a covariance of background queries with a mean variance of 1 per direction."""
SEARCHED_WEIGHT = 0.1
"""Weight of the covariance of what is searched."""
MIN_TRACE = 1e-12

Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Whitening:
    """How text queries are whitened, with the folds that keep the fit honest.

    A query that was used to fit the matrix is whitened better than a new query, so its scores look too much like
    chance. So when background queries are scored, the queries of each form are whitened by those of other forms,
    without any query about the same things.
    """

    forms: Ids
    """The form of each background query. *Shape:* (n,)"""
    things: Ids
    """The number of the thing that each is about. *Shape:* (n,)"""
    searched: Matrix | None = None
    """Covariance of what is searched, as `covariance` returns it. *Shape:* (dim, dim)"""

    def matrix(self, queries: Vectors) -> Matrix:
        """Return the matrix that whitens by these queries, not scaled. *Shape:* (dim, dim)"""
        total = covariance(queries) + IDENTITY_WEIGHT * np.eye(queries.shape[1])
        if self.searched is not None:
            total = total + SEARCHED_WEIGHT * self.searched
        matrix: Matrix = np.linalg.inv(total).astype(np.float64)
        return matrix

    def folds(self) -> Iterator[tuple[Ids, Ids]]:
        """Yield, for each form, the positions of its queries, and of the queries that these are whitened by."""
        for form in np.unique(self.forms):
            fold = self.forms == form
            others = ~fold & ~np.isin(self.things, self.things[fold])
            yield np.flatnonzero(fold), np.flatnonzero(others)


def covariance(rows: Vectors) -> Matrix:
    """Return the covariance of vectors, scaled to a mean variance of 1 per direction. *Shape:* (dim, dim)"""
    deviations = (rows - rows.mean(axis=0)).astype(np.float64)
    squares: Matrix = deviations.T @ deviations
    return squares * (len(squares) / max(MIN_TRACE, float(np.trace(squares))))


def mean_covariance(groups: Sequence[Vectors]) -> Matrix | None:
    """Return the mean covariance of several groups, each around its own mean; None without groups."""
    if not groups:
        return None
    mean: Matrix = np.mean([covariance(rows) for rows in groups], axis=0)
    return mean
