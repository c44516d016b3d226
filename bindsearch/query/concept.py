"""A saved concept: a query under a name, with the vector that it has in one space."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery
from bindsearch.query.language import Query
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
    def from_record(cls, name: str, record: Mapping[str, Any]) -> Concept:
        """Read what `as_record` wrote."""
        vector = np.frombuffer(b64decode(record["vector"]), dtype="<f4").astype(np.float32)
        return cls(name, Query.from_json(record["parts"]), record["space"], record["fingerprint"], vector)

    def as_record(self) -> dict[str, Any]:
        """Return the plain values that the ledger keeps under the name."""
        return {
            "parts": self.parts.as_json(),
            "space": self.space,
            "fingerprint": self.fingerprint,
            "vector": b64encode(self.vector.astype("<f4").tobytes()).decode("ascii"),
        }

    def summary(self) -> dict[str, Any]:
        """Return what `concepts --json` prints; only `as_record` holds all that a concept is."""
        return {"name": self.name, "parts": list(self.parts.words), "space": self.space}


def no_such_concept(name: str, known: Iterable[str]) -> BadQuery:
    """Return the error for a concept that does not exist, with the name that may be meant."""
    meant = did_you_mean(name, known, prefix="concept:")
    return BadQuery(f"no concept is called {name}{meant}; `bindsearch concepts list` shows what is saved")
