"""An edition at work: one ledger, its indexes and its encoders, which always belong together."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.explanation import WhyNot, account, explain
from bindsearch.filters import Filters
from bindsearch.gallery import Gallery, Tell
from bindsearch.ledger import Ledger
from bindsearch.operands import Operands
from bindsearch.query import Compiled, Query, compile_query, query_of
from bindsearch.question import Asked, Question
from bindsearch.schema import Edition, read_card
from bindsearch.search import Search
from bindsearch.spaces import Space
from bindsearch.typed import typed_vectors
from bindsearch.types import Hits, Vectors
from bindsearch.view import View

PASSES = 3
"""Made over the indexes at most, where others keep changing the library; the next who indexes goes on."""


class OpenEdition:
    """What an operation of the library takes hold of once, so that it never mixes two spaces."""

    def __init__(self, folder: Path, edition: Edition, space: Space | None, *, create: bool = False) -> None:
        self.edition = edition
        self._folder = folder
        self._space = space
        self.ledger = Ledger.open(edition.ledger(folder), dim=edition.dim, create=create)
        indexes = edition.index(folder)
        self.gallery = Gallery(
            indexes,
            dim=edition.dim,
            wishes=lambda: read_card(folder).wishes,
            typed=lambda: typed_vectors(lambda: self.space, indexes, edition.dim),
        )

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if they are not those of the vectors."""
        if self._space is None:
            space = Space.named(self.edition.space)
            self.edition.check(space.spec, self._folder)
            self._space = space
        return self._space

    def vector(self, query: str | os.PathLike[str] | Query) -> Vectors:
        """Give the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        return self.compile(query_of(query)).vector

    def compile(self, query: Query) -> Compiled:
        """Embed what a query is made of. Raises `QueryError`, `MediaError`."""
        return compile_query(query, Operands(self.ledger, self.space).embed)

    def find(self, vector: Vectors, *, k: int, filters: Filters, raw: bool) -> Hits:
        """Find the best `k` items."""
        with self.ledger.read() as view:
            return Search(view, self.gallery.follow(view), [vector], filters=filters, raw=raw).hits(k)

    def answer(self, question: Question, *, k: int, filters: Filters, raw: bool, why: bool = False) -> Hits:
        """Find the best `k` items for all that was asked. Raises `QueryError`, `MediaError`."""
        asked = Asked.of(question, self.compile)
        with self.ledger.read() as view:
            asked, search = self._settled(view, asked, question, filters=filters, raw=raw)
            hits = search.hits(k)
            return replace(hits, hits=tuple(explain(search, asked, hit) for hit in hits)) if why else hits

    def account(self, path: Path, question: Question, *, k: int, filters: Filters, raw: bool, most: float) -> WhyNot:
        """Say why a file is, or is not, among the best `k` with an expectation of at most `most`."""
        asked = Asked.of(question, self.compile)
        with self.ledger.read() as view:
            asked, search = self._settled(view, asked, question, filters=filters, raw=raw)
            return account(search, asked, path, k=k, most=most)

    def _settled(
        self, view: View, asked: Asked, question: Question, *, filters: Filters, raw: bool
    ) -> tuple[Asked, Search]:
        """Prepare a search; if the question leans on its own results, find these first."""
        indexes = self.gallery.follow(view)

        def search_for(asked: Asked) -> Search:
            return Search(view, indexes, asked.wanted, unwanted=asked.unwanted, filters=filters, raw=raw)

        search = search_for(asked)
        if question.deepest:
            hits = search.hits(question.deepest)
            if len(hits) < question.deepest:
                raise BadQuery(f"there is no result {question.deepest}: the same search without it finds {len(hits)}")
            more, less = (
                {f"result:{number}": view.vector(hits[number - 1].segment.id) for number in numbers}
                for numbers in (question.more_like, question.less_like)
            )
            asked = asked.leaning(more, less)
            search = search_for(asked)
        return asked, search

    def rows(self, view: View, item: int) -> Vectors:
        """Give the unit vectors of an item's segments. *Shape:* (number of segments, dim)"""
        facts = view.facts(item) or {"runs": []}
        blocks = [view.vectors(first) for first, _, _ in facts["runs"]]
        return np.concatenate(blocks) if blocks else np.empty((0, self.edition.dim), dtype=np.float32)

    def save(self, *, everything: bool = False) -> None:
        """Write the indexes, and drop the part of the log that they have taken in. The caller is the writer."""
        with self.ledger.read() as view:
            self.gallery.follow(view)
        self.ledger.prune_log(self.gallery.save(everything=everything))

    def renew(self, tell: Tell = lambda building: None, *, everything: bool = False) -> int:
        """Write the indexes while others search and write; give the position of the log that they have reached.

        Raises `LibraryBusy` as `Gallery.save` does.
        """
        for _ in range(PASSES):
            with self.ledger.read() as view:
                self.gallery.follow(view)
                position = view.position()
            reached = self.gallery.save(everything=everything, tell=tell)
            everything = False
            with self.ledger.read() as view:
                if view.position() == position:  # nobody changed anything meanwhile, and left its index to us
                    break
        return reached

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()
