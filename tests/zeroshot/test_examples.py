"""A few examples beside the words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from zeroshot.example_classifiers import COLOURS, TOY, seen, taught

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier, Taught
from bindsearch.zeroshot.examples import EVEN, ExampleCache, densities, remembered, surprisal

NAMES = dict(zip(COLOURS, ["snug", "brisk", "plain", "odd"], strict=True))
"""Words that say nothing of colours in the toy space."""


def right(classifier: Classifier, seeds: range, called: dict[str, str] = NAMES) -> float:
    asked = [(colour, seed) for colour in COLOURS for seed in seeds]
    return float(np.mean([classifier.predict(seen(*each))[0].label == called[each[0]] for each in asked]))


def test_examples_teach_what_words_do_not_say():
    words = Classifier(TOY, NAMES.values())
    knowing = words.with_examples(taught(list(COLOURS), 4, called=NAMES))
    assert right(words, range(10, 16)) <= 0.5
    assert right(knowing, range(10, 16)) == 1.0
    memory = knowing.memories[Modality.IMAGE]
    assert memory.share > EVEN
    assert memory.judged == 16
    assert words.memories == {}


def test_examples_that_tell_nothing_do_not_count():
    """Vectors by chance, where the words know."""
    chance = np.random.default_rng(0)
    keys = chance.normal(size=(40, 16)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    codes = np.arange(40) % 4
    logits = chance.normal(size=(40, 4)) + 4 * np.eye(4)[codes]
    memory = remembered(keys, codes.tolist(), [str(n) for n in range(40)], logits=logits, temperature=0.05)
    assert memory.share == 0.0
    assert memory.judged == 40


def test_one_example_of_each_label_counts_as_much_as_words():
    knowing = Classifier(TOY, NAMES.values()).with_examples(taught(list(COLOURS), 1, called=NAMES))
    memory = knowing.memories[Modality.IMAGE]
    assert (memory.share, memory.width, memory.judged) == (EVEN, TOY.spec.temperature, 0)
    assert right(knowing, range(10, 14)) == 1.0


def test_clips_of_one_recording_do_not_vouch_for_each_other():
    """Twins would make leaving one out a sure success; of one recording they leave nothing to choose by."""
    twins = [Taught(each.seen, each.label, each.group) for each in taught(list(COLOURS), 1) for _ in range(3)]
    apart = [Taught(each.seen, each.label) for each in twins]
    words = Classifier(TOY, COLOURS)
    assert words.with_examples(twins).memories[Modality.IMAGE].judged == 0
    assert words.with_examples(apart).memories[Modality.IMAGE].judged == 12


def test_share_and_width_are_those_that_leave_the_least_surprise():
    chance = np.random.default_rng(1)
    keys = chance.normal(size=(30, 8)).astype(np.float32)
    codes = chance.integers(0, 3, 30)
    keys[np.arange(30), codes] += 2
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    logits = chance.normal(size=(30, 3))
    memory = remembered(keys, codes.tolist(), [str(n) for n in range(30)], logits=logits, temperature=0.05)

    def left_out(share: float, width: float) -> float:
        told = []
        for place in range(30):
            others = np.delete(np.arange(30), place)
            alone = ExampleCache(keys[others], codes[others], share, width).evidence(keys[place : place + 1], 3)[0]
            told.append((1 - share) * logits[place] + share * alone)
        return surprisal(np.stack(told), codes)

    chosen = left_out(memory.share, memory.width)
    assert chosen <= min(left_out(share, width) for share in (0.0, 0.3, 0.6, 1.0) for width in (0.03, 0.1, 0.3)) + 1e-9


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_densities_are_means_of_exponentials(examples, labels, seed):
    chance = np.random.default_rng(seed)
    kernel, codes = chance.normal(0, 30, (3, examples)), chance.integers(0, labels, examples)
    found = densities(kernel, codes, labels)
    for row, told in zip(kernel, found, strict=True):
        for label in range(labels):
            own = row[codes == label] if (codes == label).any() else row
            top = own.max()
            assert told[label] == pytest.approx(top + np.log(np.exp(own - top).mean()), abs=1e-6, rel=1e-9) or (
                told[label] < row.max() - 600  # so unlikely that floats end
            )


def test_kinds_without_examples_are_told_by_words_alone():
    words = Classifier(TOY, NAMES.values())
    knowing = words.with_examples(taught(list(COLOURS), 2, called=NAMES))
    sound = type(seen("red"))({Modality.AUDIO: seen("red").vectors[Modality.IMAGE]})
    film = type(seen("red"))({Modality.VIDEO: seen("red").vectors[Modality.IMAGE]})
    assert knowing.predict(sound) == words.predict(sound)
    assert knowing.predict(film)[0].label == NAMES["red"]


def test_examples_of_other_labels_are_refused():
    with pytest.raises(BadQuery, match="'blue'"):
        Classifier(TOY, ["red", "green"]).with_examples(taught(["red", "blue"], 1))
    with pytest.raises(BadQuery, match="no examples"):
        Classifier(TOY, ["red", "green"]).with_examples([])


def test_none_of_these_stays_an_answer_beside_examples():
    knowing = Classifier(TOY, ["red", "green"], none=["blue", "yellow"]).with_examples(taught(["red", "green"], 3))
    told = knowing.predict(seen("red", 9))
    assert told[0].label == "red"
    assert sum(each.probability for each in told) == pytest.approx(1.0)
    assert {each.label for each in told} == set(knowing.answers)
