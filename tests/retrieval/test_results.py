"""Results are written to JSON and read back, up to the rounding that `bindsearch.results` documents."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from hypothesis import given, strategies as st

from bindsearch import SearchRequest
from bindsearch.results import NO_ID, Hit, Hits, KeyPhrase, Moment, QueryMatch, Term, Verdict, Why, WhyNot
from bindsearch.retrieval.comparison import Comparison, SpaceResults
from bindsearch.storage.manifest import EditionRole
from bindsearch.types import Modality, Segment, Span

scores = st.integers(-(10**6), 10**6).map(lambda number: number / 10**6)
expects = st.floats(0, 1e6)
times = st.one_of(st.none(), st.integers(0, 10**7).map(lambda number: number / 1000))
places = st.one_of(st.none(), st.integers(0, 10**6))
spans = st.builds(Span, times, times, places, places)
segments = st.builds(Segment, st.just(NO_ID), st.sampled_from(Modality), spans)
passages = st.builds(Segment, st.just(NO_ID), st.just(Modality.TEXT), spans, st.text(max_size=20))
paths = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8).map(
    lambda name: Path("/", name)
)
terms = st.builds(Term, st.text(max_size=9), st.integers(-(10**9), 10**9).map(lambda number: number / 10**9))
moments = st.builds(Moment, segments, scores, expects)
matches = st.builds(QueryMatch, st.text(max_size=9), st.booleans(), moments)
key_phrases = st.builds(KeyPhrase, st.text(max_size=20), st.lists(st.text(max_size=5), max_size=3).map(tuple))


def several(values):
    return st.lists(values, max_size=3).map(tuple)


whys = st.builds(
    lambda terms, moments, matches, phrase: Why(
        sum(term.contribution for term in terms), terms, moments, matches, phrase
    ),
    several(terms),
    several(moments),
    several(matches),
    st.none() | key_phrases,
)
hits = st.builds(
    Hit,
    path=paths,
    modality=st.sampled_from(Modality),
    score=scores,
    expect=expects,
    segment=segments | passages,
    item=st.just(NO_ID),
    copies=several(paths),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    why=st.none() | whys,
)
lists_of_hits = st.builds(Hits, several(hits), st.integers(0, 10**9), st.none() | expects)
why_nots = st.builds(
    WhyNot,
    path=paths,
    verdict=st.sampled_from(Verdict),
    reason=st.text(max_size=20),
    rank=places,
    score=st.none() | scores,
    expect=st.none() | expects,
    why=st.none() | whys,
)
space_results = st.builds(
    SpaceResults, st.text(max_size=9), st.sampled_from(EditionRole), several(hits).map(lambda found: Hits(found, 0))
)


@given(st.one_of(hits, lists_of_hits, whys, why_nots, terms, moments, matches, key_phrases, space_results))
def test_result_round_trips_through_json(result):
    assert type(result).from_json(json.loads(json.dumps(result.as_json()))) == result


@given(space_results, space_results)
def test_comparison_round_trips_through_json(current, other):
    comparison = Comparison(current, other)
    assert Comparison.from_json(json.loads(json.dumps(comparison.as_json()))) == comparison


def test_hits_of_a_search_keep_everything_but_ids_and_vectors(library):
    found = library.search(SearchRequest.of("red", k=9, also="dark", why=True))
    read = Hits.from_json(json.loads(json.dumps(found.as_json())))
    assert read.as_json() == found.as_json()
    assert [hit.path for hit in read] == [hit.path for hit in found]
    assert {hit.item for hit in read} == {hit.segment.id for hit in read} == {NO_ID}
    assert all(hit.why.vector is not None for hit in found)
    assert all(hit.why.vector is None for hit in read)


def test_max_expect_limits_hits_and_keeps_the_best_e_value(library):
    found = library.search("red", k=9)
    limit = found[3].expect
    limited = library.search("red", k=9, max_expect=limit)
    assert list(limited) == [hit for hit in found if hit.expect <= limit]
    assert 0 < len(limited) < len(found)
    none = library.search("red", k=9, max_expect=found[0].expect / 2)
    assert (len(none), none.best_expect, none.searched) == (0, found[0].expect, found.searched)
    assert replace(none, best_expect=None) == Hits((), found.searched)
