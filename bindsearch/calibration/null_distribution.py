"""What strangers find: how questions about something else score against vectors of a library.

The best scores of strangers would be taken for chance even where they are answered: no list of questions is about
nothing that anybody collects. So the best scores come from stand-ins: random mixtures of all strangers, which are about
nothing. BackgroundQueries only say where the scores of stand-ins begin and how far they spread, by ranks that true
matches
do not reach. Words are whitened before they are scored, each by strangers of other forms. Why so, and what was
measured: the decision record on expectations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bindsearch.calibration.whitening import Matrix, Whitening
from bindsearch.types import Ids, Scores, Vectors

SAMPLE = 1_024
"""Vectors of a modality that strangers are scored against, at most."""
STRANGERS = 512
STAND_INS = 1_024
CENTRING = 0.5
"""The share of what all queries have in common that is taken from a query: it finds the same few things for all."""
LOWEST, HIGHEST = -3.0, 1.0
"""A query may be nearer to all that is searched than strangers are. Scores are lowered for that by at most one spread
of theirs, for a collection may be about nothing but what is asked for; and raised, where it is farther, by three."""
GROUND = 1e-4
"""What a spread is at least."""
STRETCH = (0.5, 2.0)
"""Between these, the scores of stand-ins are stretched to those of strangers."""
FIRST, LAST = 0.02, 0.2
"""They are compared at ranks between these shares of the sample. The places before may belong to true matches..."""
FEW = 10
"""...but in fewer vectors than this there are no others: the lower ones among the best scores serve."""
_LOWER = np.linspace(0.1, 0.7, 13)
_SHARES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
MIDDLE = _SHARES.index(0.5)
PEAKS = np.array([0.69, 0.3, 0.1, 0.03, 0.01])
"""How many hits a level is to give by chance, where only the best score of each counts."""
_SEEN = np.geomspace(0.69, 0.03, 10)
"""Those at which it is looked up; as many as the best scores of all stand-ins tell."""
LEVELS = len(_SHARES) + len(PEAKS)
_SPREAD = 1.4826
"""Of a normal variable, in median deviations."""

HUB = 1.25
"""Scores of a vector where strangers' scores vary more than is typical are divided by at most this; and multiplied,
where they vary less."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How scores are corrected before they are compared with chance."""

    centring: bool = True
    """Whether what all queries have in common counts less, and so do directions in which words vary much."""
    hubness: bool = False
    """Whether scores count less where those of strangers vary much: hubs answer whatever is asked."""

    @property
    def share(self) -> np.float32:
        """How much of what queries have in common is taken away."""
        return np.float32(CENTRING if self.centring else 0.0)


@dataclass(frozen=True, eq=False)
class Tried:
    """Queries that are scored, and what queries of their kind have in common, both as they are whitened."""

    vectors: Vectors
    """*Shape:* (n, dim)"""
    common: Vectors
    """*Shape:* (n or 1, dim)"""

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Tried:
        """Make room for so many."""
        return cls(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))

    def aims(self, manner: CalibrationOptions) -> Vectors:
        """Centre them. *Shape:* (n, dim)"""
        aims: Vectors = self.vectors - manner.share * self.common
        return aims


@dataclass(frozen=True, eq=False)
class BackgroundQueries:
    """Questions of one kind that are about something else."""

    vectors: Vectors
    """*Shape:* (n, dim)"""
    owners: Ids | None = None
    """The item that each is part of, if they are of the library: none is scored against its own."""
    borrowed: bool = False
    """Whether they are of another kind, for there are none of this one."""
    whitening: Whitening | None = None
    """How they are whitened; None if they are not."""

    @cached_property
    def mean(self) -> Vectors:
        """What they have in common. *Shape:* (dim,)"""
        mean: Vectors = self.vectors.mean(axis=0)
        return mean

    @cached_property
    def deviations(self) -> Vectors:
        """How each differs from the mean: the length of what this makes of a vector is how much scores vary there."""
        deviations: Vectors = (self.vectors - self.mean) / np.float32(math.sqrt(len(self.vectors)))
        return deviations if self.whitener is None else deviations @ self.whitener

    @cached_property
    def whitener(self) -> Vectors | None:
        """Return what queries of this kind are multiplied by; None if they are not. *Shape:* (dim, dim)"""
        return None if self.whitening is None else self._scaled(self.whitening.matrix(self.vectors))

    @cached_property
    def tried(self) -> tuple[Tried, Tried]:
        """Return what is scored: all of them, and STAND_INS random mixtures of them, always the same ones."""
        chance, common = np.random.default_rng(0), self.mean[None, :]
        if self.whitening is None:
            return Tried(self.vectors, common), Tried(_mixtures(self.vectors, self.mean, STAND_INS, chance), common)
        folds = list(self.whitening.folds())
        real, made = Tried.empty(self.vectors.shape), Tried.empty((STAND_INS, self.vectors.shape[1]))
        for (own, others), mine in zip(folds, np.array_split(np.arange(STAND_INS), len(folds)), strict=True):
            whitener = self._scaled(self.whitening.matrix(self.vectors[others]))
            mixed = _mixtures(self.vectors[own], self.mean, len(mine), chance)
            for tried, places, vectors in ((real, own, self.vectors[own]), (made, mine, mixed)):
                tried.vectors[places], tried.common[places] = vectors @ whitener, common @ whitener
        return real, made

    def _scaled(self, matrix: Matrix) -> Vectors:
        scaled: Vectors = (self._scale * matrix).astype(np.float32)
        return scaled

    @cached_property
    def _scale(self) -> float:
        """What keeps them as far from their mean as they were, so that each part of a query keeps its weight."""
        assert self.whitening is not None
        far = self.vectors - self.mean
        whitened = np.linalg.norm(far @ self.whitening.matrix(self.vectors))
        return float((np.linalg.norm(far) + GROUND) / (whitened + GROUND))


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors of one modality, spread evenly over those of the library. *Shapes:* (n, dim), (n,)"""

    vectors: Vectors
    owners: Ids
    each: float = 1.0
    """How many segments of this modality an item has that has any, on average."""

    @cached_property
    def mean(self) -> Vectors:
        """*Shape:* (dim,)"""
        mean: Vectors = self.vectors.mean(axis=0)
        return mean


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """What strangers of one kind find in one modality."""

    levels: Floats
    """Scores, ascending. *Shape:* (LEVELS,)"""
    expected: Floats
    """How many of a vector searched are at least as good, by chance: logarithms. *Shape:* (LEVELS,)"""
    offset: float
    """How a stranger scores against the mean of all that is searched..."""
    slack: float
    """...and how much that differs between strangers."""
    typical: float
    """How much the scores of strangers vary at most vectors."""

    @classmethod
    def of(cls, strangers: BackgroundQueries, sample: Sample, manner: CalibrationOptions) -> NullDistribution:
        """Score strangers and stand-ins against a sample."""
        strange, mixed = (tried.aims(manner) for tried in strangers.tried)
        middle = sample.mean
        nearness = strange @ middle
        offset = float(np.median(nearness))
        slack = max(GROUND, float(np.median(np.abs(nearness - offset))) * _SPREAD)
        if strangers.borrowed:  # then it tells nothing how near a query is to everything
            slack = math.inf

        spreads = np.linalg.norm(strangers.deviations @ sample.vectors.T, axis=0)
        typical = max(GROUND, float(np.median(spreads)))

        def scores(aims: Vectors) -> Scores:
            found: Scores = aims @ sample.vectors.T - lowered(aims @ middle, offset, slack)[:, None]
            return found / hubs(spreads, typical) if manner.hubness else found

        real, made = scores(strange), scores(mixed)
        if strangers.owners is not None:
            real[strangers.owners[:, None] == sample.owners[None, :]] = -np.inf
        return cls(_levels(real, made), _expected(len(sample.vectors)), offset, slack, typical)


def _mixtures(rows: Vectors, mean: Vectors, count: int, chance: np.random.Generator) -> Vectors:
    """Mix some strangers at random, around what all have in common. *Shape:* (count, dim)"""
    weights = chance.standard_normal((count, len(rows)), dtype=np.float32)
    mixed = weights @ ((rows - mean) / np.float32(math.sqrt(len(rows)))) + mean
    unit: Vectors = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), np.float32(GROUND))
    return unit


def hubs(spreads: Vectors, typical: float) -> Vectors:
    """Return what scores are divided by, from how much strangers' scores vary there."""
    hubs: Vectors = np.clip(spreads / np.float32(typical), 1 / HUB, HUB).astype(np.float32)
    return hubs


def lowered(near: Vectors, offset: float, slack: float) -> Vectors:
    """Return by how much scores are lowered for queries that score so against the mean of all that is searched."""
    lowered: Vectors = np.clip(near - np.float32(offset), LOWEST * slack, HIGHEST * slack).astype(np.float32)
    return lowered


def _ranks(count: int) -> Ids:
    """Return the ranks at which levels are looked up, in a sample of so many."""
    return np.maximum(1, np.round(np.array(_SHARES) * count)).astype(np.int64)


def _expected(count: int) -> Floats:
    middle_of_rank = _ranks(count) - 0.31  # half of all samples have fewer than so many above their k-th best
    expected: Floats = np.log(np.concatenate([middle_of_rank, PEAKS]) / count)
    return expected


def _levels(real: Scores, made: Scores) -> Floats:
    """Return the levels of stand-ins, brought to where strangers are. *Shapes:* (questions, sample)"""
    best = made.max(axis=1)
    tail = np.polyfit(np.log(_SEEN), np.quantile(best, np.exp(-_SEEN)), 1)  # slower than the tail of normal variables
    levels = np.concatenate([_medians(made, _ranks(made.shape[1])), np.polyval(tail, np.log(PEAKS))])
    begin, stretch = _fitted(real, made)
    rising: Floats = np.maximum.accumulate(begin + stretch * levels.astype(np.float64)) + 1e-9 * np.arange(LEVELS)
    return rising


def _fitted(real: Scores, made: Scores) -> tuple[float, float]:
    """Say how the scores of stand-ins become those of strangers: where they begin, and how they are stretched."""
    count = real.shape[1]
    if count < FEW:
        theirs, ours = (np.quantile(scores.max(axis=1), _LOWER) for scores in (real, made))
    else:
        ranks = np.unique(np.round(np.linspace(max(1, FIRST * count), LAST * count, 8)).astype(np.int64))
        theirs, ours = _medians(real, ranks), _medians(made, ranks)
    spread = float(ours.var())
    stretch = float(((ours - ours.mean()) * (theirs - theirs.mean())).mean()) / spread if spread > GROUND**2 else 1.0
    stretch = min(max(stretch, STRETCH[0]), STRETCH[1])
    return float(theirs.mean() - stretch * ours.mean()), stretch


def _medians(scores: Scores, ranks: Ids) -> Floats:
    """Return the median, over questions, of the k-th best score, for some k."""
    ordered = np.sort(scores, axis=1)
    medians: Floats = np.median(ordered[:, scores.shape[1] - ranks], axis=0).astype(np.float64)
    return medians
