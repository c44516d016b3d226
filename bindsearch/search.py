"""A question comes out: candidates of every modality -> items with their best moment -> one list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bindsearch.background import Background, backgrounds
from bindsearch.filters import Filters
from bindsearch.ports import Index
from bindsearch.types import Hit, Hits, Ids, Modality, Segment, Vectors
from bindsearch.view import View


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item's best segment of one modality."""

    item: int
    segment: Segment
    score: float
    surprise: float
    expect: float

    def better_first(self) -> tuple[float, float, int]:
        """Give what candidates are sorted by: least expected by chance, then the better score, then the older."""
        return -self.surprise, -self.score, self.segment.id

    def by_score(self) -> tuple[float, int]:
        """Give what candidates are sorted by where plain cosines are asked for."""
        return -self.score, self.segment.id


def find(
    view: View, indexes: Mapping[Modality, Index], query: Vectors, *, k: int, filters: Filters, raw: bool = False
) -> Hits:
    """Find the best `k` items: exactly `k` if so many pass the filters, and the first 5 of 15 are the 5 of 5.

    Items are ordered by expectation, or by plain cosine if `raw`.
    """
    allowed = filters.allowed(view)
    sizes = {modality: len(index) if allowed is None else len(allowed[modality]) for modality, index in indexes.items()}
    searched = sum(sizes.values())
    chance = backgrounds(query, indexes, searched=searched)
    best: dict[int, Candidate] = {}
    for modality, index in indexes.items():
        among = None if allowed is None else allowed[modality]
        for candidate in _best_items(view, index, query, k=k, among=among, chance=chance[modality]):
            rival = best.get(candidate.item)
            if rival is None or _order(candidate, raw=raw) < _order(rival, raw=raw):
                best[candidate.item] = candidate
    ranked = sorted(best.values(), key=lambda candidate: _order(candidate, raw=raw))[:k]
    return Hits(tuple(_hit(view, candidate, filters) for candidate in ranked), searched)


def _order(candidate: Candidate, *, raw: bool) -> tuple[float, ...]:
    return candidate.by_score() if raw else candidate.better_first()


def _best_items(
    view: View, index: Index, query: Vectors, *, k: int, among: Ids | None, chance: Background
) -> Iterable[Candidate]:
    """Fold the best segments of one index into its `k` best items, looking further down until there are `k`.

    The best `k` of each index suffice: whatever is among the best `k` items overall is so in its own list too.
    """
    want = 4 * k + 16
    while True:
        scores, ids = index.search(query[None, :], want, allowed=among)
        found = _fold(view, zip(ids[0].tolist(), scores[0].tolist(), strict=True), chance)
        if len(found) >= k or ids.shape[1] < want:
            return list(found.values())[:k]
        want *= 4


def _fold(view: View, ranked: Iterable[tuple[int, float]], chance: Background) -> dict[int, Candidate]:
    """Keep each item's first segment. What another thread's index knows and this view does not is passed over."""
    found: dict[int, Candidate] = {}
    for segment, score in ranked:
        located = view.segment(segment)
        if located is not None and located[0] not in found and _is_live(view, located[0]):
            found[located[0]] = Candidate(*located, score, chance.surprise(score), chance.expect(score))
    return found


def _is_live(view: View, item: int) -> bool:
    facts = view.facts(item)
    return facts is not None and view.is_live(bytes.fromhex(facts["hash"]))


def _hit(view: View, candidate: Candidate, filters: Filters) -> Hit:
    facts = view.facts(candidate.item)
    assert facts is not None
    owners = view.owners(bytes.fromhex(facts["hash"]))
    first, *others = sorted(owners, key=lambda record: (not filters.admits(record), record.path))
    return Hit(
        path=first.path,
        modality=Modality(facts["modality"]),
        score=candidate.score,
        expect=candidate.expect,
        segment=candidate.segment,
        item=candidate.item,
        copies=[record.path for record in others],
        metadata=first.metadata,
    )
