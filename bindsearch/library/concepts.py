"""The saved concepts of a library: queries under names, kept in the ledger with their vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.core.lock import writing
from bindsearch.errors import BadQuery, EmptyQuery
from bindsearch.library.searcher import Searcher
from bindsearch.query.concept import Concept, no_such_concept
from bindsearch.query.language import Operand, Query, concept, query_of

if TYPE_CHECKING:
    from bindsearch.library.edition import OpenEdition


class Concepts(Mapping[str, Concept]):
    """The concepts of a library, by name."""

    def __init__(self, folder: Path, current: Callable[[], OpenEdition]) -> None:
        self._folder = folder
        self._current = current

    def __getitem__(self, name: str) -> Concept:
        with self._current().ledger.read() as snapshot:
            record = snapshot.concepts().get(name)
        if record is None:
            raise KeyError(name)
        return Concept.from_record(name, record)

    def __iter__(self) -> Iterator[str]:
        with self._current().ledger.read() as snapshot:
            return iter(snapshot.concepts())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def add(self, name: str, *parts: str | os.PathLike[str] | Query) -> Concept:
        """Save the sum of texts, files and queries under a name, replacing any concept of this name.

        Raises `QueryError`, `MediaError`, `LibraryBusy`.
        """
        concept(name)  # raises if no concept can have this name
        if not parts:
            raise EmptyQuery(f"the concept {name} has no parts: name files, or write words")
        whole = Query(tuple(_self_contained(operand) for part in parts for operand in query_of(part).operands))
        with writing(self._folder):
            edition = self._current()
            spec = edition.space.spec
            added = Concept(name, whole, spec.name, spec.fingerprint, Searcher(edition).encode(whole).vector)
            edition.ledger.write(lambda txn: txn.put_concept(name, added.as_record()))
        return added

    def remove(self, name: str) -> None:
        """Delete a concept. Raises `BadQuery` if there is none of this name, `LibraryBusy`."""
        with writing(self._folder):
            if name not in self:
                raise no_such_concept(name, self)
            self._current().ledger.write(lambda txn: txn.drop_concept(name))


def _self_contained(operand: Operand) -> Operand:
    """Make an operand independent of the current folder. Raises `BadQuery` for one that is a concept itself."""
    if operand.kind == "concept":
        raise BadQuery(f"a concept cannot contain another concept ({operand.word}): name its files and words instead")
    return replace(operand, value=os.path.abspath(operand.value)) if operand.kind == "file" else operand
