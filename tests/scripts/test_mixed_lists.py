"""mixed_lists.py: relevance, ignored files, and the figures computed from judged lists."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import mixed_lists
import numpy as np
import pytest
from evaluation import example_sets as made

from bindsearch.evaluation.dataset import Example, Media
from bindsearch.spaces.space import Space
from bindsearch.types import Modality

DOGS = ("a dog runs", "two dogs on grass", "an animal runs", "grass", "a field")


def test_photo_is_relevant_if_two_captions_name_the_topic():
    assert mixed_lists.topics_of_photo(DOGS) == {"dog": True, "farm": False}
    assert mixed_lists.topics_of_photo(["a puppy by the shore", "water"]) == {
        "dog": False,
        "sea": False,
        "river": False,
    } | {"swimming pool": False}
    assert mixed_lists.topics_of_photo(["nothing of the kind"]) == {}


def test_caption_is_relevant_to_what_it_names_itself():
    assert mixed_lists.topics_of_caption(DOGS[0], DOGS) == {"dog": True, "farm": False}
    assert mixed_lists.topics_of_caption(DOGS[2], DOGS) == {"dog": False, "farm": False}


def test_labels_count_for_their_own_kind_only():
    assert mixed_lists.topics_of_label("helicopter", "photos") == {"helicopter": True}
    assert mixed_lists.topics_of_label("rooster", "sounds") == {"rooster": True, "bird": False, "farm": False}
    assert mixed_lists.topics_of_label("wild cat", "sounds") == {}
    assert mixed_lists.topics_of_label("wild cat", "photos") == {"cat": True}


def test_topic_table_is_well_formed():
    assert len(mixed_lists.TOPICS) == len(mixed_lists._TOPIC_TABLE.splitlines())
    for name, topic in mixed_lists.TOPICS.items():
        assert topic.words or topic.photos or topic.sounds, name
        assert not topic.hints & topic.words, name
        assert all(label == label.strip() for label in topic.photos | topic.sounds), name


@dataclass
class FakeHit:
    """The part of a hit that judging uses."""

    path: Path
    copies: tuple[Path, ...] = ()


@pytest.fixture
def source(tmp_path):
    def photo(name, colour, words):
        return Example(Media(made.picture(tmp_path / f"{name}.png", colour)), words)

    def tone(name, hertz, words, recording):
        return Example(Media(made.tone(tmp_path / f"{name}.wav", hertz)), (words,), recording)

    captioned = [photo(f"captioned{number}", (200 + number, 30, 30), DOGS) for number in range(8)]
    labelled = [photo(f"label{number}", (30, 30, 200 + number), ("dalmatian",)) for number in range(8)]
    sounds = [("esc50", tone(f"sound{number}", 200.0 + number, "dog", f"{number // 2}")) for number in range(8)]
    return mixed_lists.Source(captioned, labelled, sounds)


def test_draw_is_seeded_and_has_each_captioned_photo_once(source, tmp_path):
    one, same, other = (mixed_lists.write_draw(source, tmp_path / "files", random.Random(seed)) for seed in (1, 1, 2))
    assert one == same
    assert one != other
    captioned = [path.stem for path in one.relevant["dog"] | one.hinted["dog"] if path.stem.startswith("captioned")]
    assert sorted(captioned) == [f"captioned{number}" for number in range(8)]
    assert len(one.notes) == len(mixed_lists.NOTES) * len(mixed_lists.TOPICS)


def test_figures_are_averaged_by_topic(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mixed_lists, "TOPICS", {name: mixed_lists.TOPICS[name] for name in ("dog", "farm")})
    lists = mixed_lists.run_draw(
        source, Space(mixed_lists.CachingEncoder(Space.named("toy").encoder)), 0, tmp_path / "draw"
    )
    dogs = [each for each in lists if each.topic == "dog" and each.kinds == 3]
    assert {each.query_kind for each in dogs} == {"words", "words, no notes", "photo", "sound"}
    assert {each.wording for each in dogs if each.query_kind == "words"} == set(mixed_lists.WORDINGS)
    for each in lists:
        assert np.isnan(each.ndcg) or 0 <= each.ndcg <= 1 + 1e-9
        assert sum(each.relevant) == pytest.approx(1) or np.isnan(each.ndcg)
    figures = mixed_lists.report_all(lists)
    words = figures["in words, topics in three modalities"]
    expected = [each.ndcg for each in dogs if each.query_kind == "words" and each.order == mixed_lists.BY_EVALUE]
    assert words["topics"] == ["dog"]
    assert words["ndcg"][mixed_lists.BY_EVALUE] == [pytest.approx(np.mean(expected))]
    assert f"{words['gain'][0]:.3f}" in capsys.readouterr().out


def test_list_is_judged_without_ignored_files(tmp_path):
    photos, texts = tmp_path / "photos", tmp_path / "texts"
    files = mixed_lists.Draw()
    files.relevant["dog"] = {photos / "a", photos / "b", texts / "c"}
    queries = mixed_lists.DrawQueries(0, None, files, tmp_path, mixed_lists.BY_EVALUE)
    hits = [FakeHit(path) for path in (photos / "ignored", photos / "a", texts / "irrelevant", texts / "c")]
    judged = queries._judge("dog", "words", "{}", hits, files.relevant["dog"], {photos / "ignored"})
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert judged.ndcg == pytest.approx((1 + 1 / np.log2(4)) / best)
    assert judged.shown == pytest.approx((1 / 3, 0, 2 / 3))
    assert judged.relevant == pytest.approx((2 / 3, 0, 1 / 3))
    assert judged.kinds == 2


def test_encoder_encodes_nothing_twice():
    calls = []

    class Counting:
        spec = Space.named("toy").spec

        def encode(self, modality, batch):
            calls.append(list(batch))
            return np.array([[float(len(each))] for each in batch], dtype=np.float32)

    encoder = mixed_lists.CachingEncoder(Counting())
    assert encoder.encode(Modality.TEXT, ["a", "bb", "a"]).ravel().tolist() == [1, 2, 1]
    assert encoder.encode(Modality.TEXT, ["bb", "ccc"]).ravel().tolist() == [2, 3]
    assert encoder.encode(Modality.TEXT, ["a"]).ravel().tolist() == [1]
    assert calls == [["a", "bb"], ["ccc"]]


def test_interval_is_that_of_the_mean_over_topics():
    values = np.random.default_rng(0).normal(1.0, 1.0, 100)
    low, high = mixed_lists.interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * values.std() / 10, rel=0.1)
