"""The trial of classifiers, on a small set of the same layout."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zero_shot as trial
from evaluation import example_sets as made

from bindsearch.types import Modality
from bindsearch.zeroshot import Example, MediaVectors

pytest.importorskip("torch", reason="the linear probe is fitted with torch")


def test_the_trial_runs_and_its_tables_say_what_it_found(tmp_path, capsys):
    made.esc50(tmp_path / "esc50")
    argv = [str(tmp_path), "--space", "toy", "--draws", "1", "--json", str(tmp_path / "told.json")]
    trial.AMONG, before = 1, trial.AMONG
    try:
        assert trial.main(argv) == 0
    finally:
        trial.AMONG = before
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["train"] + told["test"] == 6
    assert set(told["words"]) == {"default templates", "“the sound of {}” alone", "tuned"}
    out = capsys.readouterr().out
    assert f"{told['words']['tuned']['accuracy']:.1%}" in out
    assert all(f"| {count} |" in out for count in trial.SHOTS)


def test_shots_come_from_as_many_recordings_as_can_be():
    nothing = MediaVectors({Modality.AUDIO: np.ones(3, dtype=np.float32)})
    train = [Example(nothing, label, f"{label}{number // 2}") for label in "ab" for number in range(6)]
    shots = trial.drawn(train, 3, np.random.default_rng(0))
    assert sorted(each.group for each in shots) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert len(trial.drawn(train, 50, np.random.default_rng(0))) == 12


def test_a_probe_separates_what_can_be_separated():
    chance = np.random.default_rng(0)
    codes = np.repeat(np.arange(3), 20)
    rows = np.eye(8)[codes] + chance.normal(0, 0.2, (60, 8))
    weight, bias = trial.probe(rows, codes, 3, 1e-3)
    assert ((rows @ weight.T + bias).argmax(axis=1) == codes).mean() > 0.95
    strong, _ = trial.probe(rows, codes, 3, 10.0)
    assert np.abs(strong).max() < np.abs(weight).max()


def test_area_is_the_chance_to_be_above():
    assert trial.area(np.array([2.0, 3.0]), np.array([1.0])) == 1.0
    assert trial.area(np.array([1.0, 0.0]), np.array([1.0, 0.0])) == 0.5
