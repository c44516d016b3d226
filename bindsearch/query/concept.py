"""A saved concept: a named query with its vector."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery
from bindsearch.query.language import Operand, Query
from bindsearch.types import Vectors

if TYPE_CHECKING:
    pass

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, eq=False)
class Concept:
    """What `concept:NAME` stands for in a query: the direction of the sum of its parts."""

    name: str
    parts: Query
    """Texts and files; files by their whole path."""
    space: str
    fingerprint: str
    """Of the space that the vector is of. In another space the parts are embedded anew."""
    vector: Vectors
    """*Shape:* (dim,)"""

    @classmethod
    def from_record(cls, name: str, told: Mapping[str, Any]) -> Concept:
        """Read what `as_record` gave."""
        parts = Query(tuple(Operand(**part) for part in told["parts"]))
        vector = np.frombuffer(b64decode(told["vector"]), dtype="<f4").astype(np.float32)
        return cls(name, parts, told["space"], told["fingerprint"], vector)

    def as_record(self) -> dict[str, Any]:
        """Plain values that the ledger keeps under the name."""
        return {
            "parts": [asdict(part) for part in self.parts.operands],
            "space": self.space,
            "fingerprint": self.fingerprint,
            "vector": b64encode(self.vector.astype("<f4").tobytes()).decode("ascii"),
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {"name": self.name, "parts": list(self.parts.words), "space": self.space}


def no_such_concept(name: str, known: Iterable[str]) -> BadQuery:
    """Say that there is no concept of a name, and which one may have been meant."""
    meant = did_you_mean(name, known, prefix="concept:")
    return BadQuery(f"no concept is called {name}{meant}; `bindsearch concepts list` shows what is saved")
