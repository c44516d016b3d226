"""Candidates: a segment with its score for one query, and the surprisal of that score."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bindsearch.calibration.calibration import CalibratedQuery
from bindsearch.calibration.null_distribution import MAX_HUB_FACTOR
from bindsearch.types import Modality, Vectors

SELF_MATCH_SURPRISAL = 1e6
"""Added where the query is the item's own file: that match is not due to chance, so it ranks above all others."""
SCORE_TOLERANCE = 1e-5
"""The same score may differ by this much between an index and the ledger."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A segment that may represent its item in the results."""

    item: int
    segment: int
    score: float
    """Cosine. NaN until `BoundQuery.completed` fills it in, unless the search is raw."""
    surprisal: float
    """NaN in a raw search until `BoundQuery.completed` fills it in."""
    expect: float
    """E-value; filled in with the surprisal."""

    def sort_key(self, *, raw: bool) -> tuple[float, int]:
        """Return what candidates are sorted by: the most relevant first, then the oldest segment."""
        return -self.relevance(raw=raw), self.segment

    def relevance(self, *, raw: bool) -> float:
        """Return the cosine in a raw search and the surprisal otherwise: higher is better."""
        return self.score if raw else self.surprisal


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """One query, calibrated for what is searched."""

    calibrated: CalibratedQuery
    raw: bool
    own_item: int | None
    """The item whose file is the query; None for other queries."""

    @property
    def vector(self) -> Vectors:
        """*Shape:* (dim,)"""
        return self.calibrated.query.vector

    @property
    def index_vector(self) -> Vectors:
        """The unit vector that indexes are searched with. *Shape:* (dim,)"""
        return self.vector if self.raw else self.calibrated.vector / self._length

    def from_index(self, item: int, segment: int, modality: Modality, *, score: float) -> Candidate:
        """Return a candidate for a score that an index gave for `index_vector`. It is not `completed` yet."""
        if self.raw:
            return Candidate(item, segment, score, math.nan, math.nan)
        shifted = score * self._length - self.calibrated.models[modality].shift
        return self._candidate(item, segment, modality, math.nan, shifted)

    def from_vector(self, item: int, segment: int, modality: Modality, *, row: Vectors) -> Candidate:
        """Return a candidate for a segment's vector."""
        adjusted = float(self.calibrated.adjusted_scores(modality, row[None, :])[0])
        return self._candidate(item, segment, modality, float(row @ self.vector), adjusted)

    def completed(self, candidate: Candidate, modality: Modality, *, row: Vectors) -> Candidate:
        """Fill in what `from_index` left out, but keep the value that candidates are sorted by."""
        if not self.raw:
            return replace(candidate, score=float(row @ self.vector))
        whole = self.from_vector(candidate.item, candidate.segment, modality, row=row)
        return replace(whole, score=candidate.score)

    def best_row(self, modality: Modality, rows: Vectors) -> int:
        """Return the position of the best vector."""
        return int((rows @ self.vector if self.raw else self.calibrated.adjusted_scores(modality, rows)).argmax())

    @property
    def reorders_index(self) -> bool:
        """Whether candidates may rank differently than in the index: with hubness reduction they do."""
        return self.calibrated.options.hubness and not self.raw

    def max_surprisal(self, modality: Modality, *, score: float) -> float:
        """Return the largest surprisal that a segment with at most this score in the index can have."""
        model = self.calibrated.models[modality]
        shifted = score * self._length - model.shift
        return model.surprisal(shifted * (MAX_HUB_FACTOR if shifted > 0 else 1 / MAX_HUB_FACTOR))

    @property
    def _length(self) -> float:
        return max(SCORE_TOLERANCE, float(np.linalg.norm(self.calibrated.vector)))

    def _candidate(self, item: int, segment: int, modality: Modality, score: float, adjusted: float) -> Candidate:
        model = self.calibrated.models[modality]
        surprisal = model.surprisal(adjusted) + (SELF_MATCH_SURPRISAL if item == self.own_item else 0.0)
        return Candidate(item, segment, score, surprisal, model.expect(surprisal))


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """How an item matches all queries of a request."""

    wanted: tuple[Candidate, ...]
    """Its best candidate for each wanted query; hits show the first one."""
    unwanted: tuple[Candidate, ...]
    """Its best candidate for each unwanted query."""
    relevance: float
    """Its relevance for the wanted query that it matches worst."""
    excluded_by: int | None
    """The position of the first unwanted query that it matches; None if it matches none."""

    @property
    def sort_key(self) -> tuple[float, int]:
        """What items are sorted by. It does not depend on the order of the queries."""
        return -self.relevance, self.wanted[0].item

    @property
    def expect(self) -> float:
        """The largest E-value: an upper bound for all wanted queries together."""
        return max(candidate.expect for candidate in self.wanted)
