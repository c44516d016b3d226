"""The same question, asked of two spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bindsearch.results import Hit, Hits


@dataclass(frozen=True)
class Answer:
    """What one space of a library answers."""

    space: str
    edition: str
    """`current`, `pending` (as far as it is built) or `previous`."""
    hits: Hits


@dataclass(frozen=True)
class Comparison:
    """What the space that answers and the one beside it say to the same query."""

    now: Answer
    other: Answer

    @property
    def shared(self) -> int:
        """How many files both answers have."""
        return sum(self.rank_now(hit) is not None for hit in self.other.hits)

    def rank_now(self, hit: Hit) -> int | None:
        """Return the rank, from 1, that a hit of the other answer has in the one of now."""
        places = {hit.path, *hit.copies}
        ranks = (rank for rank, own in enumerate(self.now.hits, 1) if places & {own.path, *own.copies})
        return next(ranks, None)

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        told = [
            {"space": answer.space, "edition": answer.edition, "hits": [hit.as_json() for hit in answer.hits]}
            for answer in (self.now, self.other)
        ]
        return {"shared": self.shared, "answers": told}
