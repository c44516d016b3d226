"""Labelled examples beside the prompts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from zeroshot.example_classifiers import COLOURS, TOY, examples_of, noisy

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier, Example
from bindsearch.zeroshot.examples import SINGLE_EXAMPLE_SHARE, ExampleCache, cross_entropy, fit_examples, log_densities

NAMES = dict(zip(COLOURS, ["snug", "brisk", "plain", "odd"], strict=True))
"""Words without a colour in the toy space."""


def right(classifier: Classifier, seeds: range, called: dict[str, str] = NAMES) -> float:
    asked = [(colour, seed) for colour in COLOURS for seed in seeds]
    return float(np.mean([classifier.predict(noisy(*each))[0].label == called[each[0]] for each in asked]))


def test_examples_teach_meaningless_labels():
    words = Classifier(TOY, NAMES.values())
    knowing = words.with_examples(examples_of(list(COLOURS), 4, names=NAMES))
    assert right(words, range(10, 16)) <= 0.5
    assert right(knowing, range(10, 16)) == 1.0
    cache = knowing.example_caches[Modality.IMAGE]
    assert cache.share > SINGLE_EXAMPLE_SHARE
    assert cache.judged == 16
    assert words.example_caches == {}


def test_uninformative_examples_get_no_weight():
    """Random vectors, where the prompts are right."""
    chance = np.random.default_rng(0)
    keys = chance.normal(size=(40, 16)).astype(np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    codes = np.arange(40) % 4
    logits = chance.normal(size=(40, 4)) + 4 * np.eye(4)[codes]
    cache = fit_examples(keys, codes.tolist(), [str(n) for n in range(40)], logits=logits, temperature=0.05)
    assert cache.share == 0.0
    assert cache.judged == 40


def test_single_examples_weigh_as_much_as_prompts():
    knowing = Classifier(TOY, NAMES.values()).with_examples(examples_of(list(COLOURS), 1, names=NAMES))
    cache = knowing.example_caches[Modality.IMAGE]
    assert (cache.share, cache.width, cache.judged) == (SINGLE_EXAMPLE_SHARE, TOY.spec.temperature, 0)
    assert right(knowing, range(10, 14)) == 1.0


def test_examples_of_one_group_are_left_out_together():
    """Leaving out one of several equal examples would always succeed; as one group, nothing is left to fit on."""
    twins = [Example(each.media, each.label, each.group) for each in examples_of(list(COLOURS), 1) for _ in range(3)]
    apart = [Example(each.media, each.label) for each in twins]
    words = Classifier(TOY, COLOURS)
    assert words.with_examples(twins).example_caches[Modality.IMAGE].judged == 0
    assert words.with_examples(apart).example_caches[Modality.IMAGE].judged == 12


def test_share_and_width_minimise_the_cross_entropy():
    chance = np.random.default_rng(1)
    keys = chance.normal(size=(30, 8)).astype(np.float32)
    codes = chance.integers(0, 3, 30)
    keys[np.arange(30), codes] += 2
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    logits = chance.normal(size=(30, 3))
    cache = fit_examples(keys, codes.tolist(), [str(n) for n in range(30)], logits=logits, temperature=0.05)

    def left_out(share: float, width: float) -> float:
        row_logits = []
        for place in range(30):
            others = np.delete(np.arange(30), place)
            alone = ExampleCache(keys[others], codes[others], share, width).evidence(keys[place : place + 1], 3)[0]
            row_logits.append((1 - share) * logits[place] + share * alone)
        return cross_entropy(np.stack(row_logits), codes)

    chosen = left_out(cache.share, cache.width)
    assert chosen <= min(left_out(share, width) for share in (0.0, 0.3, 0.6, 1.0) for width in (0.03, 0.1, 0.3)) + 1e-9


@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 99))
def test_log_densities_are_log_means_of_exponentials(examples, labels, seed):
    chance = np.random.default_rng(seed)
    kernel, codes = chance.normal(0, 30, (3, examples)), chance.integers(0, labels, examples)
    found = log_densities(kernel, codes, labels)
    for row, row_logits in zip(kernel, found, strict=True):
        for label in range(labels):
            own = row[codes == label] if (codes == label).any() else row
            top = own.max()
            assert row_logits[label] == pytest.approx(top + np.log(np.exp(own - top).mean()), abs=1e-6, rel=1e-9) or (
                row_logits[label] < row.max() - 600  # so unlikely that floats end
            )


def test_modalities_without_examples_use_prompts_alone():
    words = Classifier(TOY, NAMES.values())
    knowing = words.with_examples(examples_of(list(COLOURS), 2, names=NAMES))
    sound = type(noisy("red"))({Modality.AUDIO: noisy("red").vectors[Modality.IMAGE]})
    film = type(noisy("red"))({Modality.VIDEO: noisy("red").vectors[Modality.IMAGE]})
    assert knowing.predict(sound) == words.predict(sound)
    assert knowing.predict(film)[0].label == NAMES["red"]


def test_examples_of_unknown_labels_are_refused():
    with pytest.raises(BadQuery, match="'blue'"):
        Classifier(TOY, ["red", "green"]).with_examples(examples_of(["red", "blue"], 1))
    with pytest.raises(BadQuery, match="no examples"):
        Classifier(TOY, ["red", "green"]).with_examples([])


def test_none_of_these_remains_an_answer_with_examples():
    knowing = Classifier(TOY, ["red", "green"], none=["blue", "yellow"]).with_examples(examples_of(["red", "green"], 3))
    row_logits = knowing.predict(noisy("red", 9))
    assert row_logits[0].label == "red"
    assert sum(each.probability for each in row_logits) == pytest.approx(1.0)
    assert {each.label for each in row_logits} == set(knowing.answers)
