"""Key phrases: the words that a score depends on most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

import bindsearch
from bindsearch.explain.text import MAX_KEY_WORDS, key_phrase

PASSAGE = "The table was long. A crimson ruby lay in the drawer! Nobody spoke, and the clock went on."


@pytest.fixture(scope="module")
def toy():
    return bindsearch.space("toy")


def test_best_sentence_and_its_key_words(toy):
    phrase = key_phrase(PASSAGE, toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert phrase.sentence == "A crimson ruby lay in the drawer!"
    assert set(phrase.words) == {"crimson", "ruby"}


def test_single_sentence_is_kept_whole(toy):
    phrase = key_phrase("green leaves and noise", toy.embed(["a forest"], modality="text")[0], toy.embed_pieces)
    assert phrase.sentence == "green leaves and noise"
    assert "green" in phrase.words
    assert "noise" not in phrase.words


def test_single_word_is_the_key_word(toy):
    phrase = key_phrase("ruby", toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert (phrase.sentence, phrase.words) == ("ruby", ("ruby",))


@given(st.text(min_size=1, max_size=120).filter(str.strip))
def test_any_passage_has_a_key_phrase(passage):
    toy = bindsearch.space("toy")
    phrase = key_phrase(passage, toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert len(phrase.words) <= MAX_KEY_WORDS
    assert all(word in passage for word in phrase.words)


def test_key_words_are_ordered_by_score_loss():
    axes = {"one": 1.0, "two": 3.0, "three": 2.0}

    def embed(pieces):
        return np.array([[sum(axes.get(word, 0) for word in piece.content.split())] for piece in pieces])

    assert key_phrase("one two three four", np.ones(1), embed).words == ("two", "three", "one")
