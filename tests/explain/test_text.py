"""The words of a passage that its score leans on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

import bindsearch
from bindsearch.explain.text import SHOWN, key_phrase

PASSAGE = "The table was long. A crimson ruby lay in the drawer! Nobody spoke, and the clock went on."


@pytest.fixture(scope="module")
def toy():
    return bindsearch.space("toy")


def test_the_sentence_and_the_words_are_told(toy):
    told = key_phrase(PASSAGE, toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert told.sentence == "A crimson ruby lay in the drawer!"
    assert set(told.words) == {"crimson", "ruby"}


def test_of_one_sentence_only_words_are_left_out(toy):
    told = key_phrase("green leaves and noise", toy.embed(["a forest"], modality="text")[0], toy.embed_pieces)
    assert told.sentence == "green leaves and noise"
    assert "green" in told.words
    assert "noise" not in told.words


def test_of_one_word_all_is_told(toy):
    told = key_phrase("ruby", toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert (told.sentence, told.words) == ("ruby", ("ruby",))


@given(st.text(min_size=1, max_size=120).filter(str.strip))
def test_any_passage_has_reasons(passage):
    toy = bindsearch.space("toy")
    told = key_phrase(passage, toy.embed(["red"], modality="text")[0], toy.embed_pieces)
    assert len(told.words) <= SHOWN
    assert all(word in passage for word in told.words)


def test_words_are_those_whose_absence_costs_most():
    axes = {"one": 1.0, "two": 3.0, "three": 2.0}

    def embed(pieces):
        return np.array([[sum(axes.get(word, 0) for word in piece.content.split())] for piece in pieces])

    assert key_phrase("one two three four", np.ones(1), embed).words == ("two", "three", "one")
