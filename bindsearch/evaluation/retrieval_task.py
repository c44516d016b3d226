"""Scores a retrieval task: queries, items, and which items are relevant to which query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.metrics import METRICS, Metric, Ranking, Relevance, Values, interval, mean, rank_items
from bindsearch.types import Vectors

Codes = NDArray[np.intp]
MAX_PERMUTATIONS = 50
"""Maximum number of permutations that the control is the mean of."""
MAX_PERMUTED_PAIRS = 40_000_000
"""Fewer permutations are used if they would score more pairs of query and item than this."""
BLOCK_PAIRS = 4_000_000
"""Pairs of query and item that are scored at a time."""


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Queries and items with their concepts, which are numbers from 0; an item may have several."""

    queries: Vectors
    query_concepts: Codes
    """The concept of each query."""
    items: Vectors
    item_concepts: Codes | NDArray[np.bool_]
    """The concept of each item, or a boolean matrix of items by concepts."""
    groups: Codes
    """The group of each query; queries of one group are not independent."""
    by_concept: bool = False
    """Whether every concept has the same weight, whatever its number of queries."""

    def concepts(self) -> Codes:
        """Return the concepts of the items."""
        return (
            np.unique(self.item_concepts)
            if self.item_concepts.ndim == 1
            else np.flatnonzero(self.item_concepts.any(axis=0))
        )

    def weights(self) -> Values:
        """Return the weight of each query."""
        counts = np.bincount(self.query_concepts)[self.query_concepts]
        return 1 / counts if self.by_concept else np.ones(len(self.query_concepts))


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one task on one data set."""

    data: str
    task: str
    metric: str
    score: float
    low: float
    high: float
    """The 95 % bootstrap interval."""
    chance: float
    """The exact expected value for a random order."""
    control: float
    """The score with permuted concepts of the queries: the mean over seeded permutations."""
    queries: int
    items: int

    @property
    def above_chance(self) -> float:
        """The position of the score between chance (0) and perfect (1)."""
        return (self.score - self.chance) / (1 - self.chance) if self.chance < 1 else float("nan")

    def as_json(self) -> dict[str, str | int | float | None]:
        """Return plain values, ready for `json.dumps`."""
        plain = {name: getattr(self, name) for name in ("data", "task", "metric", "queries", "items")}
        figures = {name: getattr(self, name) for name in ("score", "low", "high", "chance", "control", "above_chance")}
        return plain | {name: None if np.isnan(value) else round(value, 6) for name, value in figures.items()}


def score_task(retrieval: RetrievalTask, names: Sequence[str], *, data: str, task: str, seed: int) -> list[Score]:
    """Return one score per metric; none if no query has a relevant item."""
    metrics, weights, count = [METRICS[name] for name in names], retrieval.weights(), len(retrieval.items)
    values, controls, relevant_counts = _query_values(retrieval, metrics, seed)
    answerable = relevant_counts > 0
    if not answerable.any():
        return []
    scores = []
    for metric in metrics:
        low, high = interval(values[metric.name], retrieval.groups, weights=weights, seed=seed)
        by_chance = mean(np.where(answerable, metric.by_chance(np.maximum(relevant_counts, 1), count), np.nan), weights)
        found = mean(values[metric.name], weights)
        control = controls[metric.name]
        scores.append(
            Score(data, task, metric.name, found, low, high, by_chance, control, int(answerable.sum()), count)
        )
    return scores


def concept_permutations(concepts: Codes, pairs: int, *, seed: int) -> list[Codes]:
    """Return seeded permutations of some concepts, each as a mapping array from concept to concept.

    They are drawn from all permutations, so that on average one of n concepts keeps its place: only then is the
    expected top-1 of n labels exactly chance.
    """
    rng = np.random.default_rng(seed)
    permutations = []
    for _ in range(int(np.clip(MAX_PERMUTED_PAIRS // max(1, pairs), 1, MAX_PERMUTATIONS))):
        table = np.arange(int(concepts.max()) + 1)
        table[concepts] = rng.permutation(concepts)
        permutations.append(table)
    return permutations


def _query_values(
    retrieval: RetrievalTask, metrics: Sequence[Metric], seed: int
) -> tuple[Mapping[str, Values], Mapping[str, float], Values]:
    """Return each query's values by metric, the means of the controls, and each query's number of relevant items."""
    permutations = concept_permutations(retrieval.concepts(), len(retrieval.queries) * len(retrieval.items), seed=seed)
    values: dict[str, list[Values]] = {metric.name: [] for metric in metrics}
    controls: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    relevant_counts, weights, sizes = [], retrieval.weights(), []
    for block, order in _rankings(retrieval, seed):
        answerable = np.isin(retrieval.query_concepts[block], retrieval.concepts())
        relevant = _relevance(retrieval.item_concepts, retrieval.query_concepts[block], order)
        relevant_counts.append(relevant.sum(axis=1).astype(np.float64))
        sizes.append(weights[block][answerable].sum())
        for metric in metrics:
            values[metric.name].append(metric.of(relevant))
        permuted = [
            _relevance(retrieval.item_concepts, table[retrieval.query_concepts[block][answerable]], order[answerable])
            for table in permutations
        ]
        for metric in metrics:
            means = (
                [mean(metric.of(each), weights[block][answerable]) for each in permuted] if answerable.any() else [0.0]
            )
            controls[metric.name].append(float(np.mean(means)))
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    averaged = {name: float(np.average(parts, weights=sizes)) for name, parts in controls.items() if sum(sizes)}
    return joined, averaged, np.concatenate(relevant_counts)


def _rankings(retrieval: RetrievalTask, seed: int) -> Iterator[tuple[slice, Ranking]]:
    step = max(1, BLOCK_PAIRS // max(1, len(retrieval.items)))
    for start in range(0, len(retrieval.queries), step):
        block = slice(start, start + step)
        yield block, rank_items(retrieval.queries[block] @ retrieval.items.T, seed=seed)


def _relevance(item_concepts: Codes | NDArray[np.bool_], query_concepts: Codes, order: Ranking) -> Relevance:
    """Return which ranked items are relevant to each query."""
    relevant: Relevance = (
        item_concepts[order] == query_concepts[:, None]
        if item_concepts.ndim == 1
        else item_concepts[order, query_concepts[:, None]].astype(np.bool_)
    )
    return relevant
