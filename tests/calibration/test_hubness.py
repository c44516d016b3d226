"""Centring and hubs: what a library wishes of the order of results."""

from __future__ import annotations

from dataclasses import replace

import pytest
from media_files import large_collection

import bindsearch

EVERYTHING = 10_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 80 pictures, 12 long sounds and 30 texts."""
    folder = tmp_path_factory.mktemp("hubs")
    with bindsearch.open(folder / "crowd.library", space="toy") as opened:
        opened.index(large_collection(folder / "media", pictures=80, sounds=12, tones=4, texts=30))
        yield opened


@pytest.fixture
def wish(crowd):
    """Set what is wished; it is as it was when the test is done."""
    before = crowd.settings

    def wish(**wished):
        crowd.settings = replace(before, **wished)

    yield wish
    crowd.settings = before


def told(hits):
    return [(hit.item, hit.segment.id, round(hit.expect, 9)) for hit in hits]


@pytest.mark.parametrize("wished", [{"hubness": True}, {"centring": False}, {"centring": False, "hubness": True}])
@pytest.mark.parametrize("words", ["red", "a dark night"])
def test_the_first_five_of_many_are_the_five(crowd, wish, wished, words):
    wish(**wished)
    many = told(crowd.search(words, k=EVERYTHING))
    assert len(many) == len(crowd)
    for k in (1, 5, 23):
        assert told(crowd.search(words, k=k)) == many[:k]


def test_both_change_expectations_and_neither_changes_raw_scores(crowd, wish):
    plain, raw = told(crowd.search("red", k=30)), [hit.score for hit in crowd.search("red", k=30, raw=True)]
    for wished in ({"hubness": True}, {"centring": False}):
        wish(**wished)
        assert told(crowd.search("red", k=30)) != plain
        assert [hit.score for hit in crowd.search("red", k=30, raw=True)] == raw
    wish()
    assert told(crowd.search("red", k=30)) == plain


def test_without_centring_one_modality_is_in_the_order_of_cosines(crowd, wish):
    wish(centring=False)
    items = [hit.item for hit in crowd.search("red", k=EVERYTHING, modality="image")]
    assert items == [hit.item for hit in crowd.search("red", k=EVERYTHING, modality="image", raw=True)]
