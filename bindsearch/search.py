"""A question comes out: candidates of every modality -> items with their best moment -> one list.

A question has one query or several. An item answers several as well as it answers the one it answers worst: its
expectation is the largest of theirs, each at the item's best moment for that query. It is left out if it also answers
an unwanted query: with an expectation of at most `UNWANTED_AT`, or as well as it answers the wanted ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bindsearch.background import Background, backgrounds
from bindsearch.filters import Filters
from bindsearch.ports import Index
from bindsearch.types import Hit, Hits, Ids, Modality, Scores, Segment, Vectors
from bindsearch.view import View, digest_in

UNWANTED_AT = 0.1
"""An unwanted query is answered by what chance brings no more often than this a search."""
NEARLY = 1e-5
"""Scores from an index and from the ledger may differ by this much."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item's best segment of one modality."""

    item: int
    segment: int
    score: float
    surprise: float
    expect: float

    def rank(self, *, raw: bool) -> tuple[float, ...]:
        """Give what candidates are sorted by: least expected by chance, then the better score, then the older.

        Where plain cosines are asked for (`raw`), by these.
        """
        return (-self.score, self.segment) if raw else (-self.surprise, -self.score, self.segment)

    def worth(self, *, raw: bool) -> float:
        """Give what several queries are compared by: higher is better."""
        return self.score if raw else self.surprise


@dataclass(frozen=True, slots=True)
class Probe:
    """One query, and what chance gives it in each modality."""

    vector: Vectors
    chance: Mapping[Modality, Background]

    def candidate(self, item: int, segment: int, modality: Modality, *, score: float) -> Candidate:
        """Say what a score is worth."""
        chance = self.chance[modality]
        return Candidate(item, segment, score, chance.surprise(score), chance.expect(score))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an item answers all queries of a question."""

    wanted: tuple[Candidate, ...]
    """Its best candidate for each; the first one's moment is shown."""
    unwanted: tuple[Candidate, ...]
    worth: float
    refused_by: int | None
    """Which unwanted query it answers, if any."""

    @property
    def rank(self) -> tuple[float, int]:
        """Give what items are sorted by. The order of the queries does not count."""
        return -self.worth, self.wanted[0].item

    @property
    def expect(self) -> float:
        """How many items at least this good chance alone would give, at most."""
        return max(candidate.expect for candidate in self.wanted)


class Search:
    """One question to one view of a library: the vectors of what is wanted, and of what is not."""

    def __init__(
        self,
        view: View,
        indexes: Mapping[Modality, Index],
        wanted: Sequence[Vectors],
        *,
        unwanted: Sequence[Vectors] = (),
        filters: Filters,
        raw: bool = False,
    ) -> None:
        self.view = view
        self.filters = filters
        self.raw = raw
        self._indexes = indexes
        self._allowed = filters.allowed(view, indexes)
        self.searched = sum(
            len(index) if (ids := self._allowed[modality]) is None else len(ids) for modality, index in indexes.items()
        )
        self.wanted = [self._probe(vector) for vector in wanted]
        self.unwanted = [self._probe(vector) for vector in unwanted]
        self._folding = Folding(view, filters.without)

    def hits(self, k: int) -> Hits:
        """Find the best `k` items: exactly `k` if so many pass, and the first 5 of 15 are the 5 of 5.

        Items are ordered by expectation, or by plain cosine if `raw`.
        """
        return Hits(tuple(_hit(self.view, candidate, self.filters) for candidate in self.ranked(k)), self.searched)

    def ranked(self, k: int) -> list[Candidate]:
        """Give the best candidate of each of the best `k` items, in order."""
        if len(self.wanted) == 1 and not self.unwanted:
            return self._best(self.wanted[0], k)
        return [_shown(outcome) for outcome in self._outcomes(k)]

    def outcome(self, item: int) -> Outcome | None:
        """Say how an item answers, whatever filters say of it; None if none of its vectors is searched."""
        wanted = [self.best_of(item, probe) for probe in self.wanted]
        unwanted = [self.best_of(item, probe) for probe in self.unwanted]
        if not all(wanted):
            return None
        found = tuple(candidate for candidate in wanted if candidate)
        against = tuple(candidate for candidate in unwanted if candidate)
        worth = min(candidate.worth(raw=self.raw) for candidate in found)
        return Outcome(found, against, worth, self._refusal(worth, against))

    def best_of(self, item: int, probe: Probe) -> Candidate | None:
        """Give an item's best candidate for one query."""
        best = [
            probe.candidate(item, first + row, modality, score=float(scores[row]))
            for first, modality, scores in self._scored(item, probe)
            for row in [int(scores.argmax())]
        ]
        return min(best, key=lambda candidate: candidate.rank(raw=self.raw), default=None)

    def moments(self, item: int, probe: Probe) -> list[Candidate]:
        """Give every segment of an item as a candidate for one query, best first."""
        every = [
            probe.candidate(item, first + row, modality, score=score)
            for first, modality, scores in self._scored(item, probe)
            for row, score in enumerate(scores.tolist())
        ]
        return sorted(every, key=lambda candidate: candidate.rank(raw=self.raw))

    def _scored(self, item: int, probe: Probe) -> Iterator[tuple[int, Modality, Scores]]:
        """Score the runs of an item, by the ledger's vectors."""
        for first, modality, _ in (self.view.facts(item) or {"runs": []})["runs"]:
            if modality in probe.chance:
                yield first, Modality(modality), self.view.vectors(first) @ probe.vector

    def rank_of(self, item: int) -> int | None:
        """Give the place of an item among all that pass, from 1 on; None if it is not found."""
        want = 256
        while True:
            ranked = self.ranked(want)
            for place, candidate in enumerate(ranked, 1):
                if candidate.item == item:
                    return place
            if len(ranked) < want:
                return None
            want *= 8

    def unfiltered(self) -> Search:
        """Give the same search of everything."""
        wanted, unwanted = ([probe.vector for probe in probes] for probes in (self.wanted, self.unwanted))
        return Search(self.view, self._indexes, wanted, unwanted=unwanted, filters=Filters(), raw=self.raw)

    def hit(self, outcome: Outcome) -> Hit:
        """Give the hit that an outcome is shown as."""
        return _hit(self.view, _shown(outcome), self.filters)

    def _probe(self, vector: Vectors) -> Probe:
        return Probe(vector, backgrounds(vector, self._indexes, searched=self.searched))

    def _refusal(self, worth: float, against: Sequence[Candidate]) -> int | None:
        for place, candidate in enumerate(against):
            if candidate.expect <= UNWANTED_AT or candidate.worth(raw=self.raw) >= worth - NEARLY:
                return place
        return None

    def _best(self, probe: Probe, k: int) -> list[Candidate]:
        """Give the best `k` items for one query."""
        best: dict[int, Candidate] = {}
        for modality, index in self._indexes.items():
            among = self._allowed[modality]
            for candidate in self._folding.best_items(index, probe, modality, k=k, among=among):
                rival = best.get(candidate.item)
                if rival is None or candidate.rank(raw=self.raw) < rival.rank(raw=self.raw):
                    best[candidate.item] = candidate
        return sorted(best.values(), key=lambda candidate: candidate.rank(raw=self.raw))[:k]

    def _outcomes(self, k: int) -> list[Outcome]:
        """Give the best `k` items for all queries together, by Fagin's threshold algorithm.

        Whatever is not among the first of a query's own list is worth no more than the last of these, for that query
        and so for all together. Once `k` items are worth more than that, nothing better can come.
        """
        want = 4 * k + 16
        known: dict[int, Outcome | None] = {}
        while True:
            lists = [self._best(probe, want) for probe in self.wanted]
            for item in {candidate.item for found in lists for candidate in found} - known.keys():
                known[item] = self.outcome(item)
            kept = [outcome for outcome in known.values() if outcome and outcome.refused_by is None]
            kept = sorted(kept, key=lambda outcome: outcome.rank)[:k]
            rest = min(found[-1].worth(raw=self.raw) if len(found) == want else -math.inf for found in lists)
            if rest == -math.inf or (len(kept) == k and kept[-1].worth > rest + NEARLY):
                return kept
            want *= 4


class Folding:
    """Folds segments into items. What another thread's index knows and this view does not is passed over."""

    def __init__(self, view: View, without: frozenset[bytes]) -> None:
        self._view = view
        self._without = without
        self._wanted: dict[int, bool] = {}

    def best_items(
        self, index: Index, probe: Probe, modality: Modality, *, k: int, among: Ids | None
    ) -> Iterable[Candidate]:
        """Fold the best segments of one index into its `k` best items, looking further down until there are `k`.

        The best `k` of each index suffice: whatever is among the best `k` items overall is so in its own list too.
        """
        found: dict[int, Candidate] = {}
        want, seen = 4 * k + 16, 0
        while True:
            scores, ids = index.search(probe.vector[None, :], want, allowed=among)
            for segment, score in zip(ids[0, seen:].tolist(), scores[0, seen:].tolist(), strict=True):
                item = self._view.owner_of(segment)
                if item is not None and item not in found and self._wants(item):
                    found[item] = probe.candidate(item, segment, modality, score=score)
                    if len(found) == k:
                        return found.values()
            if ids.shape[1] < want:
                return found.values()
            seen, want = ids.shape[1], 4 * want

    def _wants(self, item: int) -> bool:
        if item not in self._wanted:
            facts = self._view.facts(item)
            digest = None if facts is None else digest_in(facts)
            self._wanted[item] = digest is not None and digest not in self._without and self._view.is_live(digest)
        return self._wanted[item]


def _shown(outcome: Outcome) -> Candidate:
    """Give the moment and the score of the first query, with the expectation of all together."""
    first, worth = outcome.wanted[0], min(candidate.surprise for candidate in outcome.wanted)
    return Candidate(first.item, first.segment, first.score, worth, outcome.expect)


def segment_of(view: View, candidate: Candidate) -> Segment:
    """Give the segment of a candidate."""
    segment = view.segment(candidate.segment)
    assert segment is not None
    return segment


def _hit(view: View, candidate: Candidate, filters: Filters) -> Hit:
    facts = view.facts(candidate.item)
    assert facts is not None
    first, *others = sorted(view.owners(digest_in(facts)), key=lambda record: (not filters.admits(record), record.path))
    return Hit(
        path=first.path,
        modality=Modality(facts["modality"]),
        score=candidate.score,
        expect=candidate.expect,
        segment=segment_of(view, candidate),
        item=candidate.item,
        copies=[record.path for record in others],
        metadata=first.metadata,
    )
