"""The same request, searched in two spaces of a library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from bindsearch.results import Hit, Hits, Json
from bindsearch.storage.manifest import EditionRole


@dataclass(frozen=True)
class SpaceResults:
    """What a search finds in one space of a library."""

    space: str
    edition: EditionRole
    """A pending edition finds only files that are already embedded."""
    hits: Hits

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {"space": self.space, "edition": self.edition, "hits": [hit.as_json() for hit in self.hits]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read results; `searched` and `best_expect` of the hits are not in JSON, and are 0 and None."""
        return cls(values["space"], EditionRole(values["edition"]), Hits(tuple(map(Hit.from_json, values["hits"])), 0))


@dataclass(frozen=True)
class Comparison:
    """The results of the current space and of the one beside it."""

    current: SpaceResults
    other: SpaceResults

    @property
    def shared(self) -> int:
        """How many files both found."""
        return sum(self.current_rank(hit) is not None for hit in self.other.hits)

    def current_rank(self, hit: Hit) -> int | None:
        """Return the rank, from 1, that a hit of the other space has in the current one."""
        paths = {hit.path, *hit.copies}
        ranks = (rank for rank, own in enumerate(self.current.hits, 1) if paths & {own.path, *own.copies})
        return next(ranks, None)

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {"shared": self.shared, "results": [self.current.as_json(), self.other.as_json()]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(*map(SpaceResults.from_json, values["results"]))
