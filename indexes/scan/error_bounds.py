"""By how much a product can be wrong that a device computes in float16."""

from __future__ import annotations

import numpy as np

from bindsearch.types import Scores, Vectors


def half_margin(queries: Vectors) -> Scores:
    """Bound, for each query and vectors of unit length, by how much a product can be wrong.

    In float16 vector, query and product are each off by half a step of 2⁻¹⁰ of their values, and small values by 2⁻²⁵.
    Twice that leaves room for sums that a device rounds on the way.
    """
    return _lengths(queries, 2 * (3 * 2.0**-11 + queries.shape[1] * 2.0**-24) + _single(queries))


def single_margin(queries: Vectors) -> Scores:
    """Return the same bound for products in float32."""
    return _lengths(queries, _single(queries))


def _single(queries: Vectors) -> float:
    return float((queries.shape[1] + 2) * np.finfo(np.float32).eps)


def _lengths(queries: Vectors, error: float) -> Scores:
    margin: Scores = np.linalg.norm(queries, axis=1) * np.float32(error)
    return margin
