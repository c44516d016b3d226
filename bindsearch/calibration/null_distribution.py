"""The null distribution: how unrelated queries of one kind score against the vectors of one modality.

Its tail cannot be fitted on background queries directly: whatever they are about, some libraries contain it, and then
their best scores are true matches. So the tail is fitted on synthetic null queries, random mixtures of all background
queries, which have the same mean and covariance but are about nothing. The background queries only set location and
scale, at ranks that true matches do not reach. Text queries are whitened before they are scored, each by background
queries of other forms (`whitening`). Reasons and measurements: docs/adr/0011-e-values.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bindsearch.calibration.whitening import Matrix, Whitening
from bindsearch.types import Ids, Scores, Vectors

MAX_SAMPLE = 1_024
"""Vectors of a modality that queries are scored against, at most."""
MAX_BACKGROUND_QUERIES = 512
SYNTHETIC_QUERIES = 1_024
CENTRING_SHARE = 0.5
"""The share of the mean of all queries of a kind that is subtracted from a query: what all queries have in common finds
the same few items for each of them."""
MIN_SHIFT, MAX_SHIFT = -3.0, 1.0
"""Limits of `centroid_shift`, in scales. Where a query is nearer to everything searched than background queries are,
its scores are lowered by at most one scale, because a collection may hold nothing but what the query describes. Where
it is farther away, its scores are raised by at most three."""
MIN_SPREAD = 1e-4
STRETCH_LIMITS = (0.5, 2.0)
"""Limits of the factor that maps scores of synthetic queries to those of background queries."""
FIRST_MATCHED_SHARE, LAST_MATCHED_SHARE = 0.02, 0.2
"""Ranks, as shares of the sample, between which scores of background and synthetic queries are matched. Better ranks
may be those of true matches."""
MIN_SAMPLE_FOR_RANKS = 10
"""A smaller sample has no such ranks; the lower quantiles of the best scores are matched instead."""
MATCHED_QUANTILES = np.linspace(0.1, 0.7, 13)
RANK_SHARES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
"""Ranks, as shares of the sample, at which scores are tabulated."""
MEDIAN_RANK = RANK_SHARES.index(0.5)
TAIL_RATES = np.array([0.69, 0.3, 0.1, 0.03, 0.01])
"""Chance hits per search at which the tail is tabulated, where only each query's best score counts."""
OBSERVED_TAIL_RATES = np.geomspace(0.69, 0.03, 10)
"""Chance hits per search at which the tail is fitted: those that the best scores of all synthetic queries show."""
RANK_COUNT = len(RANK_SHARES) + len(TAIL_RATES)
MAD_TO_SIGMA = 1.4826
"""Standard deviation of a normal variable in median absolute deviations."""
MAX_HUB_FACTOR = 1.25
"""A segment's scores are divided by at most this where background scores vary more than is typical, and multiplied by
at most this where they vary less."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CalibrationOptions:
    """How scores are corrected before they are compared with the null distribution."""

    centring: bool = True
    """Whether queries are centred, and text queries whitened."""
    hubness: bool = False
    """Whether scores of hubs are reduced: segments at which background scores vary much answer any query."""

    @property
    def centring_share(self) -> np.float32:
        """The share of the mean query that is subtracted."""
        return np.float32(CENTRING_SHARE if self.centring else 0.0)


@dataclass(frozen=True, eq=False)
class ScoredQueries:
    """Null queries as they are scored, and the mean of their kind, both whitened in the same way."""

    vectors: Vectors
    """*Shape:* (n, dim)"""
    means: Vectors
    """*Shape:* (n or 1, dim)"""

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> ScoredQueries:
        """Allocate room for queries of a shape."""
        return cls(np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32))

    def centred(self, options: CalibrationOptions) -> Vectors:
        """Return the centred queries. *Shape:* (n, dim)"""
        centred: Vectors = self.vectors - options.centring_share * self.means
        return centred


@dataclass(frozen=True, eq=False)
class BackgroundQueries:
    """Vectors of queries of one kind that have nothing to do with the library."""

    vectors: Vectors
    """*Shape:* (n, dim)"""
    owners: Ids | None = None
    """For vectors of the library itself, the item of each: none is scored against its own item."""
    borrowed: bool = False
    """Whether they are queries of another kind, because there are too few of this kind."""
    whitening: Whitening | None = None
    """How queries of this kind are whitened; None if they are not."""

    @cached_property
    def mean(self) -> Vectors:
        """*Shape:* (dim,)"""
        mean: Vectors = self.vectors.mean(axis=0)
        return mean

    @cached_property
    def deviations(self) -> Vectors:
        """Deviations from the mean, scaled so that `norm(deviations @ x)` is the spread of background scores at `x`."""
        deviations: Vectors = (self.vectors - self.mean) / np.float32(math.sqrt(len(self.vectors)))
        return deviations if self.whitener is None else deviations @ self.whitener

    @cached_property
    def whitener(self) -> Vectors | None:
        """The matrix that whitens queries of this kind; None if they are not whitened. *Shape:* (dim, dim)"""
        return None if self.whitening is None else self._rescaled(self.whitening.matrix(self.vectors))

    @cached_property
    def scored(self) -> tuple[ScoredQueries, ScoredQueries]:
        """All background queries, and SYNTHETIC_QUERIES seeded random mixtures of them, ready to be scored."""
        rng, mean = np.random.default_rng(0), self.mean[None, :]
        if self.whitening is None:
            mixed = _mixtures(self.vectors, self.mean, SYNTHETIC_QUERIES, rng)
            return ScoredQueries(self.vectors, mean), ScoredQueries(mixed, mean)
        folds = list(self.whitening.folds())
        background = ScoredQueries.empty(self.vectors.shape)
        synthetic = ScoredQueries.empty((SYNTHETIC_QUERIES, self.vectors.shape[1]))
        shares = np.array_split(np.arange(SYNTHETIC_QUERIES), len(folds))
        for (fold, others), rows in zip(folds, shares, strict=True):
            whitener = self._rescaled(self.whitening.matrix(self.vectors[others]))
            mixed = _mixtures(self.vectors[fold], self.mean, len(rows), rng)
            for queries, places, vectors in ((background, fold, self.vectors[fold]), (synthetic, rows, mixed)):
                queries.vectors[places], queries.means[places] = vectors @ whitener, mean @ whitener
        return background, synthetic

    def _rescaled(self, matrix: Matrix) -> Vectors:
        rescaled: Vectors = (self._scale * matrix).astype(np.float32)
        return rescaled

    @cached_property
    def _scale(self) -> float:
        """Factor that keeps whitened queries as far from their mean as before, so that operands keep their weight."""
        assert self.whitening is not None
        deviations = self.vectors - self.mean
        whitened = np.linalg.norm(deviations @ self.whitening.matrix(self.vectors))
        return float((np.linalg.norm(deviations) + MIN_SPREAD) / (whitened + MIN_SPREAD))


@dataclass(frozen=True, eq=False)
class Sample:
    """Vectors of one modality, spread evenly over those of the library. *Shapes:* (n, dim), (n,)"""

    vectors: Vectors
    owners: Ids
    segments_per_item: float = 1.0
    """Mean number of segments of this modality, over the items that have any."""

    @cached_property
    def centroid(self) -> Vectors:
        """*Shape:* (dim,)"""
        centroid: Vectors = self.vectors.mean(axis=0)
        return centroid


@dataclass(frozen=True, eq=False)
class NullDistribution:
    """The distribution of scores of unrelated queries of one kind in one modality."""

    scores: Floats
    """Tabulated scores, ascending. *Shape:* (RANK_COUNT,)"""
    log_rates: Floats
    """Log of the expected number of chance hits at least as good, per vector searched. *Shape:* (RANK_COUNT,)"""
    location: float
    """Median similarity of background queries to the centroid of what is searched."""
    scale: float
    """Spread of that similarity among background queries; infinite if these are borrowed."""
    typical_spread: float
    """Median, over the sample, of the spread of background scores at one vector."""

    @classmethod
    def fit(cls, queries: BackgroundQueries, sample: Sample, options: CalibrationOptions) -> NullDistribution:
        """Score background and synthetic queries against a sample, and tabulate the result."""
        background, synthetic = (each.centred(options) for each in queries.scored)
        similarities = background @ sample.centroid
        location = float(np.median(similarities))
        scale = max(MIN_SPREAD, float(np.median(np.abs(similarities - location))) * MAD_TO_SIGMA)
        if queries.borrowed:  # queries of another kind do not show how near queries of this kind are to everything
            scale = math.inf
        spreads = np.linalg.norm(queries.deviations @ sample.vectors.T, axis=0)
        typical_spread = max(MIN_SPREAD, float(np.median(spreads)))

        def scored(rows: Vectors) -> Scores:
            shifts = centroid_shift(rows @ sample.centroid, location, scale)
            scores: Scores = rows @ sample.vectors.T - shifts[:, None]
            return scores / hub_factors(spreads, typical_spread) if options.hubness else scores

        background_scores, synthetic_scores = scored(background), scored(synthetic)
        if queries.owners is not None:
            background_scores[queries.owners[:, None] == sample.owners[None, :]] = -np.inf
        table = _tabulated(background_scores, synthetic_scores)
        return cls(table, _log_rates(len(sample.vectors)), location, scale, typical_spread)


def hub_factors(spreads: Vectors, typical_spread: float) -> Vectors:
    """Return the divisors of scores at vectors where background scores have these spreads."""
    factors: Vectors = np.clip(spreads / np.float32(typical_spread), 1 / MAX_HUB_FACTOR, MAX_HUB_FACTOR)
    return factors.astype(np.float32)


def centroid_shift(similarities: Vectors, location: float, scale: float) -> Vectors:
    """Return what to subtract from scores, by the query's similarity to the centroid of what is searched."""
    shift: Vectors = np.clip(similarities - np.float32(location), MIN_SHIFT * scale, MAX_SHIFT * scale)
    return shift.astype(np.float32)


def _mixtures(rows: Vectors, mean: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    """Return random mixtures of rows around a mean, with normal weights, at unit length. *Shape:* (count, dim)"""
    weights = rng.standard_normal((count, len(rows)), dtype=np.float32)
    mixed = weights @ ((rows - mean) / np.float32(math.sqrt(len(rows)))) + mean
    unit: Vectors = mixed / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), np.float32(MIN_SPREAD))
    return unit


def _ranks(count: int) -> Ids:
    """Return the ranks at which scores are tabulated, in a sample of `count` vectors."""
    return np.maximum(1, np.round(np.array(RANK_SHARES) * count)).astype(np.int64)


def _log_rates(count: int) -> Floats:
    median_rank = _ranks(count) - 0.31  # in half of all samples, fewer than this are expected above the k-th best
    rates: Floats = np.log(np.concatenate([median_rank, TAIL_RATES]) / count)
    return rates


def _tabulated(background: Scores, synthetic: Scores) -> Floats:
    """Return the scores of synthetic queries at all ranks, mapped to background queries. *Shapes:* (queries, sample)"""
    best = synthetic.max(axis=1)
    # linear in the logarithm: an exponential tail, which falls more slowly than that of normal variables
    tail = np.polyfit(np.log(OBSERVED_TAIL_RATES), np.quantile(best, np.exp(-OBSERVED_TAIL_RATES)), 1)
    ranked = _median_scores(synthetic, _ranks(synthetic.shape[1]))
    scores = np.concatenate([ranked, np.polyval(tail, np.log(TAIL_RATES))])
    offset, factor = _matched(background, synthetic)
    rising: Floats = np.maximum.accumulate(offset + factor * scores.astype(np.float64)) + 1e-9 * np.arange(RANK_COUNT)
    return rising


def _matched(background: Scores, synthetic: Scores) -> tuple[float, float]:
    """Fit offset and factor that map scores of synthetic queries to those of background queries."""
    count = background.shape[1]
    if count < MIN_SAMPLE_FOR_RANKS:
        theirs, ours = (np.quantile(scores.max(axis=1), MATCHED_QUANTILES) for scores in (background, synthetic))
    else:
        first, last = max(1, FIRST_MATCHED_SHARE * count), LAST_MATCHED_SHARE * count
        ranks = np.unique(np.round(np.linspace(first, last, 8)).astype(np.int64))
        theirs, ours = _median_scores(background, ranks), _median_scores(synthetic, ranks)
    variance = float(ours.var())
    covariance = float(((ours - ours.mean()) * (theirs - theirs.mean())).mean())
    factor = covariance / variance if variance > MIN_SPREAD**2 else 1.0
    factor = min(max(factor, STRETCH_LIMITS[0]), STRETCH_LIMITS[1])
    return float(theirs.mean() - factor * ours.mean()), factor


def _median_scores(scores: Scores, ranks: Ids) -> Floats:
    """Return the median over queries of the k-th best score, for each rank k."""
    ordered = np.sort(scores, axis=1)
    medians: Floats = np.median(ordered[:, scores.shape[1] - ranks], axis=0).astype(np.float64)
    return medians
