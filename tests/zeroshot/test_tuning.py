"""Tuning on one half of labelled files, evaluation on the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st
from zeroshot.example_classifiers import COLOURS, TOY, examples_of

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier, Example, MediaVectors
from bindsearch.zeroshot.examples import cross_entropy
from bindsearch.zeroshot.tuning import TEMPERATURES, best_temperature, halves, tune, tune_on_all

WRONG = ["un{}ish", "the {}ly"]
"""Templates that turn colours into words unknown to the toy space."""


def test_tuning_gains_on_the_other_half():
    misled = Classifier(TOY, COLOURS, templates=WRONG)
    examples = examples_of(list(COLOURS), 10)
    tuned, report = tune(misled, examples)
    assert report.kept
    assert (report.tuned_on, report.judged_on) == (20, 20)
    assert report.after > report.before + 0.2
    assert report.gain_low <= report.gain <= report.gain_high
    own, other = halves(examples)
    answers = tuned.probabilities([each.media for each in other]).argmax(axis=1)
    assert report.after == np.mean(
        [tuned.labels[answer] == each.label for answer, each in zip(answers, other, strict=True)]
    )
    assert not {id(each) for each in own} & {id(each) for each in other}
    assert sum(report.templates["image"].values()) == pytest.approx(1.0, abs=1e-4)


def test_without_gain_the_classifier_is_unchanged():
    classifier = Classifier(TOY, COLOURS)
    tuned, report = tune(classifier, examples_of(list(COLOURS), 6))
    assert report.before == report.after == 1.0
    assert not report.kept
    assert tuned is classifier


def test_random_labels_gain_nothing():
    """Whatever is chosen on one half must not look good on the other."""
    chance = np.random.default_rng(3)
    random = [Example(each.media, str(chance.choice(list(COLOURS)))) for each in examples_of(list(COLOURS), 30)]
    _, report = tune(Classifier(TOY, COLOURS), random)
    assert report.gain_low < 0.1


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), min_size=1, max_size=40))
def test_halves_keep_groups_together(pairs):
    nothing = MediaVectors({Modality.IMAGE: np.ones(3, dtype=np.float32)})
    examples = [Example(nothing, label, f"{label}{group}") for label, group in pairs]
    own, other = halves(examples)
    assert sorted(map(id, own + other)) == sorted(map(id, examples))
    assert {each.group for each in own}.isdisjoint(each.group for each in other)
    for label in "abc":
        parts = [len({each.group for each in half if each.label == label}) for half in (own, other)]
        assert abs(parts[0] - parts[1]) <= 1
    assert [each.group for each in halves(examples)[0]] == [each.group for each in own]


def test_best_temperature_minimises_the_cross_entropy():
    chance = np.random.default_rng(0)
    codes = chance.integers(0, 4, 200)
    cosines = chance.normal(0, 0.1, (200, 4))
    cosines[np.arange(200), codes] += 0.1
    value, temperature = best_temperature(cosines, codes)
    assert value == pytest.approx(cross_entropy(cosines / temperature, codes))
    assert all(value <= cross_entropy(cosines / other, codes) for other in TEMPERATURES)
    assert TEMPERATURES[0] < temperature < TEMPERATURES[-1]


def test_centre_is_subtracted_before_comparison():
    classifier = Classifier(TOY, COLOURS)
    each = examples_of(["red"], 1)[0].media
    row = each.vectors[Modality.IMAGE]
    moved = classifier.tuned(classifier.prompts, centre={Modality.IMAGE: row / 2}, temperature=0.1)
    expected = classifier.prompts.vectors(Modality.IMAGE) @ (row / 2) / 0.1
    assert moved.logits([each])[0] == pytest.approx(expected, abs=1e-5)
    assert moved.scores([each])[0] == pytest.approx(classifier.scores([each])[0])


def test_too_few_files_and_wrong_order_are_refused():
    classifier = Classifier(TOY, COLOURS)
    with pytest.raises(BadQuery, match="half"):
        tune(classifier, examples_of(["red"], 1))
    with pytest.raises(BadQuery, match="tune it first"):
        tune(classifier.with_examples(examples_of(["red"], 2)), examples_of(["red", "blue"], 2))


def test_tune_on_all_uses_every_modality_present():
    tuned, choices = tune_on_all(Classifier(TOY, COLOURS, templates=WRONG), examples_of(list(COLOURS), 4))
    assert set(choices) == {Modality.IMAGE}
    assert tuned.prompts.templates[Modality.IMAGE] == choices[Modality.IMAGE].templates
    assert tuned.prompts.weight(Modality.IMAGE).sum() == pytest.approx(1.0)
