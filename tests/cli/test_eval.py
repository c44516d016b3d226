"""`bindsearch eval`: the table, JSON records, the confusion plot, errors."""

from __future__ import annotations

import json

import pytest
from evaluation import example_sets as made
from PIL import Image

COLOURS = {"red": ["red", "darkred"], "blue": ["blue", "navy"], "green": ["green"]}


@pytest.fixture
def colours(tmp_path):
    return made.folders(tmp_path / "colours", COLOURS)


def test_table_has_score_interval_chance_and_control(run, colours):
    ran = run("eval", colours)
    assert ran.status == 0
    assert any(line.split() == "data task measure score 95 % interval chance permuted".split() for line in ran.lines)
    (row,) = [line for line in ran.lines if "top-1" in line]
    words = row.split()
    assert words[:4] + words[4:6] == ["colours", "zero-shot", "image", "top-1", "1.000", "1.000–1.000"]
    assert words[6] == "0.333"
    assert 0.2 < float(words[7]) < 0.47


def test_json_has_all_figures(run, colours):
    records = [json.loads(line) for line in run("eval", colours, "--json", "--seed", "4").lines]
    head, *rest = records
    assert (head["kind"], head["space"], head["seed"], head["failed"]) == ("evaluation", "toy", 4, {})
    assert head["sets"][0] == {
        **{"name": "colours", "layout": "folders", "modality": "image", "truth": "classes"},
        **{"examples": 5, "labels": 3},
    }
    assert head["templates"]["image"][0] == "a photo of {}"
    (top,) = [each for each in rest if each.get("metric") == "top-1"]
    assert (top["score"], top["low"], top["queries"], top["items"]) == (1.0, 1.0, 5, 3)
    (classes,) = [each for each in rest if each["kind"] == "classes"]
    assert classes["per_class"]["red"] == {"top-1": 1.0, "count": 2}


def test_per_class_option_lists_classes(run, colours):
    lines = run("eval", colours, "--classes", "-q").lines
    assert [line.split() for line in lines if line.startswith("  ")] == [
        ["blue", "1.000", "of", "2"],
        ["green", "1.000", "of", "1"],
        ["red", "1.000", "of", "2"],
    ]


def test_confusion_matrix_is_drawn(run, colours, tmp_path):
    assert run("eval", colours, "--confusion", tmp_path / "out.png").status == 0
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 60
    ran = run("eval", colours, "--confusion", tmp_path / "out.unknown")
    assert ran.status == 2
    assert "name it something.png" in ran.err


def test_no_confusion_matrix_without_classes(run, tmp_path):
    ran = run("eval", made.coco(tmp_path), "--confusion", tmp_path / "out.png")
    assert (ran.status, "no confusion matrix to draw" in ran.err) == (2, True)


def test_emergence_is_reported(run, tmp_path):
    made.folders(tmp_path / "seen", {"thunder": ["#202030", "#101018"], "whistle": ["#ffffa0", "yellow"]})
    for name, hertz in (("thunder", 60), ("whistle", 3000)):
        for take in (1, 2):
            made.tone(tmp_path / "heard" / name / f"{take}.wav", hertz * take)
    ran = run("eval", tmp_path / "seen", tmp_path / "heard")
    assert [line for line in ran.lines if line.startswith("emergence on 2 concepts, mAP from chance")]
    assert len([line for line in ran.lines if line.startswith("shared concepts")]) == 8


def test_copies_are_reported(run, colours, tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "a.png").write_bytes((colours / "red" / "0.png").read_bytes())
    ran = run("eval", colours, "--against", tmp_path / "training")
    assert "without copies" in ran.out
    assert "copies: 1 of 5 files have a copy among the 1 files" in ran.out
    assert [line for line in ran.lines if line.endswith("(the same bytes)")]
    records = [json.loads(line) for line in run("eval", colours, "--against", tmp_path / "training", "--json").lines]
    (copies,) = [each for each in records if each["kind"] == "copies"]
    assert (copies["compared"], copies["copied"], copies["copies"][0]["agreement"]) == (1, 1, 1.0)
    assert [each["without_copies"] for each in records if each.get("metric") == "top-1"] == [1.0]


def test_unreadable_media_are_reported(run, colours):
    (colours / "red" / "7.png").write_bytes(b"\x89PNG no picture")
    ran = run("eval", colours)
    assert ran.status == 3
    assert "1 file could not be read" in ran.err


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere"], 2, "nowhere: no such file"),
        (["samples/notes"], 2, "no layout of a data set is recognised"),
        (["samples/sounds", "--as", "esc"], 2, "no layout is called 'esc'"),
        (["samples/sounds", "--as", "esc50"], 2, "this layout needs meta/esc50.csv or clips.csv"),
        (["samples/sounds", "--space", "no"], 2, "no space is called 'no'"),
        (["samples/sounds", "--part", "test"], 2, "unknown value 'test'"),
        (["samples/sounds", "--limit", "0"], 2, "at least 1"),
    ],
)
def test_usage_errors_are_one_line(run, words, status, message):
    ran = run("eval", *words)
    assert (ran.status, ran.out) == (status, "")
    assert message.lower() in ran.err.lower()
