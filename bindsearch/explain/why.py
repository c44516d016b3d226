"""Explain a hit: the contribution of each operand, the best moments, and the match of each query."""

from __future__ import annotations

from dataclasses import replace

from bindsearch.query.encode import EncodedRequest
from bindsearch.results import Hit, Moment, QueryMatch, Term, Why
from bindsearch.retrieval.candidates import Candidate
from bindsearch.retrieval.search import Search, segment_of
from bindsearch.storage.snapshot import Snapshot

MAX_MOMENTS = 5
"""Moments listed per file."""


def explain(search: Search, encoded: EncodedRequest, hit: Hit) -> Hit:
    """Return a hit with its explanation."""
    return replace(hit, why=explain_item(search, encoded, hit.item, shown=hit.segment.id))


def explain_item(search: Search, encoded: EncodedRequest, item: int, *, shown: int) -> Why:
    """Explain the score of an item at the segment `shown`."""
    moments = search.moments(item, search.wanted[0])
    moments.sort(key=lambda candidate: candidate.segment != shown)  # first among equally good ones
    contributions = encoded.main.contributions(search.snapshot.vector(moments[0].segment))
    matches = _matches(search, encoded, item)
    return Why(
        score=sum(contributions),
        terms=tuple(map(Term, encoded.main.signed_names, contributions)),
        moments=tuple(_moment(search.snapshot, candidate) for candidate in moments[:MAX_MOMENTS]),
        matches=matches if len(matches) > 1 else (),
        vector=encoded.main.vector,
    )


def _matches(search: Search, encoded: EncodedRequest, item: int) -> tuple[QueryMatch, ...]:
    """Return how an item matches each query, first the wanted ones."""
    queries = [encoded.main, *encoded.also, *encoded.excluding]
    return tuple(
        QueryMatch(" ".join(each.query.words), place < len(search.wanted), _moment(search.snapshot, best))
        for place, (each, bound) in enumerate(zip(queries, [*search.wanted, *search.unwanted], strict=True))
        if (best := search.best_of(item, bound))
    )


def _moment(snapshot: Snapshot, candidate: Candidate) -> Moment:
    return Moment(segment_of(snapshot, candidate), candidate.score, candidate.expect)
