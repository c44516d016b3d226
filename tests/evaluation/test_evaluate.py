"""Complete evaluations of the toy space on small data sets."""

from __future__ import annotations

import random

import fingerprints as experiment
import numpy as np
import pytest
from duplicates.test_fingerprints import scene
from evaluation import example_sets
from PIL import Image

from bindsearch.errors import BadQuery
from bindsearch.evaluation.confusion_plot import WRONG, draw
from bindsearch.evaluation.emergence import Emergence
from bindsearch.evaluation.evaluate import EvaluationOptions, evaluate
from bindsearch.evaluation.retrieval_task import Score
from bindsearch.evaluation.tasks import Confusion
from bindsearch.library.library import Library
from bindsearch.spaces.space import Space

TOY = Space.named("toy")
COLOURS = {"red": ["red", "darkred", "crimson"], "blue": ["blue", "navy", "darkblue"], "green": ["green", "darkgreen"]}


def run(*paths, **options):
    return evaluate(list(paths), TOY, EvaluationOptions(**options), on_progress=lambda progress: None)


def figures(done, task):
    return {score.metric: score for score in done.scores if score.task == task}


def test_images_are_scored_by_class(tmp_path):
    done = run(example_sets.folders(tmp_path / "colours", COLOURS))
    found = figures(done, "zero-shot image")["top-1"]
    assert (found.score, found.chance, found.queries, found.items) == (1, pytest.approx(1 / 3), 8, 3)
    assert figures(done, "text→image")["mAP"].score == 1
    (confusion,) = done.confusions
    assert confusion.counts.tolist() == [[3, 0, 0], [0, 2, 0], [0, 0, 3]]
    assert confusion.per_class() == {"blue": (1, 3), "green": (1, 2), "red": (1, 3)}


def test_predictions_equal_those_of_the_classifier(tmp_path):
    """`eval` measures the same predictions that `classify` makes."""
    from bindsearch.zeroshot import Classifier

    root = example_sets.esc50(tmp_path / "ESC-50")
    (confusion,) = run(root).confusions
    classifier = Classifier(TOY, confusion.labels)
    predicted = [classifier.predict(path)[0].label for path in sorted((root / "audio").iterdir())]
    assert [predicted.count(label) for label in confusion.labels] == confusion.counts.sum(axis=0).tolist()


def test_captions_are_scored_in_both_directions(tmp_path):
    done = run(example_sets.coco(tmp_path))
    assert figures(done, "text→image")["R@1"].score == 1
    assert figures(done, "text→image")["R@1"].chance == 0.5
    assert figures(done, "image→text")["hit@5"].score == 1


def test_names_are_scored(tmp_path):
    for name, hertz in example_sets.HERTZ.items():
        example_sets.tone(tmp_path / f"{name} tone.wav", hertz)
    found = figures(run(tmp_path), "name→sound")
    assert found["R@1"].chance == pytest.approx(1 / 3)
    assert found["R@5"].score == 1


def test_several_labels_give_no_confusion_matrix(tmp_path):
    example_sets.lines(
        tmp_path / "class_labels_indices.csv", ["index,mid,display_name", "0,/m/1,hum", "1,/m/2,whistle"]
    )
    example_sets.lines(
        tmp_path / "eval_segments.csv", ['a, 0, 10, "/m/1"', 'b, 0, 10, "/m/1,/m/2"', 'c, 0, 10, "/m/2"']
    )
    for name, hertz in (("a", 110), ("b", 700), ("c", 3000)):
        example_sets.tone(tmp_path / f"{name}.wav", hertz)
    done = run(tmp_path)
    assert {score.task for score in done.scores} == {"text→sound"}
    assert done.confusions == ()


def test_part_and_limit_select_examples(tmp_path):
    root = example_sets.esc50(tmp_path / "ESC-50")
    held = {example.recording for example in run(root, part="dev").sets[0].dataset.examples}
    assert held == {other for _, other in example_sets.RECORDINGS}
    assert len(run(root, limit=2).sets[0].dataset.examples) == 2


def test_unreadable_files_are_reported_and_ignored(tmp_path):
    root = example_sets.folders(tmp_path / "colours", COLOURS)
    (root / "red" / "9.png").write_bytes(b"no picture")
    done = run(root)
    assert list(done.failed) == [str(root / "red" / "9.png")]
    assert figures(done, "zero-shot image")["top-1"].queries == 8


def test_nothing_to_measure_is_an_error(tmp_path):
    example_sets.picture(tmp_path / "n00000001_tench.png", "red")
    with pytest.raises(BadQuery, match="held out"):
        run(tmp_path, part="dev")


def test_the_seed_determines_the_scores(tmp_path):
    root = example_sets.esc50(tmp_path / "ESC-50")
    assert run(root, seed=3).scores == run(root, seed=3).scores


# Emergence --------------------------------------------------------------------------------------------------------


def emergence_of(tmp_path):
    example_sets.folders(tmp_path / "seen", {"Thunder": ["#202030"] * 3, "whistle": ["#ffffa0"] * 4, "apple": ["red"]})
    for name, hertz in (("thunder", 60.0), ("whistle", 3000.0)):
        for take in range(3):
            example_sets.tone(tmp_path / "heard" / name / f"{take}.wav", hertz * (1 + take / 40))
    return run(tmp_path / "seen", tmp_path / "heard").emergence


def test_all_pairs_are_scored_on_the_same_concepts(tmp_path):
    found = emergence_of(tmp_path)
    assert found.concepts == ("thunder", "whistle")
    counts = {(score.task, score.metric): (score.queries, score.items) for score in found.scores}
    assert counts["text→sound", "mAP"] == (2, 6)
    assert counts["text→image", "mAP"] == (2, 7)
    assert counts["sound→image", "P@10"] == (6, 7)
    assert counts["image→sound", "P@10"] == (7, 6)
    assert set(found.compared()) == {"text→sound", "text→image", "sound→image", "image→sound"}


def test_the_control_of_emergence_is_chance(tmp_path):
    for score in emergence_of(tmp_path).scores:
        if score.metric == "P@10":
            assert score.chance == pytest.approx(0.5)
            assert score.control == pytest.approx(0.5, abs=1e-9)


def test_missing_shared_concepts_are_noted(tmp_path):
    example_sets.folders(tmp_path / "seen", COLOURS)
    example_sets.esc50(tmp_path / "heard")
    done = run(tmp_path / "seen", tmp_path / "heard")
    assert done.emergence is None
    assert "share fewer than two concepts" in done.notes[-1]


# Copies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scenes(tmp_path):
    for number in range(12):
        path = tmp_path / "scenes" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(number).save(path)
    return tmp_path / "scenes"


def plant(scenes, training):
    """Write a cropped copy, an identical copy, and an unrelated image."""
    training.mkdir()
    cropped = experiment.crop(Image.open(scenes / "a" / "0.png"), random.Random(0))
    cropped.save(training / "small.jpg", quality=60)
    (training / "same.png").write_bytes((scenes / "b" / "1.png").read_bytes())
    scene(99).save(training / "other.png")
    return training


def test_scores_are_given_without_copies(scenes, tmp_path):
    done = run(scenes, against=plant(scenes, tmp_path / "training"))
    assert done.overlap.compared == 3
    assert done.overlap.copied == {str(scenes / "a" / "0.png"), str(scenes / "b" / "1.png")}
    assert {copy.how == "the same bytes" for copy in done.overlap.copies if copy.copy.endswith("same.png")} >= {True}
    whole = figures(done, "zero-shot image")["top-1"]
    clean = done.without_copies(whole)
    assert (whole.queries, clean.queries) == (12, 10)


def test_copies_in_a_library(scenes, tmp_path):
    training = plant(scenes, tmp_path / "training")
    with Library.open(tmp_path / "my.library", space=TOY) as library:
        library.index([training])
    done = run(scenes, against=tmp_path / "my.library")
    assert len(done.overlap.copied) == 2


def test_a_data_set_is_not_a_copy_of_itself(scenes):
    assert run(scenes, against=scenes).overlap.copied == frozenset()


def test_copies_of_sounds_in_a_tar_file(tmp_path):
    root = example_sets.esc50(tmp_path / "ESC-50")
    file = root / "audio" / f"1-{example_sets.RECORDINGS[0][0]}-A-0.wav"
    (tmp_path / "heard.wav").write_bytes(file.read_bytes())
    example_sets.pack(tmp_path / "training.tar", {"a/heard.wav": tmp_path / "heard.wav"})
    assert str(file) in run(root, against=tmp_path / "training.tar").overlap.copied


def test_comparing_with_a_missing_path_is_an_error(scenes, tmp_path):
    with pytest.raises(FileNotFoundError):
        run(scenes, against=tmp_path / "nowhere")


# The plot ---------------------------------------------------------------------------------------------------------


def test_the_plot_marks_mistakes():
    picture = draw(Confusion("data", ("one", "two"), np.array([[0, 4], [0, 0]])))
    pixels = np.asarray(picture)
    assert (pixels == WRONG).all(axis=2).sum() >= 15 * 15
    assert draw(Confusion("data", ("one", "two"), np.zeros((2, 2), int))).size == picture.size


def test_the_plot_of_a_thousand_labels_stays_small():
    labels = tuple(f"label {number}" for number in range(1000))
    assert max(draw(Confusion("data", labels, np.eye(1000, dtype=int))).size) < 1400


def test_the_share_compares_with_the_weaker_trained_pair():
    def task_score(task, score, low):
        return Score("data", task, "mAP", score, low, 1.0, 0.5, 0.5, 10, 10)

    trained = [
        task_score("text→image", 0.9, 0.8),
        task_score("sound→image", 0.7, 0.6),
        task_score("image→sound", 0.75, 0.6),
    ]
    sound_score = task_score("text→sound", 0.6, 0.5)
    assert Emergence(("a", "b"), (*trained, sound_score)).share == pytest.approx(0.1 / 0.25)
    weak = [task_score("text→image", 0.6, 0.4), *trained[1:], sound_score]
    assert np.isnan(Emergence(("a", "b"), tuple(weak)).share)
