"""What chance gives one query in one modality: from scores to how many hits at least as good strangers would find."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindsearch.calibration.null_distribution import LEVELS, MIDDLE, NullDistribution, lowered

_BELOW = 1e-3
"""What is worse than all that strangers find is ordered by this slope; its expectation stays."""


@dataclass(frozen=True, eq=False)
class EValueModel:
    """What chance gives one query in one modality."""

    near: float
    """How much scores are lowered because the query is near to everything."""
    levels: list[float]
    """Scores, ascending."""
    expected: list[float]
    """How many are at least as good as each level by chance, of each item that is searched: logarithms, falling."""
    searched: float
    """Items of all modalities that were searched."""

    def surprisal(self, level: float) -> float:
        """Return how far a score, less `near`, lies above chance; it orders as `expect` does, and never ends."""
        place = bisect_left(self.levels, level)
        if place == len(self.levels):
            return -self._above(level)
        if not place:
            return _BELOW * (level - self.levels[0]) - self.expected[0]
        share = (level - self.levels[place - 1]) / (self.levels[place] - self.levels[place - 1])
        return -(self.expected[place - 1] + share * (self.expected[place] - self.expected[place - 1]))

    def expect(self, surprisal: float) -> float:
        """Return how many hits of this surprise or more chance alone would give."""
        return self.searched * math.exp(min(0.0, -surprisal))

    def _above(self, level: float) -> float:
        """Go on as the last levels do, straight: expectations fall as an exponential does."""
        slope = (self.expected[-1] - self.expected[-3]) / (self.levels[-1] - self.levels[-3])
        return self.expected[-1] + slope * (level - self.levels[-1])


def background(
    parts: Sequence[tuple[float, NullDistribution]], *, near: float, searched: float, each: float = 1.0
) -> EValueModel:
    """Put together what chance gives a query from what it gives each part, by weight. `near`: as in "
    f"`NullDistribution.offset`.

    An item has `each` segments in this modality, so many chances to be good. Parts are independent: their middles add
    up, and their spreads do by their squares.
    """
    weights = np.array([weight for weight, _ in parts])
    levels = np.stack([odds.levels for _, odds in parts])
    middles = levels[:, MIDDLE]
    squares = (weights[:, None] * (levels - middles[:, None])) ** 2
    together = weights @ middles + np.sign(np.arange(LEVELS) - MIDDLE) * np.sqrt(squares.sum(axis=0))
    offset = sum(weight * odds.offset for weight, odds in parts)
    slack = math.hypot(*(weight * odds.slack for weight, odds in parts))
    near = float(lowered(np.array(near, np.float32), offset, slack))
    return EValueModel(near, together.tolist(), (parts[0][1].expected + math.log(each)).tolist(), searched)
