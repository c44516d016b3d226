"""How far a computed inner product can be from the exact one, by the number format it is computed in."""

from __future__ import annotations

import numpy as np

from bindsearch.types import Scores, Vectors


def float16_error_bound(queries: Vectors) -> Scores:
    """Bound, for each query, the error of its product with a unit vector in float16, summed in float32.

    In float16, vector, query and product are each off by half a step of 2⁻¹⁰ of their values, and small values by
    2⁻²⁵. Twice that leaves room for sums that a device rounds on the way.
    """
    return _scaled_by_length(queries, 2 * (3 * 2.0**-11 + queries.shape[1] * 2.0**-24) + _float32_error(queries))


def float32_error_bound(queries: Vectors) -> Scores:
    """Bound, for each query, the error of its product with a unit vector in float32."""
    return _scaled_by_length(queries, _float32_error(queries))


def _float32_error(queries: Vectors) -> float:
    return float((queries.shape[1] + 2) * np.finfo(np.float32).eps)


def _scaled_by_length(queries: Vectors, error: float) -> Scores:
    bound: Scores = np.linalg.norm(queries, axis=1) * np.float32(error)
    return bound
