"""Metrics of ranked lists, their values for a random order, and bootstrap intervals.

`relevant` holds the relevance of the ranked items: one row per query, one column per rank, True if the item is relevant
to the query. A metric has one value per query; a query without relevant items gives NaN and is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Scores

Relevance = NDArray[np.bool_]
Ranking = NDArray[np.intp]
Values = NDArray[np.float64]
RESAMPLES = 2000
CONFIDENCE = 0.95


def rank_items(scores: Scores, *, seed: int = 0) -> Ranking:
    """Return the items of each query, best first. Ties are broken at random, so that constant scores give chance.

    *Shape:* (queries, items)
    """
    shuffled = np.random.default_rng(seed).permutation(scores.shape[1])
    order: Ranking = shuffled[np.argsort(-scores[:, shuffled], axis=1, kind="stable")]
    return order


def hit(relevant: Relevance, k: int) -> Values:
    """Return Hit@k: 1 if one of the first k is relevant."""
    return _defined(relevant, relevant[:, :k].any(axis=1).astype(np.float64))


def recall(relevant: Relevance, k: int) -> Values:
    """Return R@k: relevant items among the first k, as a share of all relevant ones, but of k at most."""
    return _defined(relevant, relevant[:, :k].sum(axis=1) / np.clip(relevant.sum(axis=1), 1, k))


def precision(relevant: Relevance, k: int) -> Values:
    """Return P@k: the share of relevant items among the first k."""
    return _defined(relevant, relevant[:, :k].mean(axis=1))


def average_precision(relevant: Relevance) -> Values:
    """Return AP: the mean of the precision at each relevant item; its mean over queries is mAP."""
    precisions = relevant.cumsum(axis=1) / np.arange(1, relevant.shape[1] + 1)
    return _defined(relevant, (precisions * relevant).sum(axis=1) / np.maximum(1, relevant.sum(axis=1)))


def ndcg(relevant: Relevance, k: int) -> Values:
    """Return nDCG@k: relevant items weighted by the inverse logarithm of their rank, as a share of the maximum."""
    discounts = 1 / np.log2(np.arange(2, relevant.shape[1] + 2))
    ideal = np.concatenate([[0.0], discounts[:k].cumsum()])
    best = ideal[np.minimum(relevant.sum(axis=1), len(ideal) - 1)]
    return _defined(relevant, (relevant[:, :k] @ discounts[:k]) / np.maximum(best, 1e-300))


def _defined(relevant: Relevance, values: Any) -> Values:
    return np.where(relevant.any(axis=1), values, np.nan)


# Exact expected values for a random order: `right` of `items` are relevant. ---------------------------------------


def hit_by_chance(right: Values, items: int, k: int) -> Values:
    """Return Hit@k of a random order: one minus the probability of k misses without replacement."""
    missed = np.ones_like(right, dtype=np.float64)
    for drawn in range(min(k, items)):
        missed *= np.clip((items - right - drawn) / (items - drawn), 0, 1)
    return 1 - missed


def recall_by_chance(right: Values, items: int, k: int) -> Values:
    """Return R@k of a random order."""
    return min(k, items) * right / items / np.clip(right, 1, k)


def precision_by_chance(right: Values, items: int, k: int) -> Values:
    """Return P@k of a random order."""
    return np.asarray(right / items, dtype=np.float64)


def average_precision_by_chance(right: Values, items: int) -> Values:
    """Return AP of a random order."""
    harmonic = (1 / np.arange(1, items + 1)).sum()
    others = (right - 1) / max(1, items - 1)
    return np.asarray((harmonic + others * (items - harmonic)) / items, dtype=np.float64)


def ndcg_by_chance(right: Values, items: int, k: int) -> Values:
    """Return nDCG@k of a random order."""
    discounts = 1 / np.log2(np.arange(2, items + 2))
    ideal = np.concatenate([[0.0], discounts[:k].cumsum()])
    best = ideal[np.minimum(right.astype(int), len(ideal) - 1)]
    return np.asarray(right / items * discounts[:k].sum() / np.maximum(best, 1e-300), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, and its value for a random order."""

    name: str
    of: Callable[[Relevance], Values]
    by_chance: Callable[[Values, int], Values]


def _at(name: str, k: int, of: Callable[..., Values], by_chance: Callable[..., Values]) -> Metric:
    return Metric(f"{name}@{k}", partial(of, k=k), partial(by_chance, k=k))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {metric.name: metric for k in (1, 5, 10) for metric in (_at("R", k, recall, recall_by_chance),)}
    | {metric.name: metric for k in (5, 10) for metric in (_at("hit", k, hit, hit_by_chance),)}
    | {
        "P@10": _at("P", 10, precision, precision_by_chance),
        "nDCG@10": _at("nDCG", 10, ndcg, ndcg_by_chance),
        "mAP": Metric("mAP", average_precision, average_precision_by_chance),
        "top-1": Metric("top-1", partial(hit, k=1), partial(hit_by_chance, k=1)),
        "top-5": Metric("top-5", partial(hit, k=5), partial(hit_by_chance, k=5)),
    }
)
"""By name. Top-n is hit@n with labels as items."""


# Intervals --------------------------------------------------------------------------------------------------------


def interval(
    values: Values, groups: NDArray[np.intp] | None = None, *, weights: Values | None = None, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the weighted mean of values.

    Values of one group (clips of one recording, captions of one photo) are drawn together. NaN is ignored.
    """
    kept = ~np.isnan(values)
    if not kept.any():
        return float("nan"), float("nan")
    codes = np.arange(len(values)) if groups is None else groups
    _, group_of = np.unique(codes[kept], return_inverse=True)
    kept_weights = np.ones(int(kept.sum())) if weights is None else weights[kept]
    sums = np.bincount(group_of, weights=values[kept] * kept_weights)
    totals = np.bincount(group_of, weights=kept_weights)
    rng = np.random.default_rng(seed)
    means = [_resampled_mean(sums, totals, rng) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _resampled_mean(sums: NDArray[Any], totals: NDArray[Any], rng: np.random.Generator) -> float:
    rows = rng.integers(0, len(sums), len(sums))
    return float(sums[rows].sum() / totals[rows].sum())


def mean(values: Values, weights: Values | None = None) -> float:
    """Return the weighted mean of the values that are not NaN; NaN if there are none."""
    kept = ~np.isnan(values)
    if not kept.any():
        return float("nan")
    return float(np.average(values[kept], weights=None if weights is None else weights[kept]))
