"""Measured recall: the share of the true nearest neighbours that an index finds, and tuning an index to a target.

Queries of another modality lie off the distribution of the indexed vectors, where approximate indexes miss most. So
recall is measured for each origin of queries by itself, and the worst one counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bindsearch.ports import ApproximateIndex, Refinable
from bindsearch.types import Ids, SearchEffort, Vectors

DEFAULT_TARGET = 0.99
DEPTHS = (10, 100)
"""Recall is measured among this many results."""
MIN_REFINED_SHARE = 1 / 4
"""If this share of the lists is probed and too little is found, the bits of the lists are to blame."""
_Z_95 = 1.96
"""Standard deviations on either side of the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of the true nearest neighbours that is found, with its 95 % interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecallCertificate:
    """The measured recall of an index."""

    at10: Mapping[str, Recall] = field(default_factory=dict)
    """Recall among the best 10, by origin of the queries."""
    at100: Mapping[str, Recall] = field(default_factory=dict)
    queries: int = 0
    target: float = DEFAULT_TARGET
    effort: SearchEffort = field(default_factory=SearchEffort)

    @property
    def worst(self) -> float:
        """The lowest recall@10 of all origins."""
        return min((recall.share for recall in self.at10.values()), default=1.0)

    @property
    def holds(self) -> bool:
        """Whether the target is reached for every origin."""
        return self.worst >= self.target

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return asdict(self) | {"worst": self.worst, "holds": self.holds}


def certify(
    index: ApproximateIndex, queries: Mapping[str, Vectors], *, target: float = DEFAULT_TARGET
) -> RecallCertificate:
    """Measure the recall of an index for queries by their origin. Vectors of the index may be among them."""
    return _measure(index, queries, _true_neighbours(index, queries), target)


def tune(
    index: ApproximateIndex, queries: Mapping[str, Vectors], *, target: float = DEFAULT_TARGET
) -> RecallCertificate:
    """Raise the effort of an index until it reaches the target, or lower it while it finds more; return its recall.

    Where even a wide search finds too little, an index that can refine its codes does so first. This always ends: with
    enough candidates an index compares every vector.
    """
    truth = _true_neighbours(index, queries)
    certificate = _measure(index, queries, truth, target)
    if certificate.holds:
        return _lower_effort(index, queries, truth, certificate) if certificate.queries else certificate
    while True:
        wide = index.effort.share >= MIN_REFINED_SHARE
        if not (wide and isinstance(index, Refinable) and index.refine()):
            index.effort = index.effort.raised()
        certificate = _measure(index, queries, truth, target)
        if certificate.holds:
            return certificate


def _lower_effort(
    index: ApproximateIndex,
    queries: Mapping[str, Vectors],
    truth: Mapping[tuple[str, int], Ids],
    certificate: RecallCertificate,
) -> RecallCertificate:
    """Lower the effort while at most half of the allowed misses occur: with few queries, recall varies by chance."""
    safe = (1 + certificate.target) / 2
    while True:
        before = index.effort
        index.effort = before.lowered()
        if index.effort == before:
            return certificate
        lowered = _measure(index, queries, truth, certificate.target)
        if min(recall.share for depth in (lowered.at10, lowered.at100) for recall in depth.values()) < safe:
            index.effort = before
            return certificate
        certificate = lowered


def _true_neighbours(index: ApproximateIndex, queries: Mapping[str, Vectors]) -> Mapping[tuple[str, int], Ids]:
    return {(origin, k): index.search_exactly(asked, k)[1] for origin, asked in queries.items() for k in DEPTHS}


def _measure(
    index: ApproximateIndex, queries: Mapping[str, Vectors], truth: Mapping[tuple[str, int], Ids], target: float
) -> RecallCertificate:
    at10, at100 = (
        {origin: _recall(index, asked, truth[origin, k]) for origin, asked in queries.items() if len(asked)}
        for k in DEPTHS
    )
    return RecallCertificate(at10, at100, sum(map(len, queries.values())), target, index.effort)


def _recall(index: ApproximateIndex, queries: Vectors, exact: Ids) -> Recall:
    found = index.search(queries, exact.shape[1])[1]
    shares = np.array([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) if exact.size else np.ones(1)
    return _with_wilson_interval(float(shares.mean()), len(shares))


def _with_wilson_interval(share: float, n: int) -> Recall:
    """Return a share with its Wilson interval.

    Each query counts as one trial: the neighbours that it finds or misses are not independent of each other.
    """
    centre = (share + _Z_95**2 / (2 * n)) / (1 + _Z_95**2 / n)
    half = _Z_95 / (1 + _Z_95**2 / n) * math.sqrt(share * (1 - share) / n + _Z_95**2 / (4 * n * n))
    return Recall(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
