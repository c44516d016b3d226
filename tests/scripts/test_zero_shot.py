"""zero_shot.py, on a small data set of the same layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zero_shot
from evaluation import example_sets as made

from bindsearch.types import Modality
from bindsearch.zeroshot import Example, MediaVectors

pytest.importorskip("torch", reason="the linear probe is fitted with torch")


def test_tables_show_the_measured_figures(tmp_path, capsys):
    made.esc50(tmp_path / "esc50")
    argv = [str(tmp_path), "--space", "toy", "--draws", "1", "--json", str(tmp_path / "figures.json")]
    zero_shot.LABEL_COUNT, before = 1, zero_shot.LABEL_COUNT
    try:
        assert zero_shot.main(argv) == 0
    finally:
        zero_shot.LABEL_COUNT = before
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["train"] + figures["test"] == 6
    assert set(figures["words"]) == {"default templates", "“the sound of {}” alone", "tuned"}
    out = capsys.readouterr().out
    assert f"{figures['words']['tuned']['accuracy']:.1%}" in out
    assert all(f"| {count} |" in out for count in zero_shot.SHOTS)


def test_examples_come_from_as_many_recordings_as_possible():
    nothing = MediaVectors({Modality.AUDIO: np.ones(3, dtype=np.float32)})
    train = [Example(nothing, label, f"{label}{number // 2}") for label in "ab" for number in range(6)]
    shots = zero_shot.draw_examples(train, 3, np.random.default_rng(0))
    assert sorted(each.group for each in shots) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert len(zero_shot.draw_examples(train, 50, np.random.default_rng(0))) == 12


def test_probe_separates_separable_classes():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 20)
    rows = np.eye(8)[codes] + rng.normal(0, 0.2, (60, 8))
    weight, bias = zero_shot.fit_probe(rows, codes, 3, 1e-3)
    assert ((rows @ weight.T + bias).argmax(axis=1) == codes).mean() > 0.95
    strong, _ = zero_shot.fit_probe(rows, codes, 3, 10.0)
    assert np.abs(strong).max() < np.abs(weight).max()


def test_area_is_the_probability_of_being_above():
    assert zero_shot.area(np.array([2.0, 3.0]), np.array([1.0])) == 1.0
    assert zero_shot.area(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.5
