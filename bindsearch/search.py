"""A question comes out: candidates of every modality -> items with their best moment -> one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bindsearch.background import Background, backgrounds
from bindsearch.filters import Filters
from bindsearch.ports import Index
from bindsearch.types import Hit, Hits, Ids, Modality, Vectors
from bindsearch.view import View, digest_in


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


def find(
    view: View, indexes: Mapping[Modality, Index], query: Vectors, *, k: int, filters: Filters, raw: bool = False
) -> Hits:
    """Find the best `k` items: exactly `k` if so many pass the filters, and the first 5 of 15 are the 5 of 5.

    Items are ordered by expectation, or by plain cosine if `raw`.
    """
    allowed = filters.allowed(view, indexes)
    searched = sum(
        len(index) if (ids := allowed[modality]) is None else len(ids) for modality, index in indexes.items()
    )
    chance = backgrounds(query, indexes, searched=searched)
    folding = Folding(view, filters.without)
    best: dict[int, Candidate] = {}
    for modality, index in indexes.items():
        for candidate in folding.best_items(index, query, k=k, among=allowed[modality], chance=chance[modality]):
            rival = best.get(candidate.item)
            if rival is None or candidate.rank(raw=raw) < rival.rank(raw=raw):
                best[candidate.item] = candidate
    ranked = sorted(best.values(), key=lambda candidate: candidate.rank(raw=raw))[:k]
    return Hits(tuple(_hit(view, candidate, filters) for candidate in ranked), searched)


class Folding:
    """Folds segments into items. What another thread's index knows and this view does not is passed over."""

    def __init__(self, view: View, without: frozenset[bytes]) -> None:
        self._view = view
        self._without = without
        self._wanted: dict[int, bool] = {}

    def best_items(
        self, index: Index, query: Vectors, *, k: int, among: Ids | None, chance: Background
    ) -> Iterable[Candidate]:
        """Fold the best segments of one index into its `k` best items, looking further down until there are `k`.

        The best `k` of each index suffice: whatever is among the best `k` items overall is so in its own list too.
        """
        found: dict[int, Candidate] = {}
        want, seen = 4 * k + 16, 0
        while True:
            scores, ids = index.search(query[None, :], want, allowed=among)
            for segment, score in zip(ids[0, seen:].tolist(), scores[0, seen:].tolist(), strict=True):
                item = self._view.owner_of(segment)
                if item is not None and item not in found and self._wants(item):
                    found[item] = Candidate(item, segment, score, chance.surprise(score), chance.expect(score))
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


def _hit(view: View, candidate: Candidate, filters: Filters) -> Hit:
    facts, segment = view.facts(candidate.item), view.segment(candidate.segment)
    assert facts is not None
    assert segment is not None
    first, *others = sorted(view.owners(digest_in(facts)), key=lambda record: (not filters.admits(record), record.path))
    return Hit(
        path=first.path,
        modality=Modality(facts["modality"]),
        score=candidate.score,
        expect=candidate.expect,
        segment=segment,
        item=candidate.item,
        copies=[record.path for record in others],
        metadata=first.metadata,
    )
