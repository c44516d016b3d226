"""Saved concepts: queries under a name, kept in the ledger with the vector that they have in its space."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.core.lock import writing
from bindsearch.errors import BadQuery, EmptyQuery
from bindsearch.query.concept import Concept, no_such_concept
from bindsearch.query.language import Operand, Query, concept, query_of

if TYPE_CHECKING:
    from bindsearch.library.edition import OpenEdition


class Concepts(Mapping[str, Concept]):
    """The concepts of a library, by name."""

    def __init__(self, folder: Path, now: Callable[[], OpenEdition]) -> None:
        self._folder = folder
        self._now = now

    def __getitem__(self, name: str) -> Concept:
        with self._now().ledger.read() as snapshot:
            told = snapshot.concepts().get(name)
        if told is None:
            raise KeyError(name)
        return Concept.from_record(name, told)

    def __iter__(self) -> Iterator[str]:
        with self._now().ledger.read() as snapshot:
            return iter(snapshot.concepts())

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
            edition.ledger.write(lambda txn: txn.put_concept(name, made.as_record()))
        return made

    def remove(self, name: str) -> None:
        """Forget a concept. Raises `BadQuery` if there is none of this name, `LibraryBusy`."""
        with writing(self._folder):
            if name not in self:
                raise no_such_concept(name, self)
            self._now().ledger.write(lambda txn: txn.drop_concept(name))


def _settled(operand: Operand) -> Operand:
    """Make a part independent of the current folder and of other concepts. Raises `BadQuery`."""
    if operand.kind == "concept":
        raise BadQuery(f"a concept is made of files and words, not of another one ({operand.word}): name its parts")
    return replace(operand, value=os.path.abspath(operand.value)) if operand.kind == "file" else operand
