"""Accuracy reports, sensitivity to templates, and labelled files."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.example_sets import picture, table
from zeroshot.example_classifiers import COLOURS, TOY, noisy

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier
from bindsearch.zeroshot.labelled_files import (
    embed_examples,
    find_truth,
    folder_label,
    labels_of,
    read_labelled,
    read_truth_table,
    split_by_label,
)
from bindsearch.zeroshot.scoring import group_numbers, score_answers, sensitivity

ANSWERS = ("a", "b", "c")
PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]])


def test_accuracy_top_k_and_confusion_are_counted():
    found = score_answers(ANSWERS, PROBABILITIES, ["a", "b", "c", "c"], k=2)
    assert found.accuracy == 0.5
    assert found.top_k == 0.75
    assert found.confusion.counts.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]
    report = found.as_json()
    assert report["classes"]["c"] == {"accuracy": 0.5, "files": 2}
    assert report["top_2"] == 0.75
    assert found.low <= found.accuracy <= found.high


def test_groups_widen_the_interval():
    truth, shares = ["a"] * 20, np.tile([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0]], (10, 1))
    alone = score_answers(ANSWERS, shares, truth)
    groups = [f"{number % 2}" for number in range(20)]
    combined = score_answers(ANSWERS, shares, truth, groups=groups)
    assert (combined.low, combined.high) == (0.0, 1.0)
    assert alone.low > 0.2
    assert group_numbers(["x", "", "x", ""], 4)[[0, 2]].tolist() == [group_numbers(["x", "", "x", ""], 4)[0]] * 2
    assert len(set(group_numbers(["x", "", "x", ""], 4).tolist())) == 3


def test_sensitivity_equals_single_template_classifiers():
    classifier = Classifier(TOY, COLOURS, templates=["a {} thing", "un{}ish", "{}"])
    colours = ["red", "green", "blue", "yellow"]
    many = [noisy(colour) for colour in colours]
    found = sensitivity(classifier, many, Modality.IMAGE, truth=colours)
    for place, template in enumerate(found.templates):
        alone = Classifier(TOY, COLOURS, templates=[template]).probabilities(many)
        assert found.answers[place].tolist() == alone.argmax(axis=1).tolist()
        assert found.probabilities[place] == pytest.approx(alone[np.arange(4), found.combined], abs=1e-6)
        right = np.mean(
            [classifier.labels[answer] == colour for answer, colour in zip(found.answers[place], colours, strict=True)]
        )
        assert found.accuracy()[place] == pytest.approx(float(right))
    assert found.accuracy()[1] < 1.0 == found.accuracy()[2]
    assert found.unanimous < 1.0
    assert found.agreement.shape == (4,)
    assert found.as_json()["templates"]["{}"]["accuracy"] == 1.0


def test_single_template_is_unanimous():
    classifier = Classifier(TOY, COLOURS, templates=["{}"])
    found = sensitivity(classifier, [noisy("red"), noisy("blue")], Modality.IMAGE)
    assert (found.unanimous, found.agreement.tolist()) == (1.0, [1.0, 1.0])
    assert "accuracy" not in found.as_json()["templates"]["{}"]


# labelled files ---------------------------------------------------------------------------------------------------


def test_one_folder_per_label(tmp_path):
    picture(tmp_path / "dark_blue" / "x" / "1.png", "blue")
    picture(tmp_path / "red" / "2.png", "red")
    picture(tmp_path / "stray.png", "red")
    found = read_labelled(tmp_path)
    assert {(each.path.name, each.label) for each in found} == {("1.png", "dark blue"), ("2.png", "red")}
    assert labels_of(found) == ["dark blue", "red"]
    assert folder_label(tmp_path / "dark_blue" / "1.png") == "dark blue"
    with pytest.raises(BadQuery, match="no labelled files"):
        read_labelled(tmp_path / "red")


def test_table_with_label_and_group(tmp_path):
    rows = [
        {"filename": "1.png", "category": "dark_blue", "src_file": "r1"},
        {"filename": "2.png", "category": "", "src_file": ""},
    ]
    found = read_labelled(table(tmp_path / "t.csv", rows))
    assert [(each.path, each.label, each.group) for each in found] == [(tmp_path / "1.png", "dark blue", "r1")]
    assert set(read_truth_table(tmp_path / "t.csv")) == {tmp_path / "1.png"}
    with pytest.raises(BadQuery, match="has no column label or category"):
        read_labelled(table(tmp_path / "u.csv", [{"path": "1.png", "colour": "red"}]))
    with pytest.raises(BadQuery, match="no labelled files"):
        read_labelled(table(tmp_path / "v.csv", [{"path": "", "label": "red"}]))


def test_table_with_files_in_images_folder(tmp_path):
    picture(tmp_path / "images" / "1.png", "red")
    (tmp_path / "meta").mkdir()
    file = table(tmp_path / "meta" / "t.csv", [{"filename": f"{n}.png", "category": "red"} for n in (1, 2)])
    assert [each.path.exists() for each in read_labelled(file)] == [True, False]
    rows = read_truth_table(file)
    assert find_truth(tmp_path / "elsewhere" / "2.png", rows).label == "red"
    assert find_truth(tmp_path / "elsewhere" / "3.png", rows) is None


def test_labels_match_ignoring_case(tmp_path):
    picture(tmp_path / "Red" / "1.png", "red")
    picture(tmp_path / "odd" / "2.png", "blue")
    own, others = split_by_label(read_labelled(tmp_path), ["red", "blue"])
    assert [each.label for each in own] == ["red"]
    assert [each.label for each in others] == ["odd"]


def test_unreadable_labelled_files_are_reported(tmp_path):
    picture(tmp_path / "red" / "1.png", "red")
    (tmp_path / "red" / "2.png").write_bytes(b"")
    failed = []
    classifier = Classifier(TOY, COLOURS)
    found = embed_examples(classifier, read_labelled(tmp_path), on_failure=lambda path, error: failed.append(path.name))
    assert [each.label for each in found] == ["red"]
    assert failed == ["2.png"]
    assert classifier.predict(found[0].media)[0].label == "red"
