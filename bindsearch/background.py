"""What chance gives: the expectation of a score, from a sample of the vectors that were searched."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bindsearch.ports import Index
from bindsearch.types import Modality, Scores, Vectors

SAMPLE = 1_024
PRIOR_WEIGHT = 200
"""How many segments' worth of trust the prior has. Segments of one file are alike, so a hundred say little."""
PRIOR_SPREAD = 0.2
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True, slots=True)
class Background:
    """How one query scores against ordinary vectors of one modality."""

    centre: float
    spread: float
    searched: int
    """Segments of all modalities that were searched."""

    def expect(self, score: float) -> float:
        """Give how many hits at least this good chance alone would give."""
        return self.searched * 0.5 * math.erfc((score - self.centre) / self.spread / math.sqrt(2))

    def surprise(self, score: float) -> float:
        """Give how far a score lies above chance; it orders as `expect` does, without ever reaching zero."""
        return (score - self.centre) / self.spread


def backgrounds(query: Vectors, indexes: Mapping[Modality, Index], *, searched: int) -> dict[Modality, Background]:
    """Score a query against a sample of each index.

    Centre and spread are the median and the median deviation, which true matches in the sample hardly move. In a
    small library they lean on what all modalities have in common, and on a prior.
    """
    scores = {modality: index.sample(SAMPLE) @ query for modality, index in indexes.items()}
    together = np.concatenate(list(scores.values())) if scores else np.empty(0, dtype=np.float32)
    centre, spread = _lean(together, 0.0, PRIOR_SPREAD)
    return {modality: Background(*_lean(own, centre, spread), searched) for modality, own in scores.items()}


def _lean(scores: Scores, centre: float, spread: float) -> tuple[float, float]:
    """Give median and spread of some scores, leaning on a prior where they are few."""
    if not len(scores):
        return centre, spread
    median = float(np.median(scores))
    deviation = float(np.median(np.abs(scores - median))) * _MAD_TO_SIGMA
    share = len(scores) / (len(scores) + PRIOR_WEIGHT)
    variance = share * deviation**2 + (1 - share) * spread**2
    return share * median + (1 - share) * centre, math.sqrt(variance) + 1e-4
