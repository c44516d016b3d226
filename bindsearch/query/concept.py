"""A saved concept: a query under a name, with the vector that it has in one space."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery
from bindsearch.query.language import Query
from bindsearch.storage.records import ConceptRecord
from bindsearch.types import Vectors


@dataclass(frozen=True, eq=False)
class Concept:
    """What `concept:NAME` means in a query: the direction of the sum of its parts."""

    name: str
    parts: Query
    """Texts and files; files with absolute paths."""
    space: str
    fingerprint: str
    """Of the space that the vector belongs to. In another space the parts are embedded again."""
    vector: Vectors
    """*Shape:* (dim,)"""

    @classmethod
    def from_record(cls, name: str, record: ConceptRecord) -> Concept:
        """Return the concept of a record."""
        return cls(name, Query.from_json(record.parts), record.space, record.fingerprint, record.vector)

    def as_record(self) -> ConceptRecord:
        """Return what the ledger stores under the name."""
        return ConceptRecord(self.parts.as_json(), self.space, self.fingerprint, self.vector)

    def summary(self) -> dict[str, Any]:
        """Return what `concepts --json` prints; only `as_record` holds all that a concept is."""
        return {"name": self.name, "parts": list(self.parts.words), "space": self.space}


def no_such_concept(name: str, known: Iterable[str]) -> BadQuery:
    """Return the error for a concept that does not exist, with the name that may be meant."""
    meant = did_you_mean(name, known, prefix="concept:")
    return BadQuery(f"no concept is called {name}{meant}; `bindsearch concepts list` shows what is saved")
