"""Search requests: what `SearchRequest.of` reads, and the way to JSON and back."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import bindsearch
from bindsearch import SearchRequest
from bindsearch.errors import BadQuery, QueryError
from bindsearch.query.filters import Filters
from bindsearch.query.language import Operand, Query, text
from bindsearch.query.tag_conditions import TagCondition
from bindsearch.types import Modality

texts = st.text(min_size=1, max_size=20).filter(str.strip)
weights = st.floats(-1e6, 1e6).filter(bool)
seconds = st.one_of(st.none(), st.floats(0, 1e4))
operands = st.one_of(
    st.builds(Operand, st.just("text"), texts, weights),
    st.builds(Operand, st.just("file"), texts, weights, seconds, st.none()),
    st.builds(Operand, st.just("file"), texts, weights, st.none(), st.floats(1, 1e5)),
    st.builds(Operand, st.just("concept"), st.from_regex(r"[a-z][a-z0-9_.-]{0,20}", fullmatch=True), weights),
)
queries = st.builds(Query, st.lists(operands, min_size=1, max_size=3).map(tuple))
words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
times = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.sampled_from([None, UTC]))
filters = st.builds(
    Filters,
    modalities=st.frozensets(st.sampled_from(Modality)),
    under=st.lists(words.map(lambda name: Path.cwd() / name), max_size=2, unique=True).map(tuple),
    since=st.none() | times,
    extensions=st.frozensets(words.map(str.lower), max_size=3),
    metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    tags=st.lists(
        st.builds(TagCondition, words, st.sampled_from([">", ">=", "<", "<="]), st.floats(0, 1).map(abs)), max_size=2
    ).map(tuple),
)
numbers = st.lists(st.integers(1, 99), unique=True, max_size=4)
feedback = numbers.flatmap(lambda every: st.integers(0, len(every)).map(lambda cut: (every[:cut], every[cut:])))


@st.composite
def requests(draw) -> SearchRequest:
    more, less = draw(feedback)
    return SearchRequest(
        draw(queries),
        also=tuple(draw(st.lists(queries, max_size=2))),
        excluding=tuple(draw(st.lists(queries, max_size=2))),
        more_like=tuple(more),
        less_like=tuple(less),
        k=draw(st.integers(1, 10**9)),
        raw=draw(st.booleans()),
        filters=draw(filters),
        max_expect=draw(st.floats(0) | st.just(math.inf)),
        why=draw(st.booleans()),
    )


@given(requests())
def test_request_round_trips_through_json(request):
    assert SearchRequest.from_json(json.loads(json.dumps(request.as_json()))) == request


@given(queries)
def test_query_round_trips_through_json(query):
    assert Query.from_json(json.loads(json.dumps(query.as_json()))) == query


def test_json_holds_queries_as_operands_and_filters_by_name():
    request = SearchRequest.of("night", k=3, modality="image", ext=".PNG", tag="dog>0.8", where={"trip": "coast"})
    assert request.as_json() == {
        "query": [{"kind": "text", "value": "night", "weight": 1.0, "start": None, "end": None}],
        "also": [],
        "excluding": [],
        "more_like": [],
        "less_like": [],
        "k": 3,
        "raw": False,
        "modality": ["image"],
        "under": [],
        "since": None,
        "ext": ["png"],
        "where": {"trip": "coast"},
        "tag": ["tag:dog>0.8"],
        "max_expect": None,
        "why": False,
    }


def test_everything_but_the_query_may_be_left_out_of_json():
    assert SearchRequest.from_json({"query": [{"kind": "text", "value": "night"}]}) == SearchRequest(text("night"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "the request has no query"),
        ({"query": [{"kind": "text", "value": "night"}], "limit": 3}, "unknown option 'limit'; there are also, "),
        ({"query": [{"kind": "smell", "value": "rose"}]}, "is not an operand"),
        ({"query": [{"kind": "text", "value": 7}]}, "is not an operand"),
        ({"query": [{"value": "night"}]}, "is not an operand"),
        ({"query": []}, "the query is empty"),
        ({"query": [{"kind": "text", "value": "night"}], "k": 0}, "cannot return 0 results"),
        ({"query": [{"kind": "text", "value": "night"}], "max_expect": -1}, "max_expect is -1"),
        ({"query": [{"kind": "text", "value": "night"}], "modality": ["smell"]}, "no modality is called 'smell'"),
    ],
)
def test_invalid_json_is_refused(values, message):
    with pytest.raises(QueryError) as caught:
        SearchRequest.from_json(values)
    assert message in str(caught.value)


def test_request_is_returned_as_it_is_and_takes_no_further_options():
    request = SearchRequest.of("night", k=3)
    assert SearchRequest.of(request) is request
    with pytest.raises(TypeError, match=r"dataclasses\.replace"):
        SearchRequest.of(request, k=4)
    assert replace(request, k=4) == SearchRequest.of("night", k=4)
    with pytest.raises(BadQuery, match="cannot return 0 results"):
        replace(request, k=0)


def test_library_search_shows_every_option():
    """`help(bindsearch.Library.search)` names all that a request can hold."""
    options = inspect.signature(bindsearch.Library.search).parameters
    made = inspect.signature(SearchRequest.of).parameters
    assert list(options)[1:] == list(made)
    assert {name: each.default for name, each in options.items()} == {
        "self": inspect.Parameter.empty,
        **{name: each.default for name, each in made.items()},
    }
    assert set(made) == set(SearchRequest.of("night").as_json())
