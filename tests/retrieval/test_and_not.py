"""Several queries at once: the invariants of `also` and `excluding`, relevance feedback, and explanations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st
from media_files import large_collection, sound, tone

import bindsearch
from bindsearch.errors import BadQuery
from bindsearch.retrieval.search import EXCLUSION_EXPECT

EVERYTHING = 1_000
QUERIES = ["red", "blue", "green", "a low rumble", "a high whistle", "number 17", "yellow", "dark"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 60 pictures, 20 long sounds and 20 texts."""
    folder = tmp_path_factory.mktemp("crowd")
    with bindsearch.open(folder / "crowd.library") as opened:
        opened.index(large_collection(folder / "media", pictures=60, sounds=20, tones=4, texts=20))
        yield opened


def expects(library, query, **more) -> dict[int, float]:
    """Return the E-value of each item found, in order."""
    return {hit.item: hit.expect for hit in library.search(query, k=EVERYTHING, **more)}


def assert_same(one: dict[int, float], other: dict[int, float]) -> None:
    assert one == pytest.approx(other, rel=1e-3)
    orders = [sorted(each, key=lambda item: (round(each[item], 9), item)) for each in (one, other)]
    assert orders[0] == orders[1]


words = st.sampled_from(QUERIES)
raw = st.booleans()
searching = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])


@searching
@given(words, words, raw)
def test_and_is_commutative_and_never_better(crowd, a, b, raw):
    both, turned = (expects(crowd, one, also=other, raw=raw) for one, other in ((a, b), (b, a)))
    assert_same(both, turned)
    for alone in (expects(crowd, a), expects(crowd, b)):
        assert both.keys() == alone.keys()
        assert all(expect >= alone[item] * 0.999 for item, expect in both.items())


@searching
@given(words, words)
def test_and_takes_the_larger_e_value(crowd, a, b):
    alone = [expects(crowd, a), expects(crowd, b)]
    expected = {item: max(each[item] for each in alone) for item in alone[0]}
    both = expects(crowd, a, also=b)
    assert both == pytest.approx(expected, rel=1e-3)
    assert list(both.values()) == sorted(both.values())


@searching
@given(words, raw)
def test_and_is_idempotent(crowd, a, raw):
    once = crowd.search(a, k=EVERYTHING, raw=raw)
    twice = crowd.search(a, also=[a, a], k=EVERYTHING, raw=raw)
    assert {hit.item: hit.path for hit in once} == {hit.item: hit.path for hit in twice}
    assert [hit.score for hit in twice] == pytest.approx([hit.score for hit in once], abs=1e-6)
    expected = {hit.item: hit.expect for hit in once}  # by item: equal cosines may come in any order
    assert {hit.item: hit.expect for hit in twice} == pytest.approx(expected, rel=1e-3)


def test_and_is_associative(crowd):
    for first, *others in permutations(["red", "a low rumble", "dark"]):
        assert_same(expects(crowd, first, also=others), expects(crowd, "red", also=["a low rumble", "dark"]))


@searching
@given(words, st.lists(words, max_size=2), raw)
def test_query_excluding_itself_finds_nothing(crowd, a, others, raw):
    assert expects(crowd, a, also=others, excluding=a, raw=raw) == {}
    if others:
        assert expects(crowd, a, also=others, excluding=[*others, "sea"], raw=raw) == {}


@searching
@given(words, words, words)
def test_not_excludes_what_matches(crowd, a, b, c):
    wanted, unwanted = expects(crowd, a), expects(crowd, b)
    lists = [{hit.item: hit for hit in crowd.search(query, k=EVERYTHING)} for query in (a, b)]
    left = expects(crowd, a, excluding=b)
    assert all(unwanted[item] > EXCLUSION_EXPECT and unwanted[item] >= expect * 0.999 for item, expect in left.items())
    gone = wanted.keys() - left.keys()
    assert all(unwanted[item] <= max(EXCLUSION_EXPECT, wanted[item]) * 1.001 for item in gone)
    assert {item: wanted[item] for item in left} == pytest.approx(left, rel=1e-3)
    assert lists[0].keys() == lists[1].keys()
    assert_same(expects(crowd, a, excluding=[b, c]), expects(crowd, a, excluding=[c, b, c]))
    assert expects(crowd, a, excluding=[b, c]).keys() == left.keys() & expects(crowd, a, excluding=c).keys()


@searching
@given(words, words, words, st.sampled_from([1, 3, 10, 40]), raw)
def test_results_are_a_prefix_of_deeper_results(crowd, a, b, c, k, raw):
    everything = [hit.item for hit in crowd.search(a, also=b, excluding=c, k=EVERYTHING, raw=raw)]
    few = [hit.item for hit in crowd.search(a, also=b, excluding=c, k=k, raw=raw)]
    assert few == everything[:k]


def test_filters_apply_to_all_queries(crowd):
    for filters in ({"modality": "audio"}, {"ext": "wav"}):
        hits = crowd.search("red", also="dark", k=EVERYTHING, **filters)
        assert [hit.modality for hit in hits] == ["audio"] * 20
        left = crowd.search("red", also="dark", excluding="number 17", k=EVERYTHING, **filters)
        assert {hit.item for hit in left} < {hit.item for hit in hits}


def test_two_queries_can_match_at_two_moments(tmp_path):
    both = np.concatenate([tone(80.0, 4.0), tone(4000.0, 4.0)])
    sound(tmp_path / "in" / "both.wav", both)
    sound(tmp_path / "in" / "low.wav", tone(80.0, 8.0))
    sound(tmp_path / "in" / "high.wav", tone(4000.0, 8.0))
    with bindsearch.open(tmp_path / "a.library") as library:
        library.index(tmp_path / "in")
        hit = library.search("a high whistle", also="a low rumble", k=1, why=True)[0]
        assert hit.path.name == "both.wav"
        assert hit.start >= 4.0
        assert [match.moment.segment.span.end <= 4.0 for match in hit.why.matches] == [False, True]
        assert [hit.path.name for hit in library.search("a high whistle", excluding="a low rumble")] == ["high.wav"]


# Feedback ----------------------------------------------------------------------------------------------------------


def test_more_like_raises_and_less_like_lowers(crowd):
    before = crowd.search("dark", k=EVERYTHING)
    places = {hit.item: place for place, hit in enumerate(before, 1)}
    liked = before[11].item
    after = [hit.item for hit in crowd.search("dark", k=EVERYTHING, more_like=12)]
    assert after.index(liked) + 1 < places[liked]
    disliked = before[0].item
    turned = [hit.item for hit in crowd.search("dark", k=EVERYTHING, less_like=[1])]
    assert turned.index(disliked) + 1 >= places[disliked]
    scores = {hit.item: hit.score for hit in crowd.search("dark", k=EVERYTHING, less_like=[1])}
    assert scores[disliked] < before[0].score


def test_feedback_moves_the_query_by_the_documented_weights(crowd):
    before = crowd.search("dark", k=5)
    rows = []
    for hit in (before[1], before[2], before[4]):
        item = next(item for item in crowd.items() if item.id == hit.item)
        rows.append(crowd.vectors(item)[[segment.id for segment in item.segments].index(hit.segment.id)])
    moved = crowd.vector("dark") + 0.75 * (rows[0] + rows[1]) / 2 - 0.25 * rows[2]
    moved /= np.linalg.norm(moved)
    hit = crowd.search("dark", k=1, more_like=[2, 3], less_like=5)[0]
    item = next(item for item in crowd.items() if item.id == hit.item)
    assert hit.score == pytest.approx(float((crowd.vectors(item) @ moved).max()), abs=1e-5)


def test_numbers_refer_to_the_whole_request(crowd):
    options = {"also": "red", "excluding": "blue", "modality": "image"}
    second = crowd.search("dark", k=2, **options)[1]
    item = next(item for item in crowd.items() if item.id == second.item)
    moved = crowd.vector("dark") + 0.75 * crowd.vectors(item)[0]
    hit = crowd.search("dark", k=1, more_like=2, why=True, **options)[0]
    item = next(item for item in crowd.items() if item.id == hit.item)
    assert hit.score == pytest.approx(float(crowd.vectors(item)[0] @ moved) / np.linalg.norm(moved), abs=1e-5)
    assert [term.operand for term in hit.why.terms] == ["text:dark", "result:2"]


@pytest.mark.parametrize(
    ("more", "less", "message"),
    [
        ([1, 2], [2], "result 2 cannot be both"),
        ([0], [], "no result has the number 0: count them from 1"),
        ([], [True], "no result has the number True"),
        ([500], [], "there is no result 500: the same search without it finds 100"),
    ],
)
def test_invalid_result_numbers_are_refused(crowd, more, less, message):
    with pytest.raises(BadQuery, match=message):
        crowd.search("dark", more_like=more, less_like=less)


# Explanations ------------------------------------------------------------------------------------------------------

operands = st.builds(
    lambda word, weight: bindsearch.text(word) * weight,
    words,
    st.floats(0.1, 3) | st.floats(-3, -0.1),
)


@searching
@given(st.lists(operands, min_size=1, max_size=4), raw, st.sampled_from([(), (2,), (1, 3)]))
def test_contributions_add_up_to_the_score(crowd, parts, raw, more):
    query = sum(parts[1:], start=parts[0])
    try:
        hits = crowd.search(query, k=8, raw=raw, more_like=more, why=True)
    except bindsearch.BindsearchError:
        assume(False)
    for hit in hits:
        assert sum(term.contribution for term in hit.why.terms) == pytest.approx(hit.score, abs=1e-6)
        assert hit.why.score == pytest.approx(hit.score, abs=1e-6)
        assert len(hit.why.terms) == len(parts) + len(more)
        first, *others = hit.why.moments
        assert first.segment == hit.segment
        assert all(other.expect >= first.expect * 0.999 for other in others) or raw


def test_why_only_adds_explanations(crowd):
    plain, explained = crowd.search("red", k=5), crowd.search("red", k=5, why=True)
    assert [hit.why for hit in plain] == [None] * 5
    assert "why" not in plain[0].as_json()
    assert [{**hit.as_json(), "why": None} for hit in plain] == [{**hit.as_json(), "why": None} for hit in explained]
