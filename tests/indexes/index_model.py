"""A model of an index, from a dict and float64: what every index must answer."""

from __future__ import annotations

import numpy as np

from bindsearch.ports import Index
from bindsearch.types import Ids, Scores, Vectors

SCORE_TOLERANCE = 1e-6
"""float32 scores of unit vectors that differ by less are the same number but for rounding."""


def unit(rng: np.random.Generator, count: int, dim: int, *, around: Vectors | None = None) -> Vectors:
    """Return random unit vectors; near those of `around`, if given, as segments of one recording are."""
    vectors = rng.standard_normal((count, dim))
    if around is not None:
        vectors = around[rng.integers(0, len(around), count)] + 0.5 * vectors / np.sqrt(dim)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class Model:
    """Vectors by id in a dict, all of which are compared in float64."""

    def __init__(self) -> None:
        self.rows: dict[int, Vectors] = {}

    def add(self, ids: Ids, vectors: Vectors) -> None:
        self.rows |= dict(zip(ids.tolist(), vectors, strict=True))

    def remove(self, ids: Ids) -> None:
        for id_ in ids.tolist():
            self.rows.pop(id_, None)

    def ids(self) -> Ids:
        return np.array(sorted(self.rows), dtype=np.int64)

    def scores(self, query: Vectors, allowed: Ids | None = None) -> dict[int, float]:
        among = self.rows.keys() if allowed is None else self.rows.keys() & set(allowed.tolist())
        return {id_: float(self.rows[id_].astype(np.float64) @ query.astype(np.float64)) for id_ in among}


def check_search(index: Index, model: Model, queries: Vectors, k: int, *, allowed: Ids | None = None) -> float:
    """Assert that a search answers as the contract says, and return the share of the true best that it found.

    Whatever is found must have the true score, no id may be returned twice or be outside the filter, the order must be
    by score and then by id, and there must be as many results as possible.
    """
    scores, ids = index.search(queries, k, allowed=allowed)
    assert scores.dtype == np.float32
    assert ids.dtype == np.int64
    shares = [_check_answer(*row, model, k, allowed) for row in zip(scores, ids, queries, strict=True)]
    return float(np.mean(shares)) if shares else 1.0


def _check_answer(scores: Scores, ids: Ids, query: Vectors, model: Model, k: int, allowed: Ids | None) -> float:
    truth = model.scores(query, allowed)
    assert len(ids) == len(scores) == min(k, len(truth))
    assert len(set(ids.tolist())) == len(ids)
    assert set(ids.tolist()) <= truth.keys()
    np.testing.assert_allclose(scores, [truth[id_] for id_ in ids.tolist()], atol=SCORE_TOLERANCE, rtol=0)
    assert list(zip(-scores, ids, strict=True)) == sorted(zip(-scores, ids, strict=True))
    best = sorted(truth.values(), reverse=True)[: len(ids)]
    return float(np.mean(scores >= best[-1] - SCORE_TOLERANCE)) if best else 1.0


def same_answers(one: tuple[Scores, Ids], other: tuple[Scores, Ids]) -> bool:
    """Whether two answers are equal to the last bit."""
    return all(np.array_equal(mine, yours) for mine, yours in zip(one, other, strict=True))
