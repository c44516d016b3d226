"""Centring and hubs: what a library wishes of the order of results."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from media_files import passage, picture, sound, tone

import bindsearch

EVERYTHING = 10_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 80 pictures, 12 long sounds and 30 texts."""
    folder = tmp_path_factory.mktemp("hubs")
    chance = np.random.default_rng(0)
    for number in range(80):
        picture(folder / "media" / f"{number:03d}.png", tuple(chance.integers(0, 256, 3).tolist()))
    for number in range(12):
        parts = [tone(hertz, 2.0) for hertz in chance.uniform(60, 6000, 4)]
        sound(folder / "media" / f"{number:03d}.wav", np.concatenate(parts))
    for number in range(30):
        passage(folder / "media" / f"{number:03d}.txt", f"{['red', 'blue', 'low', 'high'][number % 4]} number {number}")
    with bindsearch.open(folder / "crowd.library", space="toy") as opened:
        opened.index(folder / "media")
        yield opened


@pytest.fixture
def wish(crowd):
    """Set what is wished; it is as it was when the test is done."""
    before = crowd.wishes

    def wish(**wished):
        crowd.wishes = replace(before, **wished)

    yield wish
    crowd.wishes = before


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
