"""`bindsearch classify` and `bindsearch tag`: output, saved classifiers and tags, errors."""

from __future__ import annotations

import json

import pytest
from evaluation import example_sets as made
from PIL import Image

from bindsearch.spaces.space import Space
from bindsearch.zeroshot import LABEL_SETS, NONE, load_classifier

COLOURS = {"red": ["red", "darkred", "#d01010"], "blue": ["blue", "navy", "#1020d0"], "green": ["green", "#10c020"]}


@pytest.fixture
def colours(tmp_path):
    return made.folders(tmp_path / "colours", COLOURS)


def records(ran, kind):
    return [record for line in ran.lines if (record := json.loads(line)).get("kind") == kind]


def test_accuracy_with_folder_names_as_truth(run, colours, tmp_path):
    ran = run("classify", colours, "--truth", "folders", "--picture", tmp_path / "out.png", "-k", "2")
    assert ran.status == 0
    assert "100.0% of 8 files correct (100.0% to 100.0%); correct label among the best 2: 100.0%" in ran.lines
    assert [line.split() for line in ran.lines if line.startswith("  ")] == [
        ["blue", "100.0%", "of", "3"],
        ["green", "100.0%", "of", "2"],
        ["red", "100.0%", "of", "3"],
    ]
    with Image.open(tmp_path / "out.png") as picture:
        assert min(picture.size) > 60
    assert run("classify", colours, "--truth", "folders", "--picture", tmp_path / "out.unknown").status == 2


def test_wrong_answers_and_other_labels_are_counted(run, colours):
    ran = run("classify", colours, "--truth", "folders", "--labels", "red,blue,gray", "--template", "un{}ish", "--json")
    (record,) = records(ran, "accuracy")
    assert record["other_labels"] == {"green": 2}
    assert record["files"] == 6
    assert sum(map(sum, record["confusion"])) == 6
    right = sum(record["confusion"][place][place] for place in range(3))
    assert record["accuracy"] == pytest.approx(right / 6, abs=1e-6)
    files = [json.loads(line) for line in ran.lines if '"path"' in line]
    assert sum(each.get("truth") == each["labels"][0]["label"] for each in files) == right
    assert "with --none they count as “none of these”" in ran.err
    wrong = run("classify", colours, "--truth", "folders", "--labels", "red,blue,gray", "--template", "un{}ish")
    assert sum("(it is " in line for line in wrong.lines) == 6 - right


def test_none_of_these_is_correct_for_other_labels(run, colours):
    ran = run(
        "classify", colours, "--truth", "folders", "--labels", "red,blue", "--background", "green,yellow", "--json"
    )
    (record,) = records(ran, "accuracy")
    assert record["labels"] == ["red", "blue", NONE]
    assert record["classes"][NONE] == {"accuracy": 1.0, "files": 2}
    assert record["other_labels"] == {}
    built_in = run("classify", colours / "red", "--labels", "set:animals", "--none", "-k", "100", "--json")
    answers = {each["label"] for each in json.loads(built_in.lines[0])["labels"]}
    assert answers == {*LABEL_SETS["animals"], NONE}


def test_truth_from_a_table(run, colours, tmp_path):
    rows = [{"path": f"colours/{name}/0.png", "label": name, "recording": name} for name in ("red", "blue")]
    truth = made.table(tmp_path / "truth.csv", rows)
    ran = run("classify", colours, "--truth", truth, "--json")
    (record,) = records(ran, "accuracy")
    assert (record["files"], record["unknown"]) == (2, 6)
    assert set(record["labels"]) == {"red", "blue"}
    assert "6 files not evaluated" in ran.err
    assert run("classify", colours / "green", "--labels", "red,blue", "--truth", truth).status == 2
    assert "has no column" in run("classify", colours, "--truth", made.table(tmp_path / "x.csv", [{"a": 1}])).err


def test_sensitivity_to_templates(run, colours):
    words = ["--labels", "red,blue,green", "--template", "{}", "--template", "un{}ish"]
    ran = run("classify", colours, *words, "--sensitivity", "--truth", "folders", "--json")
    (record,) = records(ran, "sensitivity")
    assert set(record["templates"]) == {"{}", "un{}ish"}
    assert record["templates"]["{}"]["accuracy"] == 1.0 > record["templates"]["un{}ish"]["accuracy"]
    assert record["unanimous"] < 1.0
    lines = run("classify", colours, *words, "--sensitivity", "-q").lines
    assert sum(" agree" in line for line in lines) == 3
    assert not any(" correct" in line for line in lines)


def test_examples_define_the_labels(run, colours, tmp_path):
    odd = made.folders(tmp_path / "odd", {"plain": ["red", "darkred"], "snug": ["blue", "navy"]})
    ran = run("classify", colours / "red", colours / "blue", "--examples", odd, "-k", "1", "--json")
    (record,) = records(ran, "examples")
    assert (record["modality"], record["examples"], record["judged"]) == ("image", 4, 4)
    message = {(path.parent.name, best) for path, best in answers(ran)}
    assert message == {("red", "plain"), ("blue", "snug")}
    fewer = run("classify", colours / "red", "--examples", odd, "--labels", "plain,warm")
    assert "2 files skipped; no such label: snug" in fewer.err


def answers(ran):
    from pathlib import Path

    files = [json.loads(line) for line in ran.lines if '"path"' in line]
    return [(Path(each["path"]), each["labels"][0]["label"]) for each in files]


def test_tuned_prompts_are_saved_and_loaded(run, tmp_path, colours):
    some = {
        name: [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in shades] for name, shades in SHADES.items()
    }
    dev = made.folders(tmp_path / "dev", some)
    kept = tmp_path / "kept"
    ran = run("classify", "--tune", dev, "--template", "un{}ish", "--save", kept, "--json")
    assert ran.status == 0
    (record,) = records(ran, "tuning")
    assert record["tuned_on"] + record["judged_on"] == 24
    assert record["kept"]
    assert record["gain"] == pytest.approx(record["after"] - record["before"], abs=1e-5)
    loaded = run("classify", colours, "--load", kept, "--truth", "folders", "--json")
    classifier = load_classifier(kept, Space.named("toy"))
    for path, best in answers(loaded):
        assert classifier.predict(path)[0].label == best
    assert records(loaded, "accuracy")[0]["accuracy"] > 0.7
    text = run("classify", "--tune", dev, "--template", "un{}ish").lines
    assert text[0].startswith("tuned on 12 files, evaluated on 12 others")


SHADES = {
    "red": [(200 + 5 * n, 3 * n, 20) for n in range(8)],
    "green": [(10, 140 + 9 * n, 3 * n) for n in range(8)],
    "blue": [(10, 4 * n, 170 + 9 * n) for n in range(8)],
}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--load", "x", "--labels", "a"], "--load uses a classifier"),
        (["night", "--labels", "a", "--picture", "x.png"], "--truth"),
        (["--labels", "a"], "name the files to classify"),
        (["night"], "--labels"),
        (["night", "--labels", "set:animal"], "did you mean set:animals?"),
        (["night", "--labels", "none of these"], "--none"),
        (["night", "--examples", "labels.txt"], "labels.txt"),
        (["night", "--truth", "nowhere.csv", "--labels", "a"], "nowhere.csv"),
        (["night", "--load", "labels.txt"], "labels.txt is not a classifier"),
    ],
)
def test_conflicting_options_are_refused(run, words, message):
    ran = run("classify", *words)
    assert ran.status in (1, 2)
    assert message in ran.err


@pytest.mark.usefixtures("plugin_space_registered")
def test_classifier_of_another_space_is_refused(run, tmp_path):
    run("classify", "--labels", "red,blue", "--save", tmp_path / "kept", "--space", "plugin")
    ran = run("classify", "night", "--load", tmp_path / "kept", "--space", "toy")
    assert ran.status == 1
    assert "is a classifier of space plugin" in ran.err
    assert run("classify", "night", "--load", tmp_path / "kept").status == 0
    assert "is a classifier of space plugin" in run("tag", "--load", tmp_path / "kept").err


# tags -------------------------------------------------------------------------------------------------------------


def test_tags_are_added_listed_filtered_and_removed(own, run):
    made_now = run("tag", "--labels", "campfire,stars,windows")
    assert made_now.status == 0
    assert [line.split()[0] for line in made_now.lines] == ["campfire", "stars", "windows"]
    listed = [json.loads(line) for line in run("tag", "--json").lines]
    assert [(each["label"], each["tagged"]) for each in listed] == [("campfire", 3), ("stars", 3), ("windows", 3)]
    (record,) = [json.loads(line) for line in run("tag", "night/campfire.jpg", "--json").lines]
    value = record["tags"]["campfire"]
    near = f"tag:campfire>{value - 0.01:.4f}"
    for words in (["night", near], ["night", "--where", near], [near, "night", "--where", "tag:stars<1.0"]):
        ran = run("search", *words, "--json")
        paths = [json.loads(line)["path"].rpartition("/")[2] for line in ran.lines]
        assert "campfire.jpg" in paths
    assert run("search", "night", f"tag:campfire>{value + 0.001:.4f}", "tag:stars>=0.999").status == 1
    assert "stars" in run("status").out
    assert run("tag", "--remove", "stars,windows").out == "removed: stars, windows\n"
    assert run("tag", "--remove", "--json").lines == ['{"removed": ["campfire"]}']
    assert run("tag", "--remove").status == 1
    assert "there are no tags: `bindsearch tag --labels A,B,...` adds tags" in run("tag").err


def test_other_verbs_filter_by_tags(own, run):
    run("tag", "--labels", "campfire,stars", "--no-background")
    assert run("similar", "night/campfire.jpg", "--where", "tag:stars<=1", "-k", "9").status == 0
    assert run("similar", "night/campfire.jpg", "--where", "tag:stars>1").status == 1
    ran = run("why-not", "night/campfire.jpg", "night", "tag:stars>1")
    assert "removed by tag:stars>1.0" in ran.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "night", "tag:stras>0.5"], "did you mean tag:stars?"),
        (["search", "night", "tag:stars>x"], "x follows >"),
        (["search", "night", "--where", "tag:stars>2"], "from 0 to 1"),
        (["search", "tag:stars>0.5"], "the query is empty"),
        (["tag", "--remove", "stras"], "did you mean stars?"),
        (["tag", "--labels", "a", "--remove"], "use only one of --labels, --load, --remove and FILE"),
        (["tag", "--template", "a {}"], "--labels"),
        (["tag", "--labels", " , "], "at least one label"),
    ],
)
def test_wrong_tag_arguments_are_reported(own, run, words, message):
    run("tag", "--labels", "stars,campfire")
    ran = run(*words)
    assert ran.status == 2
    assert message in ran.err


def test_files_without_tags(own, run):
    assert run("tag", "night/campfire.jpg").out == "night/campfire.jpg: no tags\n"
    ran = run("tag", "nowhere.jpg", "night/campfire.jpg")
    assert ran.status == 3
    assert "nowhere.jpg is not in the library" in ran.err
