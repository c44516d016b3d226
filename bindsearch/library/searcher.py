"""Runs search requests on one edition: encode, calibrate, search, explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.errors import BadQuery
from bindsearch.explain.text import with_key_phrase
from bindsearch.explain.why import explain
from bindsearch.explain.why_not import explain_file
from bindsearch.query.encode import EncodedQuery, EncodedRequest, encode_query
from bindsearch.query.language import Query
from bindsearch.query.operands import Operands
from bindsearch.query.request import SearchRequest
from bindsearch.results import Hit, Hits, WhyNot
from bindsearch.retrieval.search import Search
from bindsearch.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindsearch.library.edition import OpenEdition


class Searcher:
    """Searches one edition. All methods raise `QueryError` and `MediaError` for requests that cannot be answered."""

    def __init__(self, edition: OpenEdition) -> None:
        self._edition = edition

    def encode(self, query: Query) -> EncodedQuery:
        """Encode a query in the edition's space."""
        operands = Operands(self._edition.ledger, self._edition.space)
        encoded = encode_query(query, operands.embed)
        kinds = tuple(map(operands.kinds, query.operands))
        return replace(encoded, kinds=kinds, content=operands.content(query))

    def search(self, request: SearchRequest, *, without: frozenset[bytes] = frozenset()) -> Hits:
        """Return the hits of a request, leaving out the contents with the digests `without`."""
        encoded = EncodedRequest.of(request, self.encode)
        with self._edition.ledger.read() as snapshot:
            encoded, search = self._prepared(snapshot, encoded, request, without)
            hits = search.hits(request.k).within(request.max_expect)
            if not request.why:
                return hits
            explained = [explain(search, encoded, hit) for hit in hits]
        return replace(hits, hits=tuple(with_key_phrase(hit, self._edition.space) for hit in explained))

    def similar(self, request: SearchRequest) -> Hits:
        """Return the hits of a request whose query is a file, leaving out the file and its copies."""
        own = Operands(self._edition.ledger, self._edition.space).content(request.query)
        if own is None:
            raise BadQuery(f"{request.query} is not a single whole file: only a file can be compared with others")
        return self.search(request, without=frozenset({own}))

    def why_not(self, path: Path, request: SearchRequest) -> WhyNot:
        """Explain why a file is, or is not, among the hits of a request."""
        encoded = EncodedRequest.of(request, self.encode)
        with self._edition.ledger.read() as snapshot:
            encoded, search = self._prepared(snapshot, encoded, request, frozenset())
            return explain_file(search, encoded, path, k=request.k, max_expect=request.max_expect)

    def draw(self, hit: Hit) -> Image:
        """Draw the explanation of a hit."""
        from bindsearch.explain.evidence import evidence_of
        from bindsearch.explain.picture import draw

        edition = self._edition
        with edition.ledger.read() as snapshot:
            indexes = edition.index_store.follow(snapshot)
            evidence = evidence_of(hit, snapshot, indexes, typical_queries=edition.typical_queries())
        return draw(evidence, edition.space)

    def _prepared(
        self, snapshot: Snapshot, encoded: EncodedRequest, request: SearchRequest, without: frozenset[bytes]
    ) -> tuple[EncodedRequest, Search]:
        """Prepare a search. With feedback, the same search without it comes first: it has the results referred to."""
        search = self._search(snapshot, encoded, request, without)
        deepest = request.deepest_feedback
        if not deepest:
            return encoded, search
        hits = search.hits(deepest)
        if len(hits) < deepest:
            raise BadQuery(f"there is no result {deepest}: the same search without it finds {len(hits)}")
        more, less = (
            {f"result:{number}": snapshot.vector(hits[number - 1].segment.id) for number in numbers}
            for numbers in (request.more_like, request.less_like)
        )
        numbers = (*request.more_like, *request.less_like)
        encoded = encoded.with_feedback(more, less, [hits[number - 1].segment.modality for number in numbers])
        return encoded, self._search(snapshot, encoded, request, without)

    def _search(
        self, snapshot: Snapshot, encoded: EncodedRequest, request: SearchRequest, without: frozenset[bytes]
    ) -> Search:
        wanted, unwanted = encoded.wanted, encoded.unwanted
        kinds = frozenset(component.kind for query in (*wanted, *unwanted) for component in query.components)
        indexes = self._edition.index_store.follow(snapshot)
        return Search(
            snapshot,
            indexes,
            wanted,
            calibration=self._edition.calibration(snapshot, indexes, kinds),
            unwanted=unwanted,
            filters=request.filters,
            without=without,
            raw=request.raw,
        )
