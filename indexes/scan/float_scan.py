"""The scan of float32 vectors: for small blocks, for few rows, and where nothing multiplies bytes fast."""

from __future__ import annotations

import numpy as np

from bindsearch.types import Scores, Vectors

from .error_bounds import float32_error_bound
from .rows import RowSelection
from .score_table import select_candidates
from .shortlist import Shortlist
from .threads import for_each

CHUNK_ROWS = 1 << 18
CHUNK_SCORES = 1 << 21
"""Rows, and scores, that are computed at a time: they should still be in the cache when they are compared."""
THREAD_ROWS = 1 << 13
"""Vectors that a thread takes at a time when there is one query."""


def scan_floats(part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
    """Multiply all selected rows with all queries in float32, and add what may be among the best."""
    error_bounds = float32_error_bound(queries)
    for rows, vectors, mask in part.chunks(max(1, min(CHUNK_ROWS, CHUNK_SCORES // len(queries)))):
        scores = _products(queries, vectors)
        if mask is not None:
            scores[:, ~mask] = -np.inf
        query_index, columns = select_candidates(scores, error_bounds, shortlist)
        shortlist.add(query_index, rows[columns], scores[query_index, columns], error_bounds)


def _products(queries: Vectors, vectors: Vectors) -> Scores:
    """Multiply queries with vectors: many queries by BLAS, one query in our own threads.

    One query is limited by the speed of memory. BLAS cuts the rows into equal shares and waits for the slowest core;
    threads that take small pieces as they become free lose little to a core that is busy with something else.
    """
    if len(queries) > 1:
        return queries @ vectors.T
    products = np.empty((1, len(vectors)), dtype=np.float32)

    def multiply(start: int) -> None:
        piece = slice(start, start + THREAD_ROWS)
        np.einsum("ij,j->i", vectors[piece], queries[0], out=products[0, piece])

    for_each(multiply, range(0, len(vectors), THREAD_ROWS))
    return products
