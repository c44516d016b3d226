"""An edition at work: one ledger, its indexes and its encoders, which always belong together."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bindsearch.calibration.background_queries import background_texts
from bindsearch.calibration.null_distribution import CalibrationOptions
from bindsearch.calibration.store import CalibrationStore
from bindsearch.errors import BadQuery, MissingWeights
from bindsearch.explain.text import with_words
from bindsearch.explain.why import explain
from bindsearch.explain.why_not import account
from bindsearch.indexing.index_store import IndexStore, ProgressCallback
from bindsearch.indexing.recall_queries import typed_vectors
from bindsearch.query.encode import EncodedQuery, encode_query
from bindsearch.query.language import Query, query_of
from bindsearch.query.operands import Operands
from bindsearch.query.request import EncodedRequest, SearchRequest
from bindsearch.results import Hit, Hits, WhyNot
from bindsearch.retrieval.search import Search
from bindsearch.spaces.space import Space
from bindsearch.spaces.text_vectors import kept_vectors
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import Edition, read_manifest
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

if TYPE_CHECKING:
    from PIL.Image import Image

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
        self.index_store = IndexStore(
            indexes, dim=edition.dim, settings=lambda: read_manifest(folder).settings, typed=self._typed
        )
        self._calibration = CalibrationStore(
            indexes,
            dim=edition.dim,
            texts=lambda: kept_vectors(background_texts(), lambda: self.space, indexes / "background", dim=edition.dim),
        )

    @property
    def _calibration_options(self) -> CalibrationOptions:
        settings = read_manifest(self._folder).settings
        return CalibrationOptions(settings.centring, settings.hubness)

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if they are not those of the vectors."""
        if self._space is None:
            try:
                space = Space.named(self.edition.space)
            except MissingWeights as error:
                raise MissingWeights(f"{error}{self.edition.hint_if_moved}") from error
            self.edition.check(space.spec, self._folder)
            self._space = space
        return self._space

    def vector(self, query: str | os.PathLike[str] | Query) -> Vectors:
        """Return the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        return self.compile(query_of(query)).vector

    def compile(self, query: Query) -> EncodedQuery:
        """Embed what a query is made of. Raises `QueryError`, `MediaError`."""
        operands = Operands(self.ledger, self.space)
        compiled = encode_query(query, operands.embed)
        kinds = tuple(map(operands.kinds, query.operands))
        return replace(compiled, kinds=kinds, content=operands.content(query))

    def answer(self, question: SearchRequest, *, why: bool = False) -> Hits:
        """Find the best items for all that was asked. Raises `QueryError`, `MediaError`."""
        asked = EncodedRequest.of(question, self.compile)
        with self.ledger.read() as snapshot:
            asked, search = self._settled(snapshot, asked, question)
            hits = search.hits(question.k)
            if not why:
                return hits
            explained = [explain(search, asked, hit) for hit in hits]
        return replace(hits, hits=tuple(with_words(hit, self.space) for hit in explained))

    def account(self, path: Path, question: SearchRequest, *, most: float) -> WhyNot:
        """Say why a file is, or is not, among what was asked for with an expectation of at most `most`."""
        asked = EncodedRequest.of(question, self.compile)
        with self.ledger.read() as snapshot:
            asked, search = self._settled(snapshot, asked, question)
            return account(search, asked, path, k=question.k, most=most)

    def _typed(self) -> Vectors:
        """Return ordinary words as people type them, embedded."""
        return typed_vectors(lambda: self.space, self.edition.index(self._folder), self.edition.dim)

    def draw(self, hit: Hit) -> Image:
        """Draw why a hit is one. Raises `BadQuery`, `MediaError`."""
        from bindsearch.explain.evidence import reason_of
        from bindsearch.explain.picture import draw

        with self.ledger.read() as snapshot:
            reason = reason_of(hit, snapshot, self.index_store.follow(snapshot), typed=self._typed())
        return draw(reason, self.space)

    def _settled(
        self, snapshot: Snapshot, asked: EncodedRequest, question: SearchRequest
    ) -> tuple[EncodedRequest, Search]:
        """Prepare a search; if the question leans on its own results, find these first."""
        search = self._search(snapshot, asked, question)
        if question.deepest:
            hits = search.hits(question.deepest)
            if len(hits) < question.deepest:
                raise BadQuery(f"there is no result {question.deepest}: the same search without it finds {len(hits)}")
            more, less = (
                {f"result:{number}": snapshot.vector(hits[number - 1].segment.id) for number in numbers}
                for numbers in (question.more_like, question.less_like)
            )
            numbers = (*question.more_like, *question.less_like)
            asked = asked.leaning(more, less, [hits[number - 1].segment.modality for number in numbers])
            search = self._search(snapshot, asked, question)
        return asked, search

    def _search(self, snapshot: Snapshot, asked: EncodedRequest, question: SearchRequest) -> Search:
        indexes, wanted, unwanted = self.index_store.follow(snapshot), asked.wanted, asked.unwanted
        kinds = {part.kind for asking in (*wanted, *unwanted) for part in asking.components}
        calibration = self._calibration.at(snapshot, indexes, frozenset(kinds), self._calibration_options)
        return Search(
            snapshot,
            indexes,
            wanted,
            calibration=calibration,
            unwanted=unwanted,
            filters=question.filters,
            raw=question.raw,
        )

    def rows(self, snapshot: Snapshot, item: int) -> Vectors:
        """Return the unit vectors of an item's segments. *Shape:* (number of segments, dim)"""
        blocks = [snapshot.vectors(run.first) for run in snapshot.runs_of(item)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.edition.dim), dtype=np.float32)

    def save(self, *, everything: bool = False) -> None:
        """Write the indexes, and drop the part of the log that they have taken in. The caller is the writer."""
        with self.ledger.read() as snapshot:
            self.index_store.follow(snapshot)
        self.ledger.prune_log(self.index_store.save(everything=everything))

    def renew(self, on_progress: ProgressCallback = lambda building: None, *, everything: bool = False) -> int:
        """Write the indexes while others search and write; give the position of the log that they have reached.

        Raises `LibraryBusy` as `IndexStore.save` does.
        """
        for _ in range(PASSES):
            with self.ledger.read() as snapshot:
                self.index_store.follow(snapshot)
                position = snapshot.position()
            reached = self.index_store.save(everything=everything, on_progress=on_progress)
            everything = False
            with self.ledger.read() as snapshot:
                if snapshot.position() == position:  # nobody changed anything meanwhile, and left its index to us
                    break
        with self.ledger.read() as snapshot:
            self._calibration.at(
                snapshot, self.index_store.follow(snapshot), frozenset({Modality.TEXT}), self._calibration_options
            )
        return reached

    def close(self) -> None:
        """Let go of the files."""
        self.ledger.close()
