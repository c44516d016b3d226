"""What share of the true best an index finds, for the queries that matter; and what is done if that is too little.

Queries of another modality lie off the distribution of what is indexed, where approximate indexes lose most. So the
recall is told for each origin of queries, and the worst one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .candidates import SearchEffort

TARGET = 0.99
AT = (10, 100)
WIDE = 1 / 4
"""Where so large a share of cells is open and too little is found, their bits tell too little."""
_SURE = 1.96
"""Standard deviations either side that hold 95 %."""


class Measurable(Protocol):
    """An index that can be compared with itself, looking at everything."""

    effort: SearchEffort

    def search(self, queries: Vectors, k: int) -> tuple[Scores, Ids]:
        """Find the best, or most of them."""
        ...

    def search_exactly(self, queries: Vectors, k: int) -> tuple[Scores, Ids]:
        """Find the best."""
        ...


@dataclass(frozen=True, slots=True)
class Recall:
    """The share of the true best that is found, with an interval that holds it 19 times in 20."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecallCertificate:
    """What an index finds."""

    at10: Mapping[str, Recall] = field(default_factory=dict)
    """By origin of the queries."""
    at100: Mapping[str, Recall] = field(default_factory=dict)
    queries: int = 0
    target: float = TARGET
    effort: SearchEffort = field(default_factory=SearchEffort)

    @property
    def worst(self) -> float:
        """The recall@10 of the origin for which it is lowest."""
        return min((recall.share for recall in self.at10.values()), default=1.0)

    @property
    def holds(self) -> bool:
        """Whether the target is reached for every origin."""
        return self.worst >= self.target

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self) | {"worst": self.worst, "holds": self.holds}


def certify(index: Measurable, queries: Mapping[str, Vectors], *, target: float = TARGET) -> RecallCertificate:
    """Measure an index with queries by their origin; vectors that are in the index are good ones too."""
    return _measured(index, queries, _truth(index, queries), target)


def mend(index: Measurable, queries: Mapping[str, Vectors], *, target: float = TARGET) -> RecallCertificate:
    """Raise the effort of an index until it finds what it should, or lower it while it finds more; certify that.

    Where even a wide search finds too little, finer bits are kept, if the index can. There is an end: with enough
    candidates an index looks at everything.
    """
    truth = _truth(index, queries)
    certificate = _measured(index, queries, truth, target)
    if certificate.holds:
        return _eased(index, queries, truth, certificate) if certificate.queries else certificate
    while True:
        refine: Callable[[], bool] | None = getattr(index, "refine", None)
        if refine is None or index.effort.share < WIDE or not refine():
            index.effort = index.effort.raised()
        certificate = _measured(index, queries, truth, target)
        if certificate.holds:
            return certificate


def _eased(
    index: Measurable,
    queries: Mapping[str, Vectors],
    truth: Mapping[tuple[str, int], Ids],
    certificate: RecallCertificate,
) -> RecallCertificate:
    """Lower the effort while at most half of what may be missed is: the queries are few, and chance is in them."""
    spare = (1 + certificate.target) / 2
    while True:
        before = index.effort
        index.effort = before.lowered()
        if index.effort == before:
            return certificate
        less = _measured(index, queries, truth, certificate.target)
        if min(recall.share for at in (less.at10, less.at100) for recall in at.values()) < spare:
            index.effort = before
            return certificate
        certificate = less


def _truth(index: Measurable, queries: Mapping[str, Vectors]) -> Mapping[tuple[str, int], Ids]:
    return {(origin, k): index.search_exactly(asked, k)[1] for origin, asked in queries.items() for k in AT}


def _measured(
    index: Measurable, queries: Mapping[str, Vectors], truth: Mapping[tuple[str, int], Ids], target: float
) -> RecallCertificate:
    at10, at100 = (
        {origin: _recall(index, asked, truth[origin, k]) for origin, asked in queries.items() if len(asked)} for k in AT
    )
    return RecallCertificate(at10, at100, sum(map(len, queries.values())), target, index.effort)


def _recall(index: Measurable, queries: Vectors, exact: Ids) -> Recall:
    found = index.search(queries, exact.shape[1])[1]
    shares = np.array([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) if exact.size else np.ones(1)
    return _with_interval(float(shares.mean()), len(shares))


def _with_interval(share: float, n: int) -> Recall:
    """Return Wilson's interval, each query being one trial: what one finds of its ten is not independent."""
    centre = (share + _SURE**2 / (2 * n)) / (1 + _SURE**2 / n)
    half = _SURE / (1 + _SURE**2 / n) * math.sqrt(share * (1 - share) / n + _SURE**2 / (4 * n * n))
    return Recall(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
