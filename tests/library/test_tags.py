"""Tags: how they are computed, filtered by, updated and migrated."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from media_files import picture, small_collection, sound, tone

import bindsearch
from bindsearch.core.lock import writing
from bindsearch.errors import BadQuery, CorruptLibrary, LibraryBusy, SpaceMismatch
from bindsearch.zeroshot import Classifier, Example, save_classifier
from bindsearch.zeroshot.saving import serialise

pytestmark = pytest.mark.usefixtures("plugin_space_registered")

LABELS = ["red", "blue", "yellow"]
OTHERS = ["green", "dark night"]


@pytest.fixture
def metadata():
    return {"trip": "coast"}


def found(library, **filters):
    """Return the names of all images that pass the filters."""
    return sorted(hit.path.name for hit in library.search("red", k=50, **{"modality": "image"} | filters))


def all_tags(library):
    """Return the tags of all files, by file name."""
    return {path.name: library.tags.of(path) for item in library.items() for path in item.paths}


def test_tags_equal_the_predictions_of_the_classifier(library, media):
    assert library.tag(LABELS, none=OTHERS) == LABELS
    classifier = library.classifier(LABELS, none=OTHERS)
    for name in ("pictures/red.png", "sounds/low.wav", "sounds/sea.txt"):
        expected = {each.label: each.probability for each in classifier.predict(media / name)}
        got = library.tags.of(media / name)
        assert got == pytest.approx({label: expected[label] for label in LABELS}, abs=2e-3)  # float16 in the ledger
        assert list(got.values()) == sorted(got.values(), reverse=True)
    likely = [name for name, tags in all_tags(library).items() if tags["red"] >= 0.5]
    assert "red.png" in likely
    assert library.tags["red"].items == len(likely)
    assert library.tags["red"].tagged == 9
    assert library.doctor() == []


def test_labels_without_background_add_up_to_one(library, media):
    library.tag(["red", "blue"], none=False)
    assert sum(library.tags.of(media / "pictures" / "green.png").values()) == pytest.approx(1.0, abs=1e-5)


def test_filters_by_tag(library):
    library.tag(LABELS, none=OTHERS)
    assert found(library, tag="red>0.5") == ["red.png"]
    assert found(library, tag=["tag:blue"]) == ["blue.png"]
    assert found(library, tag=["red>0.5", "blue>0.5"]) == []
    assert found(library, tag="red<=1") == found(library)
    assert found(library, tag="red<0.5") == ["blue.png", "green.png"]
    assert found(library, tag="red<=1", modality=["audio", "text"]) == found(library, modality=["audio", "text"])
    assert found(library, tag="red<0.5", ext="png", where={"trip": "coast"}) == ["blue.png", "green.png"]
    assert found(library, tag="red<0.5", where={"trip": "hills"}) == []


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagged")
    small_collection(folder / "media")
    with bindsearch.open(folder / "a.library") as opened:
        opened.index(folder / "media")
        opened.tag(["red", "green", "a hiss"], none=False)
        yield opened, {path: opened.tags.of(path) for item in opened.items() for path in item.paths}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["red", "green", "a hiss"]), st.sampled_from([">", ">=", "<", "<="]), st.floats(0, 1)
        ),
        max_size=3,
    ),
    st.sampled_from([None, "image", "audio"]),
    st.integers(1, 9),
)
def test_any_tag_conditions_select_the_matching_items(tagged, conditions, modality, k):
    library, known = tagged
    words = [f"tag:{label}{sign}{value!r}" for label, sign, value in conditions]
    hits = library.search("red", k=50, tag=words, modality=modality)
    compare = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
    expected = {
        path
        for path, tags in known.items()
        if all(compare[sign](np.float32(tags[label]), value) for label, sign, value in conditions)
    }
    everything = {hit.path for hit in library.search("red", k=50, modality=modality)}
    assert {hit.path for hit in hits} == expected & everything
    few = library.search("red", k=k, tag=words, modality=modality)
    assert [hit.path for hit in few] == [hit.path for hit in hits][:k]


def test_unknown_tag_in_a_filter_is_refused(library):
    with pytest.raises(BadQuery, match="--labels"):
        library.search("red", tag="dog>0.5")
    library.tag(["dog"])
    with pytest.raises(BadQuery, match=r"did you mean tag:dog\?"):
        library.search("red", tag="dgo>0.5")


def test_new_files_are_tagged_by_index(library, media, tmp_path):
    library.tag(LABELS, none=OTHERS)
    before = all_tags(library)
    picture(media / "pictures" / "new.png", (250, 5, 5))
    sound(media / "sounds" / "other.wav", tone(90.0, 2.0))
    assert library.index().added == 2
    assert library.tags.of(media / "pictures" / "new.png")["red"] > 0.5
    assert {name: tags for name, tags in all_tags(library).items() if name in before} == before
    assert found(library, tag="red>0.5") == ["new.png", "red.png"]
    with bindsearch.open(tmp_path / "fresh.library") as fresh:
        fresh.index(media)
        fresh.tag(LABELS, none=OTHERS)
        assert all_tags(fresh) == all_tags(library)


def test_tags_follow_the_content(library, media):
    library.tag(LABELS, none=OTHERS)
    before = library.tags.of(media / "pictures" / "red.png")
    os.rename(media / "pictures" / "red.png", media / "sounds" / "moved.png")
    library.index()
    assert library.tags.of(media / "sounds" / "moved.png") == before
    with pytest.raises(BadQuery, match="not in the library"):
        library.tags.of(media / "pictures" / "red.png")
    picture(media / "sounds" / "moved.png", "blue", size=50)
    library.index()
    assert library.tags.of(media / "sounds" / "moved.png")["blue"] > 0.5
    assert found(library, tag="red>0.5") == []
    assert library.index().unchanged == 9
    assert library.doctor() == []


def test_forgotten_items_leave_no_tags(library, media):
    library.tag(LABELS, none=OTHERS)
    library.forget(media / "pictures")
    assert library.tags["red"].tagged == 6
    with library._editions.now().ledger.read() as snapshot:
        assert sum(item is not None for _, item in snapshot.tag_keys()) == 6
    assert library.doctor() == []


def test_tagging_a_label_again_replaces_it(library, media):
    library.tag(LABELS, none=OTHERS)
    library.tag(["red", "green"], none=False)
    assert list(library.tags) == ["blue", "yellow", "red", "green"]
    assert library.tags.of(media / "pictures" / "blue.png")["blue"] > 0.5
    red = library.tags.of(media / "pictures" / "red.png")
    assert red["red"] + red["green"] == pytest.approx(1.0, abs=1e-5)
    library.tag(["blue", "yellow", "hiss"])
    with library._editions.now().ledger.read() as snapshot:
        assert len(snapshot.taggers()) == 2
        assert {number for number, _ in snapshot.tag_keys()} == set(snapshot.taggers())
    assert library.doctor() == []


def test_error_explains_why_a_file_has_no_tags(library, media):
    (media / "broken.jpg").write_bytes(b"")
    (media / "table.bin").write_bytes(bytes(100))
    library.index(media)
    for name, message in (
        ("broken.jpg", "cannot be read: the file is empty"),
        ("table.bin", "cannot have tags: its format is not supported"),
    ):
        with pytest.raises(BadQuery, match=message):
            library.tags.of(media / name)


def test_tags_are_removed(library, media):
    library.tag(LABELS, none=OTHERS)
    assert library.tags.remove(["red"]) == ["red"]
    assert list(library.tags) == ["blue", "yellow"]
    assert "red" not in library.tags
    assert "red" not in library.tags.of(media / "pictures" / "red.png")
    with pytest.raises(BadQuery, match=r"did you mean blue\?"):
        library.tags.remove(["blu"])
    assert library.tags.remove() == ["blue", "yellow"]
    assert dict(library.tags) == {}
    with library._editions.now().ledger.read() as snapshot:
        assert list(snapshot.tag_keys()) == []
    assert library.tags.remove() == []
    picture(media / "pictures" / "new.png", (250, 5, 5))
    library.index()
    assert library.tags.of(media / "pictures" / "new.png") == {}
    with library._editions.now().ledger.read() as snapshot:
        assert list(snapshot.tag_keys()) == []


def test_interrupted_tagging_continues(library, media, monkeypatch):
    monkeypatch.setattr("bindsearch.library.tags.MAX_TRANSACTION_ITEMS", 2)
    seen = []

    def stop(progress):
        seen.append(progress.done)
        if progress.done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        library.tag(LABELS, none=OTHERS, progress=stop)
    assert seen == [2, 4]
    assert library.tags["red"].tagged == 4
    assert library.doctor() == []
    library.index()
    assert library.tags["red"].tagged == 9
    whole = all_tags(library)
    library.tags.remove()
    library.tag(LABELS, none=OTHERS)
    assert all_tags(library) == whole


def test_tagging_needs_the_writer_lock(library):
    with writing(library.path), pytest.raises(LibraryBusy):
        library.tag(LABELS, none=OTHERS)


def test_tags_of_videos_and_of_an_empty_library(tmp_path, samples):
    shutil.copytree(samples / "videos", tmp_path / "films")
    with bindsearch.open(tmp_path / "films.library") as library:
        library.tag(["night", "sea"])
        assert library.tags["sea"].tagged == 0
        library.index(tmp_path / "films")
        film = tmp_path / "films" / "boat_on_the_blue_sea.mp4"
        expected = {
            each.label: each.probability for each in library.classifier(["night", "sea"], none=True).predict(film)
        }
        assert library.tags.of(film) == pytest.approx({name: expected[name] for name in ("night", "sea")}, abs=5e-3)


# classifiers with examples ----------------------------------------------------------------------------------------


def classifier_with_examples(library, media):
    """Return a classifier with labels unknown to the toy space, which has only its examples to go by."""
    classifier = library.classifier(["plain", "odd"])
    examples = [
        Example(classifier.embed(media / "pictures" / f"{name}.png"), label)
        for name, label in (("red", "plain"), ("blue", "odd"))
    ]
    return classifier.with_examples(examples)


def test_saved_classifier_can_tag(library, media, tmp_path):
    save_classifier(classifier_with_examples(library, media), tmp_path / "kept")
    library.tag(library.load_classifier(tmp_path / "kept"))
    assert library.tags.of(media / "pictures" / "red.png")["plain"] > 0.5
    assert library.tags.of(media / "pictures" / "blue.png")["odd"] > 0.5
    with pytest.raises(SpaceMismatch):
        library.tag(Classifier(bindsearch.space("plugin"), ["red"]))


# migration to another space and back ------------------------------------------------------------------------------


def test_migration_recomputes_tags_from_words(library, media, tmp_path):
    library.tag(LABELS, none=OTHERS)
    library.tags.remove(["blue"])
    report = library.migrate("plugin")
    assert (report.tags_recomputed, report.tags_dropped) == (["red", "yellow"], [])
    assert list(library.tags) == ["red", "yellow"]
    with bindsearch.open(tmp_path / "fresh.library", space="plugin") as fresh:
        fresh.index(media)
        fresh.tag(LABELS, none=OTHERS)
        fresh.tags.remove(["blue"])
        assert all_tags(fresh) == all_tags(library)
    assert library.doctor() == []


def test_tags_from_examples_return_with_a_rollback(library, media):
    library.tag(["red"])
    library.tag(classifier_with_examples(library, media))
    before = all_tags(library)
    report = library.migrate("plugin")
    assert (report.tags_recomputed, report.tags_dropped) == (["red"], ["plain", "odd"])
    assert list(library.tags) == ["red"]
    library.rollback()
    assert all_tags(library) == before
    assert library.doctor() == []


def test_rollback_applies_later_changes_of_tags(library, media):
    library.tag(["red", "blue"])
    library.tag(classifier_with_examples(library, media))
    library.migrate("plugin")
    library.tags.remove(["red", "blue"])
    library.tag(["yellow", "odd"])
    library.rollback()
    assert sorted(library.tags) == ["odd", "plain", "yellow"]
    words = library.tags.of(media / "pictures" / "blue.png")
    library.tags.remove()
    library.tag(["yellow", "odd"])
    again = library.tags.of(media / "pictures" / "blue.png")
    assert {label: words[label] for label in again} == again
    assert library.doctor() == []


# faults -----------------------------------------------------------------------------------------------------------


def test_doctor_repairs_misplaced_tags(library, media):
    library.tag(LABELS, none=OTHERS)
    ledger = library._editions.now().ledger
    row = np.zeros(4, dtype=np.float32)
    ledger.write(lambda txn: txn.put_tags(1, 999, row))
    ledger.write(lambda txn: txn.put_tags(1, 1, row[:2]))
    ledger.write(lambda txn: txn.put_tags(7, 1, row))
    faults = library.doctor()
    assert len(faults) == 3
    assert all("tags" in fault for fault in faults)
    library.doctor(repair=True)
    assert library.doctor() == []
    assert library.tags["red"].tagged == 8


def test_repair_drops_tags_without_classifier(library, media):
    library.tag(LABELS, none=OTHERS)
    library._editions.now().ledger.write(lambda txn: txn.drop_tags(1, None))
    picture(media / "pictures" / "new.png", (250, 5, 5))
    with pytest.raises(CorruptLibrary, match="--repair"):
        library.index()
    library.doctor(repair=True)
    assert library.doctor() == []
    assert dict(library.tags) == {}
    library.index()


def test_status_lists_the_tags(library):
    assert library.status().tags == ()
    library.tag(LABELS, none=OTHERS)
    assert library.status().as_json()["tags"] == tuple(LABELS)
    assert len(serialise(library.classifier(["red"]))) > 1000


def test_why_not_names_the_failed_condition(library, media):
    library.tag(LABELS, none=OTHERS)
    explained = library.why_not(
        media / "pictures" / "blue.png", bindsearch.SearchRequest.of("red", tag=["red>0.5", "blue>0.5"])
    )
    assert explained.verdict == "filtered"
    assert "tag:red>0.5 (it is 0.0" in explained.reason
    assert "tag:blue" not in explained.reason
    assert (
        library.why_not(media / "pictures" / "red.png", bindsearch.SearchRequest.of("red", tag="red>0.5")).verdict
        == "listed"
    )
