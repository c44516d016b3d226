"""One question put to a space: queries, items, and which belong together; answered with figures and their controls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.metrics import METRICS, Metric, Order, Own, Values, interval, mean, ordered
from bindsearch.types import Vectors

Codes = NDArray[np.intp]
PERMUTATIONS = 50
"""At most so many shuffles make the control."""
CONTROLLED = 40_000_000
"""Shuffles are fewer where they would look at more pairs than this."""
BLOCK = 4_000_000
"""Pairs that are scored at a time."""


@dataclass(frozen=True, slots=True)
class RetrievalTask:
    """Which items belong to each query. Concepts are numbers from 0; an item may have several."""

    queries: Vectors
    asked: Codes
    """The concept of each query."""
    items: Vectors
    truth: Codes | NDArray[np.bool_]
    """The concept of each item, or a table item by concept."""
    groups: Codes
    """Queries of one group are no independent evidence."""
    by_concept: bool = False
    """Whether every concept counts the same, however many queries it has."""

    def concepts(self) -> Codes:
        """Return the concepts that items have."""
        return np.unique(self.truth) if self.truth.ndim == 1 else np.flatnonzero(self.truth.any(axis=0))

    def weights(self) -> Values:
        """Return what each query counts."""
        counts = np.bincount(self.asked)[self.asked]
        return 1 / counts if self.by_concept else np.ones(len(self.asked))


@dataclass(frozen=True, slots=True)
class Score:
    """One line of the table."""

    data: str
    task: str
    metric: str
    score: float
    low: float
    high: float
    """The bootstrap's 95 % interval."""
    chance: float
    """What a random order gives, exactly."""
    control: float
    """The same, with the concepts of the queries shuffled: the mean over seeded permutations."""
    queries: int
    items: int

    @property
    def above_chance(self) -> float:
        """How much of the way from chance to perfect was gone."""
        return (self.score - self.chance) / (1 - self.chance) if self.chance < 1 else float("nan")

    def as_json(self) -> dict[str, str | int | float | None]:
        """Plain values, ready for `json.dumps`."""
        plain = {name: getattr(self, name) for name in ("data", "task", "metric", "queries", "items")}
        figures = {name: getattr(self, name) for name in ("score", "low", "high", "chance", "control", "above_chance")}
        return plain | {name: None if np.isnan(value) else round(value, 6) for name, value in figures.items()}


def answer(question: RetrievalTask, names: Sequence[str], *, data: str, task: str, seed: int) -> list[Score]:
    """Measure. Nothing is given where no query has an item of its own."""
    metrics, weights, count = [METRICS[name] for name in names], question.weights(), len(question.items)
    values, controls, right = _valued(question, metrics, seed)
    asked = right > 0
    if not asked.any():
        return []
    scores = []
    for metric in metrics:
        low, high = interval(values[metric.name], question.groups, weights=weights, seed=seed)
        by_chance = mean(np.where(asked, metric.by_chance(np.maximum(right, 1), count), np.nan), weights)
        found = mean(values[metric.name], weights)
        control = controls[metric.name]
        scores.append(Score(data, task, metric.name, found, low, high, by_chance, control, int(asked.sum()), count))
    return scores


def shuffles(concepts: Codes, pairs: int, *, seed: int) -> list[Codes]:
    """Return seeded permutations of some concepts, each as a table from concept to concept.

    They are drawn from all permutations there are, so that one in n concepts stays itself: only then is the expected
    top-1 of n labels exactly chance.
    """
    chance = np.random.default_rng(seed)
    tables = []
    for _ in range(int(np.clip(CONTROLLED // max(1, pairs), 1, PERMUTATIONS))):
        table = np.arange(int(concepts.max()) + 1)
        table[concepts] = chance.permutation(concepts)
        tables.append(table)
    return tables


def _valued(
    question: RetrievalTask, metrics: Sequence[Metric], seed: int
) -> tuple[Mapping[str, Values], Mapping[str, float], Values]:
    """Return each query's values by measure, the controls' means, and how many items are right for each query."""
    tables = shuffles(question.concepts(), len(question.queries) * len(question.items), seed=seed)
    values: dict[str, list[Values]] = {metric.name: [] for metric in metrics}
    controls: dict[str, list[float]] = {metric.name: [] for metric in metrics}
    right, weights, sizes = [], question.weights(), []
    for block, order in _ranked(question, seed):
        known = np.isin(question.asked[block], question.concepts())
        own = _own(question.truth, question.asked[block], order)
        right.append(own.sum(axis=1).astype(np.float64))
        sizes.append(weights[block][known].sum())
        for metric in metrics:
            values[metric.name].append(metric.of(own))
        shuffled = [_own(question.truth, table[question.asked[block][known]], order[known]) for table in tables]
        for metric in metrics:
            means = [mean(metric.of(own), weights[block][known]) for own in shuffled] if known.any() else [0.0]
            controls[metric.name].append(float(np.mean(means)))
    joined = {name: np.concatenate(parts) for name, parts in values.items()}
    averaged = {name: float(np.average(parts, weights=sizes)) for name, parts in controls.items() if sum(sizes)}
    return joined, averaged, np.concatenate(right)


def _ranked(question: RetrievalTask, seed: int) -> Iterator[tuple[slice, Order]]:
    step = max(1, BLOCK // max(1, len(question.items)))
    for start in range(0, len(question.queries), step):
        block = slice(start, start + step)
        yield block, ordered(question.queries[block] @ question.items.T, seed=seed)


def _own(truth: Codes | NDArray[np.bool_], asked: Codes, order: Order) -> Own:
    """Say which items belong to each query, in the order of its ranking."""
    own: Own = truth[order] == asked[:, None] if truth.ndim == 1 else truth[order, asked[:, None]].astype(np.bool_)
    return own
