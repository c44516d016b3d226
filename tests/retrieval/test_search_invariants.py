"""Invariants of searching for any query, any number of results and any filters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from media_files import passage, picture, sound, tone

import bindsearch
from bindsearch.errors import QueryError

MANY = 1_000
WORDS = ["red", "blue", "dark", "a low rumble", "a high whistle", "number 7", "nothing of the kind"]
few = settings(max_examples=25, deadline=None)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 40 pictures, 12 sounds of several windows, and 12 texts; one of its two folders has metadata."""
    folder = tmp_path_factory.mktemp("laws")
    chance = np.random.default_rng(1)
    for number in range(40):
        place = folder / "media" / ("near" if number % 3 else "far")
        picture(place / f"{number:02d}.{'png' if number % 2 else 'bmp'}", tuple(chance.integers(0, 256, 3).tolist()))
    for number in range(12):
        parts = [tone(hertz, 2.0) for hertz in chance.uniform(60, 6000, 1 + number % 3)]
        sound(folder / "media" / "near" / f"{number}.wav", np.concatenate(parts))
        passage(folder / "media" / "far" / f"{number}.txt", f"{WORDS[number % 3]} number {number}")
    with bindsearch.open(folder / "laws.library") as opened:
        opened.index(folder / "media" / "near", metadata={"trip": "coast"})
        opened.index(folder / "media" / "far")
        yield opened


@pytest.fixture(scope="module")
def saved(crowd):
    """The same library with a concept for each pair of words."""
    for one in range(len(WORDS)):
        crowd.concepts.add(f"c{one}", bindsearch.text(WORDS[one]) + 0.5 * bindsearch.text(WORDS[one - 1]))
    return crowd


words = st.sampled_from(WORDS)
filters = st.fixed_dictionaries(
    {},
    optional={
        "modality": st.lists(st.sampled_from(["image", "audio", "text", "video"]), min_size=1, unique=True),
        "ext": st.lists(st.sampled_from(["png", "bmp", "wav", "txt"]), min_size=1, unique=True),
        "where": st.just({"trip": "coast"}),
    },
)


def admitted(library, given) -> set:
    """Return the files that pass the filters, without searching."""
    return {
        item.paths[0]
        for item in library.items()
        if item.modality in given.get("modality", [item.modality])
        and item.paths[0].suffix[1:] in given.get("ext", [item.paths[0].suffix[1:]])
        and ("where" not in given or item.paths[0].parent.name == "near")
    }


@few
@given(words, st.integers(1, 90), filters, st.booleans())
def test_k_results_or_all_that_pass(crowd, query, k, given, raw):
    hits = crowd.search(query, k=k, raw=raw, **given)
    pass_through = admitted(crowd, given)
    assert len(hits) == min(k, len(pass_through))
    assert len({hit.path for hit in hits}) == len(hits)
    assert {hit.path for hit in hits} <= pass_through


@few
@given(words, st.integers(1, 64), st.integers(1, 64), filters, st.booleans())
def test_results_are_a_prefix_of_deeper_results(crowd, query, one, other, given, raw):
    few, many = sorted((one, other))
    first, all_of_them = (crowd.search(query, k=k, raw=raw, **given) for k in (few, many))
    assert [hit.path for hit in first] == [hit.path for hit in all_of_them][:few]
    assert [hit.score for hit in first] == [hit.score for hit in all_of_them][:few]


@few
@given(words, filters)
def test_filters_keep_the_order(crowd, query, given):
    whole = [hit.path for hit in crowd.search(query, k=MANY, raw=True)]
    part = [hit.path for hit in crowd.search(query, k=MANY, raw=True, **given)]
    assert part == [path for path in whole if path in set(part)]


@few
@given(words, words, st.booleans())
def test_and_and_not_keep_the_order(crowd, a, b, raw):
    """Results of `a` without `b` are results of `a`, in its order; `a` and `b` has the same items as `a`."""
    whole = [hit.path for hit in crowd.search(a, k=MANY, raw=raw)]
    left = [hit.path for hit in crowd.search(a, excluding=b, k=MANY, raw=raw)]
    assert left == [path for path in whole if path in set(left)]
    both = {hit.path for hit in crowd.search(a, also=b, k=MANY, raw=raw)}
    assert both == set(whole)


@few
@given(st.integers(0, len(WORDS) - 1), st.floats(0.2, 3), words)
def test_concept_equals_the_query_it_was_saved_from(saved, number, weight, other):
    query = bindsearch.text(WORDS[number]) + 0.5 * bindsearch.text(WORDS[number - 1])
    saved_vector = saved.vector(bindsearch.concept(f"c{number}"))
    np.testing.assert_allclose(saved_vector, saved.vector(query), atol=1e-5)
    one = saved.search(bindsearch.concept(f"c{number}") * weight + bindsearch.text(other), k=5)
    length = np.linalg.norm(weight * saved_vector + saved.vector(other))
    assume(length > 0.05)
    mixed = (weight * saved_vector + saved.vector(other)) / length
    np.testing.assert_allclose(
        saved.vector(bindsearch.concept(f"c{number}") * weight + bindsearch.text(other)), mixed, atol=1e-5
    )
    assert [hit.score for hit in one] == sorted([hit.score for hit in one], reverse=True) or len(one) == 5


terms = st.lists(
    st.tuples(st.sampled_from([*WORDS, "c1", "c3"]), st.floats(0.1, 5) | st.floats(-5, -0.1)), min_size=1, max_size=5
)


@few
@given(terms, filters, st.booleans())
def test_contributions_add_up_with_concepts(saved, parts, given, raw):
    query = None
    for word, weight in parts:
        part = (bindsearch.concept(word) if word.startswith("c") and len(word) == 2 else bindsearch.text(word)) * weight
        query = part if query is None else query + part
    try:
        hits = saved.search(query, k=6, raw=raw, why=True, **given)
    except QueryError:
        assume(False)
    for hit in hits:
        assert sum(term.contribution for term in hit.why.terms) == pytest.approx(hit.score, abs=1e-6)
        explained = saved.why_not(hit.path, bindsearch.SearchRequest.of(query, raw=raw, **given))
        assert sum(term.contribution for term in explained.why.terms) == pytest.approx(explained.score, abs=1e-6)
