"""From segments to items: the best segment of each item represents it."""

from __future__ import annotations

from collections.abc import Iterable

from bindsearch.ports import Index
from bindsearch.retrieval.candidates import BoundQuery, Candidate
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality


class ItemGrouper:
    """Groups segments by item. Skips segments that another thread added to an index after the snapshot was taken."""

    def __init__(self, snapshot: Snapshot, without: frozenset[bytes]) -> None:
        """`without` are the digests of contents to leave out."""
        self._snapshot = snapshot
        self._without = without
        self._admitted: dict[int, bool] = {}

    def best_items(
        self, index: Index, query: BoundQuery, modality: Modality, *, k: int, among: Ids | None
    ) -> Iterable[Candidate]:
        """Return the `k` best items of one index, searching deeper until there are `k`.

        The best `k` of each index suffice: an item among the best `k` overall is among the best `k` of its index.
        """
        if query.reorders_index:
            return self._best_reordered(index, query, modality, k=k, among=among)
        best: dict[int, Candidate] = {}
        depth, done = 4 * k + 16, 0
        while True:
            scores, ids = index.search(query.index_vector[None, :], depth, allowed=among)
            for segment, score in zip(ids[0, done:].tolist(), scores[0, done:].tolist(), strict=True):
                item = self._snapshot.owner_of(segment)
                if item is not None and item not in best and self.admits(item):
                    best[item] = query.from_index(item, segment, modality, score=score)
                    if len(best) == k:
                        return best.values()
            if ids.shape[1] < depth:
                return best.values()
            done, depth = ids.shape[1], 4 * depth

    def _best_reordered(
        self, index: Index, query: BoundQuery, modality: Modality, *, k: int, among: Ids | None
    ) -> Iterable[Candidate]:
        """Return the same with hubness reduction: search deeper until no further segment can be among the best."""
        best: dict[int, Candidate] = {}
        depth, done = 16 * k + 64, 0
        while True:
            scores, ids = index.search(query.index_vector[None, :], depth, allowed=among)
            for segment in ids[0, done:].tolist():
                item = self._snapshot.owner_of(segment)
                if item is not None and self.admits(item):
                    candidate = query.from_vector(item, segment, modality, row=self._snapshot.vector(segment))
                    if item not in best or candidate.sort_key(raw=False) < best[item].sort_key(raw=False):
                        best[item] = candidate
            top = sorted(best.values(), key=lambda candidate: candidate.sort_key(raw=False))[:k]
            if ids.shape[1] < depth:
                return top
            if len(top) == k and top[-1].surprisal > query.max_surprisal(modality, score=float(scores[0, -1])):
                return top
            done, depth = ids.shape[1], 4 * depth

    def admits(self, item: int) -> bool:
        """Whether an item is live, and its content is not left out."""
        if item not in self._admitted:
            record = self._snapshot.item_record(item)
            self._admitted[item] = (
                record is not None and record.digest not in self._without and self._snapshot.is_live(record.digest)
            )
        return self._admitted[item]
