"""Prompts that are chosen on one half of labelled files, and judged by the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from zeroshot.example_classifiers import COLOURS, TOY, taught

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier, MediaVectors, Taught
from bindsearch.zeroshot.examples import surprisal
from bindsearch.zeroshot.tuning import TEMPERATURES, best_temperature, halves, tune, tuned_on

WRONG = ["un{}ish", "the {}ly"]
"""Templates that turn colours into words that the toy space does not know."""


def test_tuning_finds_words_that_help_and_measures_it_on_the_other_half():
    misled = Classifier(TOY, COLOURS, templates=WRONG)
    examples = taught(list(COLOURS), 10)
    tuned, told = tune(misled, examples)
    assert told.kept
    assert (told.tuned_on, told.judged_on) == (20, 20)
    assert told.after > told.before + 0.2
    assert told.gain_low <= told.gain <= told.gain_high
    own, other = halves(examples)
    answers = tuned.probabilities([each.seen for each in other]).argmax(axis=1)
    assert told.after == np.mean(
        [tuned.labels[answer] == each.label for answer, each in zip(answers, other, strict=True)]
    )
    assert not {id(each) for each in own} & {id(each) for each in other}
    assert sum(told.templates["image"].values()) == pytest.approx(1.0, abs=1e-4)


def test_a_classifier_that_gains_nothing_stays_as_it_was():
    classifier = Classifier(TOY, COLOURS)
    tuned, told = tune(classifier, taught(list(COLOURS), 6))
    assert told.before == told.after == 1.0
    assert not told.kept
    assert tuned is classifier


def test_what_has_nothing_to_do_with_labels_gains_nothing_to_speak_of():
    """Labels by chance: whatever is chosen on one half must not look good on the other."""
    chance = np.random.default_rng(3)
    random = [Taught(each.seen, str(chance.choice(list(COLOURS)))) for each in taught(list(COLOURS), 30)]
    _, told = tune(Classifier(TOY, COLOURS), random)
    assert told.gain_low < 0.1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=40))
def test_halves_never_tear_a_group_apart(pairs):
    nothing = MediaVectors({Modality.IMAGE: np.ones(3, dtype=np.float32)})
    examples = [Taught(nothing, label, f"{label}{group}") for label, group in pairs]
    own, other = halves(examples)
    assert sorted(map(id, own + other)) == sorted(map(id, examples))
    assert {each.group for each in own}.isdisjoint(each.group for each in other)
    for label in "abc":
        parts = [len({each.group for each in half if each.label == label}) for half in (own, other)]
        assert abs(parts[0] - parts[1]) <= 1
    assert [each.group for each in halves(examples)[0]] == [each.group for each in own]


def test_the_best_temperature_leaves_the_least_surprise():
    chance = np.random.default_rng(0)
    codes = chance.integers(0, 4, 200)
    cosines = chance.normal(0, 0.1, (200, 4))
    cosines[np.arange(200), codes] += 0.1
    value, temperature = best_temperature(cosines, codes)
    assert value == pytest.approx(surprisal(cosines / temperature, codes))
    assert all(value <= surprisal(cosines / other, codes) for other in TEMPERATURES)
    assert TEMPERATURES[0] < temperature < TEMPERATURES[-1]


def test_centre_is_taken_off_before_words_are_compared():
    classifier = Classifier(TOY, COLOURS)
    each = taught(["red"], 1)[0].seen
    row = each.vectors[Modality.IMAGE]
    moved = classifier.tuned(classifier.prompts, centre={Modality.IMAGE: row / 2}, temperature=0.1)
    expected = classifier.prompts.vectors(Modality.IMAGE) @ (row / 2) / 0.1
    assert moved.logits([each])[0] == pytest.approx(expected, abs=1e-5)
    assert moved.scores([each])[0] == pytest.approx(classifier.scores([each])[0])


def test_too_few_files_and_wrong_order_are_refused():
    classifier = Classifier(TOY, COLOURS)
    with pytest.raises(BadQuery, match="half"):
        tune(classifier, taught(["red"], 1))
    with pytest.raises(BadQuery, match="tune it first"):
        tune(classifier.with_examples(taught(["red"], 2)), taught(["red", "blue"], 2))


def test_all_files_can_be_tuned_on():
    tuned, choices = tuned_on(Classifier(TOY, COLOURS, templates=WRONG), taught(list(COLOURS), 4))
    assert set(choices) == {Modality.IMAGE}
    assert tuned.prompts.templates[Modality.IMAGE] == choices[Modality.IMAGE].templates
    assert tuned.prompts.weight(Modality.IMAGE).sum() == pytest.approx(1.0)
