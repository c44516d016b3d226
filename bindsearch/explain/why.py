"""Explain a hit: operand contributions and the best moments of the item."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bindsearch.results import Answer, Hit, Moment, Term, Why
from bindsearch.retrieval.candidates import Candidate
from bindsearch.retrieval.search import Search, segment_of
from bindsearch.storage.snapshot import Snapshot

if TYPE_CHECKING:
    from bindsearch.query.request import EncodedRequest

MOMENTS = 5
"""As many moments of a file are shown."""


def explain(search: Search, asked: EncodedRequest, hit: Hit) -> Hit:
    """Return a hit that says what its score is made of."""
    return replace(hit, why=_why(search, asked, hit.item, shown=hit.segment.id))


def _why(search: Search, asked: EncodedRequest, item: int, *, shown: int) -> Why:
    moments = search.moments(item, search.wanted[0])
    moments.sort(key=lambda candidate: candidate.segment != shown)  # ahead of those that are as good
    parts = asked.main.contributions(search.snapshot.vector(moments[0].segment))
    queries = [asked.main, *asked.also, *asked.excluding]
    answers = [
        Answer(" ".join(compiled.query.words), place < len(search.wanted), _moment(search.snapshot, best))
        for place, (compiled, probe) in enumerate(zip(queries, [*search.wanted, *search.unwanted], strict=True))
        if (best := search.best_of(item, probe))
    ]
    return Why(
        score=sum(parts),
        terms=tuple(Term(name, part) for name, part in zip(asked.main.signed_names, parts, strict=True)),
        moments=tuple(_moment(search.snapshot, candidate) for candidate in moments[:MOMENTS]),
        answers=tuple(answers) if len(answers) > 1 else (),
        vector=asked.main.vector,
    )


def _moment(snapshot: Snapshot, candidate: Candidate) -> Moment:
    return Moment(segment_of(snapshot, candidate), candidate.score, candidate.expect)
