"""The E-value model of one query and one modality: score -> surprisal -> E-value.

    E(s) = items searched * segments per item * P(S >= s | unrelated query)

As in BLAST, the E-value is the number of hits at least this good that chance alone would bring in one search.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindsearch.calibration.null_distribution import MEDIAN_RANK, RANK_COUNT, NullDistribution, centroid_shift

SLOPE_BELOW = 1e-3
"""Surprisal per unit of score below the lowest tabulated score: keeps an order at a nearly constant E-value."""


@dataclass(frozen=True, eq=False)
class EValueModel:
    """Turns scores of one query in one modality into surprisals and E-values."""

    shift: float
    """Subtracted from every score of this query before the table is used; see `centroid_shift`."""
    scores: list[float]
    """Tabulated shifted scores, ascending."""
    log_rates: list[float]
    """Per tabulated score: log of the expected chance hits at least this good, per item searched. Descending."""
    searched: float
    """Number of items searched, over all modalities."""

    def surprisal(self, score: float) -> float:
        """Return minus the log of the expected number of chance hits per item, at a shifted score.

        Orders hits as the E-value does, but never saturates.
        """
        place = bisect_left(self.scores, score)
        if place == len(self.scores):
            return -self._extrapolated(score)
        if not place:
            return SLOPE_BELOW * (score - self.scores[0]) - self.log_rates[0]
        share = (score - self.scores[place - 1]) / (self.scores[place] - self.scores[place - 1])
        return -(self.log_rates[place - 1] + share * (self.log_rates[place] - self.log_rates[place - 1]))

    def expect(self, surprisal: float) -> float:
        """Return the E-value: how many hits of at least this surprisal chance alone would bring."""
        return self.searched * math.exp(min(0.0, -surprisal))

    def _extrapolated(self, score: float) -> float:
        """Continue the last tabulated rates as a straight line in the logarithm: an exponential tail."""
        slope = (self.log_rates[-1] - self.log_rates[-3]) / (self.scores[-1] - self.scores[-3])
        return self.log_rates[-1] + slope * (score - self.scores[-1])


def combined_model(
    components: Sequence[tuple[float, NullDistribution]],
    *,
    similarity: float,
    searched: float,
    segments_per_item: float = 1.0,
) -> EValueModel:
    """Combine the null distributions of a query's components, by weight, into the model of their sum.

    Components are taken as independent: medians add up, and spreads add up by their squares. `similarity` is the
    query's score against the centroid of what is searched. Rates are multiplied by `segments_per_item`, because an item
    is found if any of its segments matches.
    """
    weights = np.array([weight for weight, _ in components])
    scores = np.stack([null.scores for _, null in components])
    medians = scores[:, MEDIAN_RANK]
    squares = (weights[:, None] * (scores - medians[:, None])) ** 2
    combined = weights @ medians + np.sign(np.arange(RANK_COUNT) - MEDIAN_RANK) * np.sqrt(squares.sum(axis=0))
    location = sum(weight * null.location for weight, null in components)
    scale = math.hypot(*(weight * null.scale for weight, null in components))
    shift = float(centroid_shift(np.array(similarity, np.float32), location, scale))
    log_rates = components[0][1].log_rates + math.log(segments_per_item)
    return EValueModel(shift, combined.tolist(), log_rates.tolist(), searched)
