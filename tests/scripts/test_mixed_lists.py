"""The trial of mixed lists: what is right, what lies aside, and what is made of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import mixed_lists as trial
import numpy as np
import pytest
from evaluation import example_sets as made

from bindsearch.evaluation.dataset import Example, Media
from bindsearch.spaces.space import Space
from bindsearch.types import Modality

DOGS = ("a dog runs", "two dogs on grass", "an animal runs", "grass", "a field")


def test_a_photo_is_about_what_two_captions_name_and_perhaps_about_what_one_names_or_hints_at():
    assert trial.of_photo(DOGS) == {"dog": True, "farm": False}
    assert trial.of_photo(["a puppy by the shore", "water"]) == {"dog": False, "sea": False, "river": False} | {
        "swimming pool": False
    }
    assert trial.of_photo(["nothing of the kind"]) == {}


def test_a_caption_is_about_what_it_names_itself():
    assert trial.of_caption(DOGS[0], DOGS) == {"dog": True, "farm": False}
    assert trial.of_caption(DOGS[2], DOGS) == {"dog": False, "farm": False}


def test_labels_count_for_their_own_kind():
    assert trial.of_label("helicopter", "photos") == {"helicopter": True}
    assert trial.of_label("rooster", "sounds") == {"rooster": True, "bird": False, "farm": False}
    assert trial.of_label("wild cat", "sounds") == {}
    assert trial.of_label("wild cat", "photos") == {"cat": True}


def test_every_line_of_the_table_says_what_it_seems_to():
    assert len(trial.THINGS) == len(trial._THINGS.splitlines())
    for name, thing in trial.THINGS.items():
        assert thing.words or thing.photos or thing.sounds, name
        assert not thing.hints & thing.words, name
        assert all(label == label.strip() for label in thing.photos | thing.sounds), name


@dataclass
class ScannedFile:
    """As much of a hit as is looked at."""

    path: Path
    copies: tuple[Path, ...] = ()


@pytest.fixture
def source(tmp_path):
    def photo(name, colour, words):
        return Example(Media(made.picture(tmp_path / f"{name}.png", colour)), words)

    def tone(name, hertz, words, recording):
        return Example(Media(made.tone(tmp_path / f"{name}.wav", hertz)), (words,), recording)

    captioned = [photo(f"told{number}", (200 + number, 30, 30), DOGS) for number in range(8)]
    labelled = [photo(f"label{number}", (30, 30, 200 + number), ("dalmatian",)) for number in range(8)]
    sounds = [("esc50", tone(f"sound{number}", 200.0 + number, "dog", f"{number // 2}")) for number in range(8)]
    return trial.Source(captioned, labelled, sounds)


def test_a_draw_is_the_same_for_the_same_seed_and_has_each_captioned_photo_once(source, tmp_path):
    one, same, other = (trial.drawn(source, tmp_path / "files", random.Random(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    told = [path.stem for path in one.right["dog"] | one.hinted["dog"] if path.stem.startswith("told")]
    assert sorted(told) == [f"told{number}" for number in range(8)]
    assert len(one.notes) == len(trial.NOTES) * len(trial.THINGS)


def test_the_outcome_is_averaged_by_thing(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trial, "THINGS", {name: trial.THINGS[name] for name in ("dog", "farm")})
    told = trial.asked(source, Space(trial.Known(Space.named("toy").encoder)), 0, tmp_path / "draw")
    dogs = [each for each in told if each.thing == "dog" and each.kinds == 3]
    assert {each.asked for each in dogs} == {"words", "words, no notes", "photo", "sound"}
    assert {each.wording for each in dogs if each.asked == "words"} == set(trial.WORDINGS)
    for each in told:
        assert np.isnan(each.ndcg) or 0 <= each.ndcg <= 1 + 1e-9
        assert sum(each.right) == pytest.approx(1) or np.isnan(each.ndcg)
    found = trial.outcome(told)
    words = found["in words, things in three modalities"]
    mine = [each.ndcg for each in dogs if each.asked == "words" and each.way == trial.FAIR]
    assert words["things"] == ["dog"]
    assert words["ndcg"][trial.FAIR] == [pytest.approx(np.mean(mine))]
    assert f"{words['gain'][0]:.3f}" in capsys.readouterr().out


def test_a_list_is_judged_without_what_lies_aside(tmp_path):
    photos, texts = tmp_path / "photos", tmp_path / "texts"
    files = trial.Drawn()
    files.right["dog"] = {photos / "a", photos / "b", texts / "c"}
    asker = trial.Asker(0, None, files, tmp_path, trial.FAIR)
    hits = [ScannedFile(path) for path in (photos / "aside", photos / "a", texts / "wrong", texts / "c")]
    told = asker._told("dog", "words", "{}", hits, files.right["dog"], {photos / "aside"})
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert told.ndcg == pytest.approx((1 + 1 / np.log2(4)) / best)
    assert told.shown == pytest.approx((1 / 3, 0, 2 / 3))
    assert told.right == pytest.approx((2 / 3, 0, 1 / 3))
    assert told.kinds == 2


def test_what_was_encoded_once_is_not_encoded_again():
    calls = []

    class Counting:
        spec = Space.named("toy").spec

        def encode(self, modality, batch):
            calls.append(list(batch))
            return np.array([[float(len(each))] for each in batch], dtype=np.float32)

    known = trial.Known(Counting())
    assert known.encode(Modality.TEXT, ["a", "bb", "a"]).ravel().tolist() == [1, 2, 1]
    assert known.encode(Modality.TEXT, ["bb", "ccc"]).ravel().tolist() == [2, 3]
    assert known.encode(Modality.TEXT, ["a"]).ravel().tolist() == [1]
    assert calls == [["a", "bb"], ["ccc"]]


def test_the_interval_is_that_of_the_mean_over_things():
    values = np.random.default_rng(0).normal(1.0, 1.0, 100)
    low, high = trial.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * values.std() / 10, rel=0.1)
