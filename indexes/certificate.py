"""What share of the true best an index finds, for the queries that matter; and what is done if that is too little.

Queries of another modality lie off the distribution of what is indexed, where approximate indexes lose most. So the
recall is told for each origin of queries, and the worst one counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from ._cells import Effort

TARGET = 0.99
AT = (10, 100)
_SURE = 1.96
"""Standard deviations either side that hold 95 %."""


class Measurable(Protocol):
    """An index that can be compared with itself, looking at everything."""

    effort: Effort

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
class Certificate:
    """What an index finds."""

    at10: Mapping[str, Recall] = field(default_factory=dict)
    """By origin of the queries."""
    at100: Mapping[str, Recall] = field(default_factory=dict)
    queries: int = 0
    target: float = TARGET
    effort: Effort = field(default_factory=Effort)

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


def certify(index: Measurable, queries: Mapping[str, Vectors], *, target: float = TARGET) -> Certificate:
    """Measure an index with queries by their origin; vectors that are in the index are good ones too."""
    at10, at100 = ({origin: _recall(index, asked, k) for origin, asked in queries.items() if len(asked)} for k in AT)
    return Certificate(at10, at100, sum(map(len, queries.values())), target, index.effort)


def mend(index: Measurable, queries: Mapping[str, Vectors], *, target: float = TARGET) -> Certificate:
    """Raise the effort of an index until it finds what it should, and certify that.

    There is an end: with enough candidates an index looks at everything.
    """
    certificate = certify(index, queries, target=target)
    while not certificate.holds:
        index.effort = index.effort.raised()
        certificate = certify(index, queries, target=target)
    return certificate


def _recall(index: Measurable, queries: Vectors, k: int) -> Recall:
    found, exact = index.search(queries, k)[1], index.search_exactly(queries, k)[1]
    shares = np.array([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) if exact.size else np.ones(1)
    return _with_interval(float(shares.mean()), len(shares))


def _with_interval(share: float, n: int) -> Recall:
    """Give Wilson's interval, each query being one trial: what one finds of its ten is not independent."""
    centre = (share + _SURE**2 / (2 * n)) / (1 + _SURE**2 / n)
    half = _SURE / (1 + _SURE**2 / n) * math.sqrt(share * (1 - share) / n + _SURE**2 / (4 * n * n))
    return Recall(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))
