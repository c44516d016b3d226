"""Search one snapshot: candidates from every index become items, and items become one list.

A request has one wanted query or several. Each gives every item an E-value, at the item's best segment for that
query; the item's E-value is the largest of them. An item is excluded if it matches an unwanted query: with an E-value
of at most `EXCLUSION_EXPECT`, or at least as well as the wanted ones.
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
from bindsearch.retrieval.candidates import SCORE_TOLERANCE, BoundQuery, Candidate, ItemMatch
from bindsearch.retrieval.grouping import ItemGrouper
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Segment, Vectors

EXCLUSION_EXPECT = 0.1
"""An item matches an unwanted query if chance alone would bring no more than this many hits as good in a search."""


class Search:
    """The queries of one request, bound to one snapshot of a library and its indexes."""

    def __init__(
        self,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        wanted: Sequence[QueryVector],
        *,
        calibration: Calibration,
        unwanted: Sequence[QueryVector] = (),
        filters: Filters,
        without: frozenset[bytes] = frozenset(),
        raw: bool = False,
    ) -> None:
        """`without` are the digests of contents to leave out. Raises `BadQuery` for a tag that does not exist."""
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
        self.wanted = [self._bound(query) for query in wanted]
        self.unwanted = [self._bound(query) for query in unwanted]
        self._grouper = ItemGrouper(snapshot, without)

    def hits(self, k: int) -> Hits:
        """Return the best `k` items, or all if fewer pass. The first 5 of 15 are the same as the 5 of 5.

        Items are ordered by E-value, or by cosine in a raw search.
        """
        hits = tuple(_hit(self.snapshot, candidate, self.filters) for candidate in self.ranked(k))
        return Hits(hits, self.searched, min((hit.expect for hit in hits), default=None))

    def ranked(self, k: int) -> list[Candidate]:
        """Return the candidates that represent the best `k` items, in order."""
        if len(self.wanted) == 1 and not self.unwanted:
            return [self._completed(candidate) for candidate in self._best(self.wanted[0], k)]
        return [_representative(match) for match in self._best_matches(k)]

    def match(self, item: int) -> ItemMatch | None:
        """Return how an item matches, regardless of filters; None if none of its vectors is searched."""
        wanted = [self.best_of(item, query) for query in self.wanted]
        unwanted = [self.best_of(item, query) for query in self.unwanted]
        if not all(wanted):
            return None
        matched = tuple(candidate for candidate in wanted if candidate)
        against = tuple(candidate for candidate in unwanted if candidate)
        relevance = min(candidate.relevance(raw=self.raw) for candidate in matched)
        return ItemMatch(matched, against, relevance, self._excluded_by(relevance, against))

    def best_of(self, item: int, query: BoundQuery) -> Candidate | None:
        """Return an item's best candidate for one query; None if none of its vectors is searched."""
        best = [
            query.from_vector(item, first + place, modality, row=rows[place])
            for first, modality, rows in self._runs(item)
            for place in [query.best_row(modality, rows)]
        ]
        return min(best, key=lambda candidate: candidate.sort_key(raw=self.raw), default=None)

    def moments(self, item: int, query: BoundQuery) -> list[Candidate]:
        """Return every segment of an item as a candidate for one query, best first."""
        every = [
            query.from_vector(item, first + place, modality, row=row)
            for first, modality, rows in self._runs(item)
            for place, row in enumerate(rows)
        ]
        return sorted(every, key=lambda candidate: candidate.sort_key(raw=self.raw))

    def rank_of(self, item: int) -> int | None:
        """Return the rank of an item among all that pass, from 1; None if the search does not find it."""
        depth = 256
        while True:
            ranked = self.ranked(depth)
            for rank, candidate in enumerate(ranked, 1):
                if candidate.item == item:
                    return rank
            if len(ranked) < depth:
                return None
            depth *= 8

    def unfiltered(self) -> Search:
        """Return the same search without filters."""
        wanted, unwanted = ([query.calibrated.query for query in queries] for queries in (self.wanted, self.unwanted))
        return Search(
            self.snapshot,
            self._indexes,
            wanted,
            calibration=self._calibration,
            unwanted=unwanted,
            filters=Filters(),
            raw=self.raw,
        )

    def hit(self, match: ItemMatch) -> Hit:
        """Return the hit that a match is shown as."""
        return _hit(self.snapshot, _representative(match), self.filters)

    def _bound(self, query: QueryVector) -> BoundQuery:
        own_item = None if query.content is None else self.snapshot.item_of(query.content)
        return BoundQuery(self._calibration.calibrate(query, searched=self._counts), self.raw, own_item)

    def _runs(self, item: int) -> Iterator[tuple[int, Modality, Vectors]]:
        """Return the searched runs of an item: first segment, modality, and vectors from the ledger."""
        for run in self.snapshot.runs_of(item):
            if run.modality in self._indexes:
                yield run.first, run.modality, self.snapshot.vectors(run.first)

    def _completed(self, candidate: Candidate) -> Candidate:
        modality = segment_of(self.snapshot, candidate).modality
        return self.wanted[0].completed(candidate, modality, row=self.snapshot.vector(candidate.segment))

    def _excluded_by(self, relevance: float, unwanted: Sequence[Candidate]) -> int | None:
        """Return the position of the first unwanted query that an item of this relevance matches."""
        for place, candidate in enumerate(unwanted):
            as_good = candidate.relevance(raw=self.raw) >= relevance - SCORE_TOLERANCE
            if candidate.expect <= EXCLUSION_EXPECT or as_good:
                return place
        return None

    def _best(self, query: BoundQuery, k: int) -> list[Candidate]:
        """Return the best candidates of the best `k` items for one query."""
        best: dict[int, Candidate] = {}
        for modality, index in self._indexes.items():
            among = self._allowed[modality]
            for candidate in self._grouper.best_items(index, query, modality, k=k, among=among):
                rival = best.get(candidate.item)
                if rival is None or candidate.sort_key(raw=self.raw) < rival.sort_key(raw=self.raw):
                    best[candidate.item] = candidate
        own = None if self.raw or query.own_item is None else self._self_match(query.own_item, query)
        if own:
            best[own.item] = own
        return sorted(best.values(), key=lambda candidate: candidate.sort_key(raw=self.raw))[:k]

    def _self_match(self, item: int, query: BoundQuery) -> Candidate | None:
        """Return the best allowed segment of an item whose file is the query, however low it ranks in its index."""
        if not self._grouper.admits(item):
            return None
        for candidate in self.moments(item, query):
            allowed = self._allowed[segment_of(self.snapshot, candidate).modality]
            if allowed is None or np.isin(candidate.segment, allowed):
                return candidate
        return None

    def _best_matches(self, k: int) -> list[ItemMatch]:
        """Return the best `k` items for all queries together, by Fagin's threshold algorithm.

        An item outside a query's own list is no more relevant to that query than the last item in the list, and so
        no more relevant to all queries together. Once `k` items are more relevant than that, the search is complete.
        """
        depth = 4 * k + 16
        known: dict[int, ItemMatch | None] = {}
        while True:
            lists = [self._best(query, depth) for query in self.wanted]
            for item in {candidate.item for found in lists for candidate in found} - known.keys():
                known[item] = self.match(item)
            kept = [match for match in known.values() if match and match.excluded_by is None]
            kept = sorted(kept, key=lambda match: match.sort_key)[:k]
            threshold = min(found[-1].relevance(raw=self.raw) if len(found) == depth else -math.inf for found in lists)
            if threshold == -math.inf or (len(kept) == k and kept[-1].relevance > threshold + SCORE_TOLERANCE):
                return kept
            depth *= 4


def segment_of(snapshot: Snapshot, candidate: Candidate) -> Segment:
    """Return the segment of a candidate."""
    segment = snapshot.segment(candidate.segment)
    assert segment is not None
    return segment


def _representative(match: ItemMatch) -> Candidate:
    """Return the moment and the score of the first query, with the E-value of all queries together."""
    first, surprisal = match.wanted[0], min(candidate.surprisal for candidate in match.wanted)
    return Candidate(first.item, first.segment, first.score, surprisal, match.expect)


def _hit(snapshot: Snapshot, candidate: Candidate, filters: Filters) -> Hit:
    item = snapshot.item_record(candidate.item)
    assert item is not None
    first, *others = sorted(snapshot.owners(item.digest), key=lambda record: (not filters.admits(record), record.path))
    return Hit(
        path=first.path,
        modality=item.modality,
        score=candidate.score,
        expect=candidate.expect,
        segment=segment_of(snapshot, candidate),
        item=candidate.item,
        copies=tuple(record.path for record in others),
        metadata=first.metadata,
    )
