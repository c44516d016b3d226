"""Group segment hits by item."""

from __future__ import annotations

from collections.abc import Iterable

from bindsearch.ports import Index
from bindsearch.retrieval.candidates import BoundQuery, Candidate
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality


class ItemGrouper:
    """Folds segments into items. What another thread's index knows and this view does not is passed over."""

    def __init__(self, snapshot: Snapshot, without: frozenset[bytes]) -> None:
        self._snapshot = snapshot
        self._without = without
        self._wanted: dict[int, bool] = {}

    def best_items(
        self, index: Index, probe: BoundQuery, modality: Modality, *, k: int, among: Ids | None
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
                item = self._snapshot.owner_of(segment)
                if item is not None and item not in found and self.wants(item):
                    found[item] = probe.found(item, segment, modality, score=score)
                    if len(found) == k:
                        return found.values()
            if ids.shape[1] < want:
                return found.values()
            seen, want = ids.shape[1], 4 * want

    def _best_bent(
        self, index: Index, probe: BoundQuery, modality: Modality, *, k: int, among: Ids | None
    ) -> Iterable[Candidate]:
        """Do so where hubs count less: look down to where nothing can come that is among the best."""
        found: dict[int, Candidate] = {}
        want, seen = 16 * k + 64, 0
        while True:
            scores, ids = index.search(probe.sought[None, :], want, allowed=among)
            for segment in ids[0, seen:].tolist():
                item = self._snapshot.owner_of(segment)
                if item is not None and self.wants(item):
                    candidate = probe.candidate(item, segment, modality, row=self._snapshot.vector(segment))
                    if item not in found or candidate.rank(raw=False) < found[item].rank(raw=False):
                        found[item] = candidate
            best = sorted(found.values(), key=lambda candidate: candidate.rank(raw=False))[:k]
            if ids.shape[1] < want:
                return best
            if len(best) == k and best[-1].surprisal > probe.most(modality, score=float(scores[0, -1])):
                return best
            seen, want = ids.shape[1], 4 * want

    def wants(self, item: int) -> bool:
        """Whether an item is live, and not one to leave out."""
        if item not in self._wanted:
            record = self._snapshot.item_record(item)
            digest = None if record is None else record.digest
            self._wanted[item] = digest is not None and digest not in self._without and self._snapshot.is_live(digest)
        return self._wanted[item]
