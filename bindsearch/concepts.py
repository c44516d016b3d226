"""Saved concepts: queries under a name, kept in the ledger with the vector that they have in its space."""

from __future__ import annotations

import difflib
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bindsearch.errors import BadQuery, EmptyQuery
from bindsearch.lock import writing
from bindsearch.query import Operand, Query, concept, query_of
from bindsearch.types import Vectors

if TYPE_CHECKING:
    from bindsearch.edition import OpenEdition


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


class Concepts(Mapping[str, Concept]):
    """The concepts of a library, by name."""

    def __init__(self, folder: Path, now: Callable[[], OpenEdition]) -> None:
        self._folder = folder
        self._now = now

    def __getitem__(self, name: str) -> Concept:
        with self._now().ledger.read() as view:
            told = view.concepts().get(name)
        if told is None:
            raise KeyError(name)
        return Concept.from_record(name, told)

    def __iter__(self) -> Iterator[str]:
        with self._now().ledger.read() as view:
            return iter(view.concepts())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, name: str, *parts: str | os.PathLike[str] | Query) -> Concept:
        """Save the sum of texts, files and queries under a name; what was saved under it before is replaced.

        Raises `QueryError`, `MediaError`, `LibraryBusy`.
        """
        concept(name)  # raises if this cannot be a name
        if not parts:
            raise EmptyQuery(f"the concept {name} has no parts: name files, or write words")
        whole = Query(tuple(_settled(operand) for part in parts for operand in query_of(part).operands))
        with writing(self._folder):
            edition = self._now()
            spec = edition.space.spec
            made = Concept(name, whole, spec.name, spec.fingerprint, edition.compile(whole).vector)
            edition.ledger.write(lambda change: change.put_concept((name, made.as_record())))
        return made

    def remove(self, name: str) -> None:
        """Forget a concept. Raises `BadQuery` if there is none of this name, `LibraryBusy`."""
        with writing(self._folder):
            if name not in self:
                raise no_such_concept(name, self)
            self._now().ledger.write(lambda change: change.drop_concept(name))


def no_such_concept(name: str, known: Iterable[str]) -> BadQuery:
    """Say that there is no concept of a name, and which one may have been meant."""
    near = difflib.get_close_matches(name, list(known), n=1)
    meant = f" (did you mean concept:{near[0]}?)" if near else ""
    return BadQuery(f"no concept is called {name}{meant}; `bindsearch concepts list` shows what is saved")


def _settled(operand: Operand) -> Operand:
    """Make a part independent of the current folder and of other concepts. Raises `BadQuery`."""
    if operand.kind == "concept":
        raise BadQuery(f"a concept is made of files and words, not of another one ({operand.word}): name its parts")
    return replace(operand, value=os.path.abspath(operand.value)) if operand.kind == "file" else operand
