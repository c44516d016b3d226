"""A question comes out: candidates of every modality -> items with their best moment -> one list.

A question has one query or several. An item answers several as well as it answers the one it answers worst: its
expectation is the largest of theirs, each at the item's best moment for that query. It is left out if it also answers
an unwanted query: with an expectation of at most `UNWANTED_AT`, or as well as it answers the wanted ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bindsearch.background import Asking
from bindsearch.chances import Aim, Moment
from bindsearch.filters import Filters
from bindsearch.odds import HUB
from bindsearch.ports import Index
from bindsearch.types import Hit, Hits, Ids, Modality, Segment, Vectors
from bindsearch.view import View, digest_in

UNWANTED_AT = 0.1
"""An unwanted query is answered by what chance brings no more often than this a search."""
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
    surprise: float
    """...and this is none where plain cosines are asked for."""
    expect: float

    def rank(self, *, raw: bool) -> tuple[float, int]:
        """Give what candidates are sorted by: least expected by chance, then the older.

        Where plain cosines are asked for (`raw`), by these.
        """
        return -self.worth(raw=raw), self.segment

    def worth(self, *, raw: bool) -> float:
        """Give what several queries are compared by: higher is better."""
        return self.score if raw else self.surprise


@dataclass(frozen=True, slots=True)
class Probe:
    """One query, where it aims, and what chance gives it in each modality."""

    aim: Aim
    raw: bool
    own: int | None
    """The item that the query is, if it is one."""

    @property
    def vector(self) -> Vectors:
        """*Shape:* (dim,)"""
        return self.aim.asking.vector

    @property
    def sought(self) -> Vectors:
        """Give what indexes are searched with. *Shape:* (dim,)"""
        return self.vector if self.raw else self.aim.vector / self._length

    def found(self, item: int, segment: int, modality: Modality, *, score: float) -> Candidate:
        """Say what a score of an index is worth."""
        if self.raw:
            return Candidate(item, segment, score, math.nan, math.nan)
        level = score * self._length - self.aim.chance[modality].near
        return self._judged(item, segment, modality, math.nan, level)

    def candidate(self, item: int, segment: int, modality: Modality, *, row: Vectors) -> Candidate:
        """Say what a segment is worth, by its vector."""
        level = float(self.aim.levels(modality, row[None, :])[0])
        return self._judged(item, segment, modality, float(row @ self.vector), level)

    def completed(self, candidate: Candidate, modality: Modality, *, row: Vectors) -> Candidate:
        """Fill in what was not asked for so far. What candidates are sorted by stays as the index gave it."""
        if not self.raw:
            return replace(candidate, score=float(row @ self.vector))
        whole = self.candidate(candidate.item, candidate.segment, modality, row=row)
        return replace(whole, score=candidate.score)

    def best(self, modality: Modality, rows: Vectors) -> int:
        """Give the place of the best of some vectors."""
        return int((rows @ self.vector if self.raw else self.aim.levels(modality, rows)).argmax())

    @property
    def bent(self) -> bool:
        """Whether the order of an index is not the one that is wanted."""
        return self.aim.manner.hubness and not self.raw

    def most(self, modality: Modality, *, score: float) -> float:
        """Give what a segment is worth at most that an index gives this score or a lower one."""
        chance = self.aim.chance[modality]
        level = score * self._length - chance.near
        return chance.surprise(level * (HUB if level > 0 else 1 / HUB))

    @property
    def _length(self) -> float:
        return max(NEARLY, float(np.linalg.norm(self.aim.vector)))

    def _judged(self, item: int, segment: int, modality: Modality, score: float, level: float) -> Candidate:
        chance = self.aim.chance[modality]
        surprise = chance.surprise(level) + (ITSELF if item == self.own else 0.0)
        return Candidate(item, segment, score, surprise, chance.expect(surprise))


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
        wanted: Sequence[Asking],
        *,
        chances: Moment,
        unwanted: Sequence[Asking] = (),
        filters: Filters,
        raw: bool = False,
    ) -> None:
        self.view = view
        self.filters = filters
        self.raw = raw
        self._chances = chances
        self._indexes = {modality: index for modality, index in indexes.items() if modality in chances.middles}
        self._allowed = filters.allowed(view, self._indexes)
        self._counts = {
            modality: len(index) if (ids := self._allowed[modality]) is None else len(ids)
            for modality, index in self._indexes.items()
        }
        self.searched = sum(self._counts.values())
        self.wanted = [self._probe(asking) for asking in wanted]
        self.unwanted = [self._probe(asking) for asking in unwanted]
        self._folding = Folding(view, filters.without)

    def hits(self, k: int) -> Hits:
        """Find the best `k` items: exactly `k` if so many pass, and the first 5 of 15 are the 5 of 5.

        Items are ordered by expectation, or by plain cosine if `raw`.
        """
        return Hits(tuple(_hit(self.view, candidate, self.filters) for candidate in self.ranked(k)), self.searched)

    def ranked(self, k: int) -> list[Candidate]:
        """Give the best candidate of each of the best `k` items, in order."""
        if len(self.wanted) == 1 and not self.unwanted:
            return [self._completed(candidate) for candidate in self._best(self.wanted[0], k)]
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
            probe.candidate(item, first + place, modality, row=rows[place])
            for first, modality, rows in self._runs(item)
            for place in [probe.best(modality, rows)]
        ]
        return min(best, key=lambda candidate: candidate.rank(raw=self.raw), default=None)

    def _own(self, item: int, probe: Probe) -> Candidate | None:
        """Give the best moment that passes of the item that is asked for, whatever else comes before it."""
        if not self._folding.wants(item):
            return None
        for candidate in self.moments(item, probe):
            allowed = self._allowed[segment_of(self.view, candidate).modality]
            if allowed is None or np.isin(candidate.segment, allowed):
                return candidate
        return None

    def moments(self, item: int, probe: Probe) -> list[Candidate]:
        """Give every segment of an item as a candidate for one query, best first."""
        every = [
            probe.candidate(item, first + place, modality, row=row)
            for first, modality, rows in self._runs(item)
            for place, row in enumerate(rows)
        ]
        return sorted(every, key=lambda candidate: candidate.rank(raw=self.raw))

    def _runs(self, item: int) -> Iterator[tuple[int, Modality, Vectors]]:
        """Give the runs of an item with their vectors, as the ledger has them."""
        for first, modality, _ in (self.view.facts(item) or {"runs": []})["runs"]:
            if modality in self._indexes:
                yield first, Modality(modality), self.view.vectors(first)

    def _completed(self, candidate: Candidate) -> Candidate:
        segment = segment_of(self.view, candidate)
        return self.wanted[0].completed(candidate, segment.modality, row=self.view.vector(candidate.segment))

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
        wanted, unwanted = ([probe.aim.asking for probe in probes] for probes in (self.wanted, self.unwanted))
        return Search(
            self.view,
            self._indexes,
            wanted,
            chances=self._chances,
            unwanted=unwanted,
            filters=Filters(),
            raw=self.raw,
        )

    def hit(self, outcome: Outcome) -> Hit:
        """Give the hit that an outcome is shown as."""
        return _hit(self.view, _shown(outcome), self.filters)

    def _probe(self, asking: Asking) -> Probe:
        own = None if asking.content is None else self.view.item_of(asking.content)
        return Probe(self._chances.aim(asking, searched=self._counts), self.raw, own)

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
        own = None if self.raw or probe.own is None else self._own(probe.own, probe)
        if own:
            best[own.item] = own
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
        if probe.bent:
            return self._best_bent(index, probe, modality, k=k, among=among)
        found: dict[int, Candidate] = {}
        want, seen = 4 * k + 16, 0
        while True:
            scores, ids = index.search(probe.sought[None, :], want, allowed=among)
            for segment, score in zip(ids[0, seen:].tolist(), scores[0, seen:].tolist(), strict=True):
                item = self._view.owner_of(segment)
                if item is not None and item not in found and self.wants(item):
                    found[item] = probe.found(item, segment, modality, score=score)
                    if len(found) == k:
                        return found.values()
            if ids.shape[1] < want:
                return found.values()
            seen, want = ids.shape[1], 4 * want

    def _best_bent(
        self, index: Index, probe: Probe, modality: Modality, *, k: int, among: Ids | None
    ) -> Iterable[Candidate]:
        """Do so where hubs count less: look down to where nothing can come that is among the best."""
        found: dict[int, Candidate] = {}
        want, seen = 16 * k + 64, 0
        while True:
            scores, ids = index.search(probe.sought[None, :], want, allowed=among)
            for segment in ids[0, seen:].tolist():
                item = self._view.owner_of(segment)
                if item is not None and self.wants(item):
                    candidate = probe.candidate(item, segment, modality, row=self._view.vector(segment))
                    if item not in found or candidate.rank(raw=False) < found[item].rank(raw=False):
                        found[item] = candidate
            best = sorted(found.values(), key=lambda candidate: candidate.rank(raw=False))[:k]
            if ids.shape[1] < want:
                return best
            if len(best) == k and best[-1].surprise > probe.most(modality, score=float(scores[0, -1])):
                return best
            seen, want = ids.shape[1], 4 * want

    def wants(self, item: int) -> bool:
        """Whether an item is live, and not one to leave out."""
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
