"""Measures of ranked lists, with what chance would give, and intervals by resampling. Needs numpy alone.

`own` is a matrix of truth in the order of the ranking: row by query, column by rank, True where the item belongs to
the query. Every measure gives one value a query; a query without items of its own gives NaN and counts nowhere.
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

Own = NDArray[np.bool_]
Order = NDArray[np.intp]
Values = NDArray[np.float64]
RESAMPLES = 2000
LEVEL = 0.95


def ordered(scores: Scores, *, seed: int = 0) -> Order:
    """Rank items for each query, best first; ties by chance, so that a space that tells nothing apart gains nothing.

    *Shape:* (queries, items)
    """
    shuffled = np.random.default_rng(seed).permutation(scores.shape[1])
    order: Order = shuffled[np.argsort(-scores[:, shuffled], axis=1, kind="stable")]
    return order


def hit(own: Own, k: int) -> Values:
    """Hit@k: 1 where one of the first k is right."""
    return _known(own, own[:, :k].any(axis=1).astype(np.float64))


def recall(own: Own, k: int) -> Values:
    """R@k: right ones among the first k, as a share of all right ones, or of k where there are more than k."""
    return _known(own, own[:, :k].sum(axis=1) / np.clip(own.sum(axis=1), 1, k))


def precision(own: Own, k: int) -> Values:
    """P@k: the share of right ones among the first k."""
    return _known(own, own[:, :k].mean(axis=1))


def average_precision(own: Own) -> Values:
    """AP: the mean, over the right ones, of the precision down to each; its mean over queries is mAP."""
    precisions = own.cumsum(axis=1) / np.arange(1, own.shape[1] + 1)
    return _known(own, (precisions * own).sum(axis=1) / np.maximum(1, own.sum(axis=1)))


def ndcg(own: Own, k: int) -> Values:
    """NDCG@k: right ones count by the inverse logarithm of their rank, as a share of the best possible."""
    discounts = 1 / np.log2(np.arange(2, own.shape[1] + 2))
    ideal = np.concatenate([[0.0], discounts[:k].cumsum()])
    best = ideal[np.minimum(own.sum(axis=1), len(ideal) - 1)]
    return _known(own, (own[:, :k] @ discounts[:k]) / np.maximum(best, 1e-300))


def _known(own: Own, values: Any) -> Values:
    return np.where(own.any(axis=1), values, np.nan)


# What a random order gives, exactly: `right` of `items` are right. ------------------------------------------------


def hit_by_chance(right: Values, items: int, k: int) -> Values:
    """Hit@k of a random order: one minus the chance to miss k times without putting back."""
    missed = np.ones_like(right, dtype=np.float64)
    for drawn in range(min(k, items)):
        missed *= np.clip((items - right - drawn) / (items - drawn), 0, 1)
    return 1 - missed


def recall_by_chance(right: Values, items: int, k: int) -> Values:
    """R@k of a random order."""
    return min(k, items) * right / items / np.clip(right, 1, k)


def precision_by_chance(right: Values, items: int, k: int) -> Values:
    """P@k of a random order."""
    return np.asarray(right / items, dtype=np.float64)


def average_precision_by_chance(right: Values, items: int) -> Values:
    """AP of a random order."""
    harmonic = (1 / np.arange(1, items + 1)).sum()
    others = (right - 1) / max(1, items - 1)
    return np.asarray((harmonic + others * (items - harmonic)) / items, dtype=np.float64)


def ndcg_by_chance(right: Values, items: int, k: int) -> Values:
    """NDCG@k of a random order."""
    discounts = 1 / np.log2(np.arange(2, items + 2))
    ideal = np.concatenate([[0.0], discounts[:k].cumsum()])
    best = ideal[np.minimum(right.astype(int), len(ideal) - 1)]
    return np.asarray(right / items * discounts[:k].sum() / np.maximum(best, 1e-300), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure, and what it would be by chance."""

    name: str
    of: Callable[[Own], Values]
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
"""By name. Top-n is hit@n where the items are labels."""


# Intervals --------------------------------------------------------------------------------------------------------


def interval(
    values: Values, groups: NDArray[np.intp] | None = None, *, weights: Values | None = None, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the weighted mean of values.

    Values of one group (clips of one recording, captions of one photo) are drawn together. NaN is left out.
    """
    kept = ~np.isnan(values)
    if not kept.any():
        return float("nan"), float("nan")
    codes = np.arange(len(values)) if groups is None else groups
    _, whose = np.unique(codes[kept], return_inverse=True)
    heavy = np.ones(int(kept.sum())) if weights is None else weights[kept]
    sums = np.bincount(whose, weights=values[kept] * heavy)
    totals = np.bincount(whose, weights=heavy)
    chance = np.random.default_rng(seed)
    means = [_drawn(sums, totals, chance) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _drawn(sums: NDArray[Any], totals: NDArray[Any], chance: np.random.Generator) -> float:
    rows = chance.integers(0, len(sums), len(sums))
    return float(sums[rows].sum() / totals[rows].sum())


def mean(values: Values, weights: Values | None = None) -> float:
    """Return the weighted mean of the values that are there; NaN if none is."""
    kept = ~np.isnan(values)
    if not kept.any():
        return float("nan")
    return float(np.average(values[kept], weights=None if weights is None else weights[kept]))
