"""A question comes out: candidates of every modality -> items with their best moment -> one list.

A question has one query or several. An item answers several as well as it answers the one it answers worst: its
expectation is the largest of theirs, each at the item's best moment for that query. It is left out if it also answers
an unwanted query: with an expectation of at most `UNWANTED_AT`, or as well as it answers the wanted ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bindsearch.calibration.calibration import Calibration
from bindsearch.ports import Index
from bindsearch.query.filters import Filters
from bindsearch.query.query_vector import QueryVector
from bindsearch.results import Hit, Hits
from bindsearch.retrieval.candidates import NEARLY, BoundQuery, Candidate, ItemMatch
from bindsearch.retrieval.grouping import ItemGrouper
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Segment, Vectors

UNWANTED_AT = 0.1
"""An unwanted query is answered by what chance brings no more often than this a search."""


class Search:
    """One question to one view of a library: the vectors of what is wanted, and of what is not."""

    def __init__(
        self,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        wanted: Sequence[QueryVector],
        *,
        calibration: Calibration,
        unwanted: Sequence[QueryVector] = (),
        filters: Filters,
        raw: bool = False,
    ) -> None:
        self.snapshot = snapshot
        self.filters = filters
        self.raw = raw
        self._calibration = calibration
        self._indexes = {modality: index for modality, index in indexes.items() if modality in calibration.centroids}
        self._allowed = filters.allowed(snapshot, self._indexes)
        self._counts = {
            modality: len(index) if (ids := self._allowed[modality]) is None else len(ids)
            for modality, index in self._indexes.items()
        }
        self.searched = sum(self._counts.values())
        self.wanted = [self._probe(asking) for asking in wanted]
        self.unwanted = [self._probe(asking) for asking in unwanted]
        self._folding = ItemGrouper(snapshot, filters.without)

    def hits(self, k: int) -> Hits:
        """Find the best `k` items: exactly `k` if so many pass, and the first 5 of 15 are the 5 of 5.

        Items are ordered by expectation, or by plain cosine if `raw`.
        """
        return Hits(tuple(_hit(self.snapshot, candidate, self.filters) for candidate in self.ranked(k)), self.searched)

    def ranked(self, k: int) -> list[Candidate]:
        """Return the best candidate of each of the best `k` items, in order."""
        if len(self.wanted) == 1 and not self.unwanted:
            return [self._completed(candidate) for candidate in self._best(self.wanted[0], k)]
        return [_shown(outcome) for outcome in self._outcomes(k)]

    def outcome(self, item: int) -> ItemMatch | None:
        """Say how an item answers, whatever filters say of it; None if none of its vectors is searched."""
        wanted = [self.best_of(item, probe) for probe in self.wanted]
        unwanted = [self.best_of(item, probe) for probe in self.unwanted]
        if not all(wanted):
            return None
        found = tuple(candidate for candidate in wanted if candidate)
        against = tuple(candidate for candidate in unwanted if candidate)
        worth = min(candidate.worth(raw=self.raw) for candidate in found)
        return ItemMatch(found, against, worth, self._refusal(worth, against))

    def best_of(self, item: int, probe: BoundQuery) -> Candidate | None:
        """Return an item's best candidate for one query."""
        best = [
            probe.candidate(item, first + place, modality, row=rows[place])
            for first, modality, rows in self._runs(item)
            for place in [probe.best(modality, rows)]
        ]
        return min(best, key=lambda candidate: candidate.rank(raw=self.raw), default=None)

    def _own(self, item: int, probe: BoundQuery) -> Candidate | None:
        """Return the best moment that passes of the item that is asked for, whatever else comes before it."""
        if not self._folding.wants(item):
            return None
        for candidate in self.moments(item, probe):
            allowed = self._allowed[segment_of(self.snapshot, candidate).modality]
            if allowed is None or np.isin(candidate.segment, allowed):
                return candidate
        return None

    def moments(self, item: int, probe: BoundQuery) -> list[Candidate]:
        """Return every segment of an item as a candidate for one query, best first."""
        every = [
            probe.candidate(item, first + place, modality, row=row)
            for first, modality, rows in self._runs(item)
            for place, row in enumerate(rows)
        ]
        return sorted(every, key=lambda candidate: candidate.rank(raw=self.raw))

    def _runs(self, item: int) -> Iterator[tuple[int, Modality, Vectors]]:
        """Return the runs of an item with their vectors, as the ledger has them."""
        for run in self.snapshot.runs_of(item):
            if run.modality in self._indexes:
                yield run.first, run.modality, self.snapshot.vectors(run.first)

    def _completed(self, candidate: Candidate) -> Candidate:
        segment = segment_of(self.snapshot, candidate)
        return self.wanted[0].completed(candidate, segment.modality, row=self.snapshot.vector(candidate.segment))

    def rank_of(self, item: int) -> int | None:
        """Return the place of an item among all that pass, from 1 on; None if it is not found."""
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
        """Return the same search of everything."""
        wanted, unwanted = ([probe.calibrated.query for probe in probes] for probes in (self.wanted, self.unwanted))
        return Search(
            self.snapshot,
            self._indexes,
            wanted,
            calibration=self._calibration,
            unwanted=unwanted,
            filters=Filters(),
            raw=self.raw,
        )

    def hit(self, outcome: ItemMatch) -> Hit:
        """Return the hit that an outcome is shown as."""
        return _hit(self.snapshot, _shown(outcome), self.filters)

    def _probe(self, asking: QueryVector) -> BoundQuery:
        own = None if asking.content is None else self.snapshot.item_of(asking.content)
        return BoundQuery(self._calibration.calibrate(asking, searched=self._counts), self.raw, own)

    def _refusal(self, worth: float, against: Sequence[Candidate]) -> int | None:
        for place, candidate in enumerate(against):
            if candidate.expect <= UNWANTED_AT or candidate.worth(raw=self.raw) >= worth - NEARLY:
                return place
        return None

    def _best(self, probe: BoundQuery, k: int) -> list[Candidate]:
        """Return the best `k` items for one query."""
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

    def _outcomes(self, k: int) -> list[ItemMatch]:
        """Return the best `k` items for all queries together, by Fagin's threshold algorithm.

        Whatever is not among the first of a query's own list is worth no more than the last of these, for that query
        and so for all together. Once `k` items are worth more than that, nothing better can come.
        """
        want = 4 * k + 16
        known: dict[int, ItemMatch | None] = {}
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


def _shown(outcome: ItemMatch) -> Candidate:
    """Return the moment and the score of the first query, with the expectation of all together."""
    first, worth = outcome.wanted[0], min(candidate.surprisal for candidate in outcome.wanted)
    return Candidate(first.item, first.segment, first.score, worth, outcome.expect)


def segment_of(snapshot: Snapshot, candidate: Candidate) -> Segment:
    """Return the segment of a candidate."""
    segment = snapshot.segment(candidate.segment)
    assert segment is not None
    return segment


def _hit(snapshot: Snapshot, candidate: Candidate, filters: Filters) -> Hit:
    item_record = snapshot.item_record(candidate.item)
    assert item_record is not None
    first, *others = sorted(
        snapshot.owners(item_record.digest), key=lambda record: (not filters.admits(record), record.path)
    )
    return Hit(
        path=first.path,
        modality=item_record.modality,
        score=candidate.score,
        expect=candidate.expect,
        segment=segment_of(snapshot, candidate),
        item=candidate.item,
        copies=[record.path for record in others],
        metadata=first.metadata,
    )
