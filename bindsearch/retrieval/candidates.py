"""Candidates: a segment, its score against one query, and what that score is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bindsearch.calibration.calibration import CalibratedQuery
from bindsearch.calibration.null_distribution import MAX_HUB_FACTOR
from bindsearch.types import Modality, Vectors

ITSELF = 1e6
"""A file that is asked for is no work of chance: its surprise is above all others by this much."""
NEARLY = 1e-5
"""Scores from an index and from the ledger may differ by this much."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item's best segment of one modality."""

    item: int
    segment: int
    score: float
    """Cosine; not a number where only its surprise was asked for so far..."""
    surprisal: float
    """...and this is none where plain cosines are asked for."""
    expect: float

    def rank(self, *, raw: bool) -> tuple[float, int]:
        """Return what candidates are sorted by: least expected by chance, then the older.

        Where plain cosines are asked for (`raw`), by these.
        """
        return -self.worth(raw=raw), self.segment

    def worth(self, *, raw: bool) -> float:
        """Return what several queries are compared by: higher is better."""
        return self.score if raw else self.surprisal


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """One query, where it aims, and what chance gives it in each modality."""

    calibrated: CalibratedQuery
    raw: bool
    own: int | None
    """The item that the query is, if it is one."""

    @property
    def vector(self) -> Vectors:
        """*Shape:* (dim,)"""
        return self.calibrated.query.vector

    @property
    def sought(self) -> Vectors:
        """Return what indexes are searched with. *Shape:* (dim,)"""
        return self.vector if self.raw else self.calibrated.vector / self._length

    def found(self, item: int, segment: int, modality: Modality, *, score: float) -> Candidate:
        """Say what a score of an index is worth."""
        if self.raw:
            return Candidate(item, segment, score, math.nan, math.nan)
        level = score * self._length - self.calibrated.models[modality].shift
        return self._judged(item, segment, modality, math.nan, level)

    def candidate(self, item: int, segment: int, modality: Modality, *, row: Vectors) -> Candidate:
        """Say what a segment is worth, by its vector."""
        level = float(self.calibrated.adjusted_scores(modality, row[None, :])[0])
        return self._judged(item, segment, modality, float(row @ self.vector), level)

    def completed(self, candidate: Candidate, modality: Modality, *, row: Vectors) -> Candidate:
        """Fill in what was not asked for so far. What candidates are sorted by stays as the index gave it."""
        if not self.raw:
            return replace(candidate, score=float(row @ self.vector))
        whole = self.candidate(candidate.item, candidate.segment, modality, row=row)
        return replace(whole, score=candidate.score)

    def best(self, modality: Modality, rows: Vectors) -> int:
        """Return the place of the best of some vectors."""
        return int((rows @ self.vector if self.raw else self.calibrated.adjusted_scores(modality, rows)).argmax())

    @property
    def bent(self) -> bool:
        """Whether the order of an index is not the one that is wanted."""
        return self.calibrated.options.hubness and not self.raw

    def most(self, modality: Modality, *, score: float) -> float:
        """Return what a segment is worth at most that an index gives this score or a lower one."""
        model = self.calibrated.models[modality]
        level = score * self._length - model.shift
        return model.surprisal(level * (MAX_HUB_FACTOR if level > 0 else 1 / MAX_HUB_FACTOR))

    @property
    def _length(self) -> float:
        return max(NEARLY, float(np.linalg.norm(self.calibrated.vector)))

    def _judged(self, item: int, segment: int, modality: Modality, score: float, level: float) -> Candidate:
        model = self.calibrated.models[modality]
        surprisal = model.surprisal(level) + (ITSELF if item == self.own else 0.0)
        return Candidate(item, segment, score, surprisal, model.expect(surprisal))


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """How an item answers all queries of a question."""

    wanted: tuple[Candidate, ...]
    """Its best candidate for each; the first one's moment is shown."""
    unwanted: tuple[Candidate, ...]
    worth: float
    refused_by: int | None
    """Which unwanted query it answers, if any."""

    @property
    def rank(self) -> tuple[float, int]:
        """Return what items are sorted by. The order of the queries does not count."""
        return -self.worth, self.wanted[0].item

    @property
    def expect(self) -> float:
        """How many items at least this good chance alone would give, at most."""
        return max(candidate.expect for candidate in self.wanted)
