"""Zero-shot classification by labels and templates."""

from __future__ import annotations

import numpy as np
import pytest
from media_files import picture, sound, tone
from zeroshot.example_classifiers import TOY, noisy

from bindsearch.core.vectors import unit
from bindsearch.errors import BadQuery
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.types import Modality
from bindsearch.zeroshot import BACKGROUND, LABEL_SETS, NONE, Classifier, MediaVectors
from bindsearch.zeroshot.classifier import PRIOR_EXPONENT
from bindsearch.zeroshot.label_sets import background_for, chosen_labels, read_labels

LABEL_COLUMNS = ["red", "green", "blue"]


def softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def test_probabilities_are_a_softmax_at_the_temperature_of_the_space():
    classifier = Classifier(TOY, LABEL_COLUMNS)
    red = noisy("red")
    prompts = [[template.replace("{}", label) for template in TEMPLATES[Modality.IMAGE]] for label in LABEL_COLUMNS]
    words = unit(np.stack([TOY.embed(each, modality="text").mean(axis=0) for each in prompts]))
    cosines = words @ red.vectors[Modality.IMAGE]
    predictions = {each.label: each for each in classifier.predict(red)}
    expected = softmax(cosines.astype(np.float64) / TOY.spec.temperature)
    for label, cosine, share in zip(LABEL_COLUMNS, cosines, expected, strict=True):
        assert predictions[label].score == pytest.approx(float(cosine), abs=1e-6)
        assert predictions[label].probability == pytest.approx(float(share), abs=1e-6)
    assert classifier.classify(red, k=2) == classifier.predict(red)[:2]
    assert classifier.predict(red)[0].label == "red"


def test_none_of_these_is_the_background_with_its_prior():
    classifier = Classifier(TOY, ["red", "blue"], none=["green", "yellow", "violet"])
    assert classifier.answers == ("red", "blue", NONE)
    logits = classifier.logits([noisy("green")])[0]
    weights = np.exp(logits - logits.max()) * np.array([1, 1, *[2**PRIOR_EXPONENT / 3] * 3])
    expected = weights[2:].sum() / weights.sum()
    predictions = classifier.predict(noisy("green"))
    assert predictions[0].label == NONE
    assert predictions[0].probability == pytest.approx(float(expected), abs=1e-9)
    assert sum(each.probability for each in predictions) == pytest.approx(1.0)
    best = Classifier(TOY, ["green", "yellow", "violet"]).predict(noisy("green"))[0].score
    assert predictions[0].score == pytest.approx(best, abs=1e-6)
    assert classifier.predict(noisy("blue"))[0].label == "blue"


def test_background_leaves_out_words_of_the_labels():
    classifier = Classifier(TOY, ["dogs", "a fire truck"], none=True)
    assert "dog" not in classifier.background
    assert "fire" not in classifier.background
    assert set(BACKGROUND) - set(classifier.background) == {"dog", "fire", "truck"}
    with pytest.raises(BadQuery, match="background"):
        Classifier(TOY, ["dog", "cat"], none=["cats"])
    with pytest.raises(BadQuery, match="none of these"):
        Classifier(TOY, [NONE])


def test_video_score_is_the_mean_of_frames_and_sound(tmp_path):
    low = TOY.embed([sound(tmp_path / "low.wav", tone(80.0, 2.0))])[0]
    red = noisy("red").vectors[Modality.IMAGE]
    film = MediaVectors({Modality.VIDEO: red, Modality.AUDIO: low})
    classifier = Classifier(TOY, ["red", "low rumble"])
    alone = [classifier.scores([MediaVectors({kind: row})])[0] for kind, row in film.vectors.items()]
    assert classifier.scores([film])[0] == pytest.approx(np.mean(alone, axis=0), abs=1e-6)
    assert film.modality == Modality.VIDEO


def test_batch_equals_single_files(tmp_path):
    low = MediaVectors.of([Modality.AUDIO], TOY.embed([sound(tmp_path / "low.wav", tone(80.0, 2.0))]))
    many = [noisy("red"), low, noisy("green", 3)]
    classifier = Classifier(TOY, [*LABEL_COLUMNS, "low rumble"], none=True)
    combined = classifier.probabilities(many)
    for row, each in zip(combined, many, strict=True):
        assert classifier.probabilities([each])[0] == pytest.approx(row, abs=1e-6)


def test_templates_can_be_given_for_one_modality(tmp_path):
    red = picture(tmp_path / "red.png", "red")
    some = Classifier(TOY, LABEL_COLUMNS, templates={"image": ["a dark {}"]})
    every = Classifier(TOY, LABEL_COLUMNS, templates=["a dark {}"])
    assert some.predict(red) == every.predict(red)
    assert some.prompts.templates[Modality.AUDIO] == TEMPLATES[Modality.AUDIO]
    for wrong in ([], ["none"], "the {}", {"image": ["x"]}, {"smell": ["{}"]}):
        with pytest.raises(BadQuery):
            Classifier(TOY, LABEL_COLUMNS, templates=wrong)


def test_label_sets_expand_and_suggest():
    assert chosen_labels(["set:animals", " robot ", "dog", ""]) == (*LABEL_SETS["animals"], "robot")
    with pytest.raises(BadQuery, match=r"did you mean set:vehicles\?"):
        chosen_labels(["set:vehicle"])
    with pytest.raises(BadQuery, match="animals"):
        chosen_labels(["set:"])
    for name, labels in LABEL_SETS.items():
        assert len(set(labels)) == len(labels) > 5, name
    assert len(set(BACKGROUND)) == len(BACKGROUND)


def test_labels_are_read_from_text_and_files(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("\ufeffrain, heavy\n\n  wind \n", encoding="utf-8")
    assert read_labels(f"@{file}") == ["rain, heavy", "wind"]
    assert read_labels("a, b c,,set:music") == ["a", "b c", "set:music"]
    file.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(BadQuery, match="UTF-8"):
        read_labels(f"@{file}")
    with pytest.raises(FileNotFoundError):
        read_labels(f"@{tmp_path / 'none'}")


def test_short_words_do_not_empty_the_background():
    assert background_for(["a b"], ["a c", "b", "x"]) == ("a c", "b", "x")
    assert background_for(["B"], ["b", "x"]) == ("x",)
