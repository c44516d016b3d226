"""What answers are worth, where the truth is known, and how they move with the words."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation.example_sets import picture, table
from zeroshot.example_classifiers import COLOURS, TOY, seen, taught

from bindsearch.errors import BadQuery
from bindsearch.types import Modality
from bindsearch.zeroshot import Classifier
from bindsearch.zeroshot.labelled_files import (
    folder_label,
    labels_of,
    parted,
    read_labelled,
    taught as look_at,
    truth_of,
    truths,
)
from bindsearch.zeroshot.scoring import group_codes, sensitivity, verdict

ANSWERS = ("a", "b", "c")
SHARES = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]])


def test_a_verdict_counts():
    found = verdict(ANSWERS, SHARES, ["a", "b", "c", "c"], k=2)
    assert found.accuracy == 0.5
    assert found.among == 0.75
    assert found.confusion.counts.tolist() == [[1, 0, 0], [1, 0, 0], [1, 0, 1]]
    told = found.as_json()
    assert told["classes"]["c"] == {"accuracy": 0.5, "files": 2}
    assert told["top_2"] == 0.75
    assert found.low <= found.accuracy <= found.high


def test_files_of_one_recording_widen_the_interval():
    truth, shares = ["a"] * 20, np.tile([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0]], (10, 1))
    alone = verdict(ANSWERS, shares, truth)
    groups = [f"{number % 2}" for number in range(20)]
    together = verdict(ANSWERS, shares, truth, groups=groups)
    assert (together.low, together.high) == (0.0, 1.0)
    assert alone.low > 0.2
    assert group_codes(["x", "", "x", ""], 4)[[0, 2]].tolist() == [group_codes(["x", "", "x", ""], 4)[0]] * 2
    assert len(set(group_codes(["x", "", "x", ""], 4).tolist())) == 3


def test_sensitivity_asks_each_template_alone():
    classifier = Classifier(TOY, COLOURS, templates=["a {} thing", "un{}ish", "{}"])
    colours = ["red", "green", "blue", "yellow"]
    many = [seen(colour) for colour in colours]
    found = sensitivity(classifier, many, Modality.IMAGE, truth=colours)
    for place, template in enumerate(found.templates):
        alone = Classifier(TOY, COLOURS, templates=[template]).probabilities(many)
        assert found.answers[place].tolist() == alone.argmax(axis=1).tolist()
        assert found.probabilities[place] == pytest.approx(alone[np.arange(4), found.together], abs=1e-6)
        right = np.mean(
            [classifier.labels[answer] == colour for answer, colour in zip(found.answers[place], colours, strict=True)]
        )
        assert found.accuracy()[place] == pytest.approx(float(right))
    assert found.accuracy()[1] < 1.0 == found.accuracy()[2]
    assert found.steady < 1.0
    assert found.agreement.shape == (4,)
    assert found.as_json()["templates"]["{}"]["accuracy"] == 1.0


def test_one_template_is_as_steady_as_can_be():
    classifier = Classifier(TOY, COLOURS, templates=["{}"])
    found = sensitivity(classifier, [seen("red"), seen("blue")], Modality.IMAGE)
    assert (found.steady, found.agreement.tolist()) == (1.0, [1.0, 1.0])
    assert "accuracy" not in found.as_json()["templates"]["{}"]


# labelled files ---------------------------------------------------------------------------------------------------


def test_a_folder_a_label(tmp_path):
    picture(tmp_path / "dark_blue" / "x" / "1.png", "blue")
    picture(tmp_path / "red" / "2.png", "red")
    picture(tmp_path / "stray.png", "red")
    found = read_labelled(tmp_path)
    assert {(each.path.name, each.label) for each in found} == {("1.png", "dark blue"), ("2.png", "red")}
    assert labels_of(found) == ["dark blue", "red"]
    assert folder_label(tmp_path / "dark_blue" / "1.png") == "dark blue"
    with pytest.raises(BadQuery, match="no labelled files"):
        read_labelled(tmp_path / "red")


def test_a_table(tmp_path):
    rows = [
        {"filename": "1.png", "category": "dark_blue", "src_file": "r1"},
        {"filename": "2.png", "category": "", "src_file": ""},
    ]
    found = read_labelled(table(tmp_path / "t.csv", rows))
    assert [(each.path, each.label, each.group) for each in found] == [(tmp_path / "1.png", "dark blue", "r1")]
    assert set(truths(tmp_path / "t.csv")) == {tmp_path / "1.png"}
    with pytest.raises(BadQuery, match="has no column label or category"):
        read_labelled(table(tmp_path / "u.csv", [{"path": "1.png", "colour": "red"}]))
    with pytest.raises(BadQuery, match="no labelled files"):
        read_labelled(table(tmp_path / "v.csv", [{"path": "", "label": "red"}]))


def test_a_table_as_data_sets_have_it(tmp_path):
    picture(tmp_path / "images" / "1.png", "red")
    (tmp_path / "meta").mkdir()
    file = table(tmp_path / "meta" / "t.csv", [{"filename": f"{n}.png", "category": "red"} for n in (1, 2)])
    assert [each.path.exists() for each in read_labelled(file)] == [True, False]
    told = truths(file)
    assert truth_of(tmp_path / "elsewhere" / "2.png", told).label == "red"
    assert truth_of(tmp_path / "elsewhere" / "3.png", told) is None


def test_labels_are_matched_whatever_their_capitals(tmp_path):
    picture(tmp_path / "Red" / "1.png", "red")
    picture(tmp_path / "odd" / "2.png", "blue")
    own, others = parted(read_labelled(tmp_path), ["red", "blue"])
    assert [each.label for each in own] == ["red"]
    assert [each.label for each in others] == ["odd"]


def test_labelled_files_that_cannot_be_read_are_told(tmp_path):
    picture(tmp_path / "red" / "1.png", "red")
    (tmp_path / "red" / "2.png").write_bytes(b"")
    failed = []
    classifier = Classifier(TOY, COLOURS)
    found = look_at(classifier, read_labelled(tmp_path), failed=lambda path, error: failed.append(path.name))
    assert [each.label for each in found] == ["red"]
    assert failed == ["2.png"]
    assert classifier.predict(found[0].seen)[0].label == "red"
    assert len(taught(["red"], 2)) == 2
