"""The settings `centring` and `hubness` change the order of results, exactly."""

from __future__ import annotations

from dataclasses import replace

import pytest
from media_files import large_collection

import bindsearch

EVERYTHING = 10_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 80 images, 12 long sounds and 30 texts."""
    folder = tmp_path_factory.mktemp("hubs")
    with bindsearch.open(folder / "crowd.library", space="toy") as opened:
        opened.index(large_collection(folder / "media", pictures=80, sounds=12, tones=4, texts=30))
        yield opened


@pytest.fixture
def configure(crowd):
    """Return a function that changes settings until the test ends."""
    before = crowd.settings

    def configure(**changes):
        crowd.settings = replace(before, **changes)

    yield configure
    crowd.settings = before


def summary(hits):
    return [(hit.item, hit.segment.id, round(hit.expect, 9)) for hit in hits]


@pytest.mark.parametrize("changes", [{"hubness": True}, {"centring": False}, {"centring": False, "hubness": True}])
@pytest.mark.parametrize("words", ["red", "a dark night"])
def test_shorter_lists_are_prefixes_of_longer_ones(crowd, configure, changes, words):
    configure(**changes)
    many = summary(crowd.search(words, k=EVERYTHING))
    assert len(many) == len(crowd)
    for k in (1, 5, 23):
        assert summary(crowd.search(words, k=k)) == many[:k]


def test_settings_change_evalues_but_not_raw_scores(crowd, configure):
    plain, raw = summary(crowd.search("red", k=30)), [hit.score for hit in crowd.search("red", k=30, raw=True)]
    for changes in ({"hubness": True}, {"centring": False}):
        configure(**changes)
        assert summary(crowd.search("red", k=30)) != plain
        assert [hit.score for hit in crowd.search("red", k=30, raw=True)] == raw
    configure()
    assert summary(crowd.search("red", k=30)) == plain


def test_order_without_centring_is_that_of_cosines(crowd, configure):
    configure(centring=False)
    items = [hit.item for hit in crowd.search("red", k=EVERYTHING, modality="image")]
    assert items == [hit.item for hit in crowd.search("red", k=EVERYTHING, modality="image", raw=True)]
