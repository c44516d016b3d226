from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import sys
import threading
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from media_files import large_collection, passage, picture, sound, tone

import bindsearch
from bindsearch.core.lock import writing
from bindsearch.errors import (
    BadQuery,
    CorruptLibrary,
    EmptyQuery,
    LibraryBusy,
    LibraryError,
    LibraryFull,
    LibraryNotFound,
    SchemaTooNew,
    SpaceMismatch,
    UnreadableMedia,
)
from bindsearch.library.library import Library
from bindsearch.storage.manifest import SCHEMA, read_manifest, upgrade


@pytest.fixture(scope="module")
def crowd(tmp_path_factory):
    """A library of 150 pictures, 50 long sounds and 50 texts."""
    folder = tmp_path_factory.mktemp("crowd")
    with bindsearch.open(folder / "crowd.library") as opened:
        opened.index(large_collection(folder / "media", pictures=150, sounds=50, tones=6, texts=50))
        yield opened


def names(hits) -> list[str]:
    return [hit.path.name for hit in hits]


# Search ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "modality", "expected"),
    [
        ("red", "image", "red.png"),
        ("a low rumble", "audio", "low.wav"),
        ("a high whistle", "audio", "high.wav"),
        ("blue", "image", "blue.png"),
        ("sea", "text", "sea.txt"),
    ],
)
def test_text_finds_every_modality(library, query, modality, expected):
    assert names(library.search(query, modality=modality, k=1)) == [expected]


def test_any_modality_finds_any_modality(library, media):
    low, red = media / "sounds" / "low.wav", media / "pictures" / "red.png"
    assert names(library.search(low, modality="image", k=1)) == ["red.png"]
    assert names(library.search(red, modality="audio", k=1)) == ["low.wav"]
    assert names(library.search(media / "sounds" / "forest.txt", modality="image", k=1)) == ["green.png"]
    assert names(library.search(media / "pictures" / "blue.png", modality="text", k=1)) == ["sea.txt"]


def test_hit_has_the_best_moment(tmp_path):
    silence = np.zeros(16_000 * 10, dtype=np.float32)
    silence[16_000 * 4 : 16_000 * 6] = tone(4000.0, 2.0)
    sound(tmp_path / "in" / "quiet.wav", silence)
    with bindsearch.open(tmp_path / "a.library") as library:
        library.index(tmp_path / "in")
        hit = library.search("a high whistle", k=1)[0]
    assert (hit.start, hit.end) == (4.0, 6.0)
    assert hit.segment.modality == "audio"


def test_files_outside_the_library_can_be_queries(library, tmp_path):
    outside = sound(tmp_path / "outside.wav", tone(4000.0, 1.0))
    assert names(library.search(outside, modality="audio", k=1)) == ["high.wav"]
    known = library.vector(tmp_path / "media" / "sounds" / "high.wav")
    fresh = library.space.embed([tmp_path / "media" / "sounds" / "high.wav"])[0]
    assert known == pytest.approx(fresh, abs=1e-3)


def test_part_of_a_file_is_only_that_part(library, tmp_path):
    both = sound(tmp_path / "both.wav", np.concatenate([tone(80.0, 4.0), tone(4000.0, 4.0)]))
    assert names(library.search(bindsearch.file(both, end=3), modality="audio", k=1)) == ["low.wav"]
    assert names(library.search(bindsearch.file(both, start=5), modality="audio", k=1)) == ["high.wav"]
    with pytest.raises(BadQuery, match="has nothing between 100 s and its end"):
        library.search(bindsearch.file(both, start=100))


def test_composed_queries_are_sums(library, media):
    red = bindsearch.file(media / "pictures" / "red.png")
    blue = bindsearch.file(media / "pictures" / "blue.png")
    first_two = set(names(library.search(red + blue, modality="image", k=2)))
    assert first_two == {"red.png", "blue.png"}
    assert names(library.search(red + blue - red, modality="image", k=1)) == ["blue.png"]
    with pytest.raises(EmptyQuery):
        library.search(red - red)


def test_similar_excludes_the_file_and_its_copies(library, media):
    picture(media / "pictures" / "red-again.png", "red")
    picture(media / "pictures" / "dark-red.png", (200, 0, 0))
    library.index(media)
    assert names(library.similar(media / "pictures" / "red.png", modality="image", k=1)) == ["dark-red.png"]


@pytest.mark.parametrize(
    "name", [f"{number:03d}{ending}" for number in range(0, 50, 7) for ending in (".wav", ".png", ".txt")]
)
def test_file_finds_itself_first(crowd, name, tmp_path):
    path = crowd.path.parent / "media" / name
    everything = crowd.search(path, k=300)
    assert everything[0].path == path
    assert everything[0].expect == 0
    assert all(hit.expect > 0 for hit in everything[1:])
    for k in (1, 5):
        assert names(crowd.search(path, k=k)) == names(everything)[:k]
    outside = shutil.copy(path, tmp_path / f"outside-{name}")
    assert names(crowd.search(outside, k=5)) == names(everything)[:5]
    assert crowd.why_not(path, path).rank == 1


def test_only_a_single_whole_file_finds_itself(crowd):
    path = crowd.path.parent / "media" / "007.wav"
    whole, piece = bindsearch.file(path), bindsearch.file(path, end=2)
    assert crowd.search(whole, k=1, modality="audio")[0].expect == 0
    assert path not in [hit.path for hit in crowd.search(whole, k=300, modality="image")]
    for query in (piece, whole + bindsearch.text("red"), -whole):
        assert all(hit.expect > 0 for hit in crowd.search(query, k=300))
    assert all(hit.expect > 0 for hit in crowd.similar(path, k=300))
    assert crowd.search(path, k=300, also="a low rumble")[0].expect > 0


# Number and order of results ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("query", ["red", "a low rumble", "number 17", "nothing of the kind"])
def test_exactly_k_results_and_a_stable_prefix(crowd, query, raw):
    everything = names(crowd.search(query, k=1000, raw=raw))
    assert len(everything) == len(set(everything)) == 250
    for k in (1, 5, 15, 60, 249):
        assert names(crowd.search(query, k=k, raw=raw)) == everything[:k]


@pytest.mark.parametrize("modality", ["image", "audio", "text"])
def test_modality_filter_keeps_the_order(crowd, modality):
    whole = [hit.path for hit in crowd.search("blue", k=1000, raw=True) if hit.modality == modality]
    part = [hit.path for hit in crowd.search("blue", k=1000, raw=True, modality=modality)]
    assert part == whole


def test_scores_are_cosines(crowd):
    query = crowd.vector("red")
    cosines, best = {}, {}
    for item in crowd.items():
        scores = crowd.vectors(item) @ query
        best[item.paths[0]] = float(scores.max())
        cosines |= {segment.id: float(score) for segment, score in zip(item.segments, scores, strict=True)}
    for hit in crowd.search("red", k=1000):
        assert hit.score == pytest.approx(cosines[hit.segment.id], abs=1e-5)
    for hit in crowd.search("red", k=1000, raw=True):
        assert hit.score == pytest.approx(best[hit.path], abs=1e-5)


def test_e_values_rise_down_the_list(crowd):
    e_values = [hit.expect for hit in crowd.search("red", k=1000)]
    assert e_values == sorted(e_values)
    assert e_values[0] < 1 < e_values[-1]


def test_raw_orders_by_score(crowd):
    scores = [hit.score for hit in crowd.search("red", k=1000, raw=True)]
    assert scores == sorted(scores, reverse=True)


# Filters -----------------------------------------------------------------------------------------------------------


def test_filters_on_paths(library, media):
    assert set(names(library.search("red", k=50, under=media / "pictures"))) == {"red.png", "green.png", "blue.png"}
    assert names(library.search("red", k=50, under=media / "pictures" / "red.png")) == ["red.png"]
    assert len(library.search("red", k=50, ext="wav,txt".split(","))) == 6
    assert len(library.search("red", k=50, ext=".PNG")) == 3
    assert names(library.search("red", k=50, under=media / "pict")) == []


def test_filters_on_time(library, media):
    old = (datetime.now() - timedelta(days=400)).timestamp()
    os.utime(media / "pictures" / "red.png", (old, old))
    library.index(media)
    recent = datetime.now() - timedelta(days=30)
    assert "red.png" not in names(library.search("red", k=50, since=recent))
    assert len(library.search("red", k=50, since=recent.date().isoformat())) == 8
    with pytest.raises(BadQuery, match="yesterday"):
        library.search("red", since="yesterday")


def test_hit_shows_the_copy_that_passes(library, media):
    picture(media / "copies" / "same.png", "red")
    library.index(media)
    hit = library.search("red", k=1, under=media / "copies")[0]
    assert hit.path == media / "copies" / "same.png"
    assert list(hit.copies) == [media / "pictures" / "red.png"]


def test_invalid_options_are_refused(library):
    with pytest.raises(BadQuery, match="smell"):
        library.search("red", modality="smell")
    with pytest.raises(BadQuery, match="0 results"):
        library.search("red", k=0)
    with pytest.raises(EmptyQuery):
        library.search("  ")


# Open --------------------------------------------------------------------------------------------------------------


def test_default_library_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("BINDSEARCH_LIBRARY", str(tmp_path / "mine.library"))
    with bindsearch.open() as library:
        assert library.path == tmp_path / "mine.library"


def test_results_are_the_same_after_reopening(library, tmp_path):
    before = [(hit.path, hit.score, hit.expect) for hit in library.search("red", k=9)]
    library.close()
    with bindsearch.open(tmp_path / "my.library") as again:
        assert [(hit.path, hit.score, hit.expect) for hit in again.search("red", k=9)] == before


def test_library_can_be_open_twice(library, media):
    with bindsearch.open(library.path) as other:
        picture(media / "orange.png", "orange")
        other.index(media)
    assert "orange.png" in names(library.search("orange", modality="image", k=1))


def test_no_library_is_created_without_create(tmp_path):
    with pytest.raises(LibraryNotFound, match="bindsearch index"):
        Library.open(tmp_path / "none.library", create=False)
    assert not (tmp_path / "none.library").exists()


def test_folder_with_other_files_is_refused(media):
    with pytest.raises(LibraryError, match="other files"):
        bindsearch.open(media)
    assert not (media / "library.json").exists()


def test_another_space_is_refused(library):
    manifest = json.loads((library.path / "library.json").read_text())
    library.close()
    (library.path / "library.json").write_text(json.dumps(manifest | {"fingerprint": "f00d"}))
    with pytest.raises(SpaceMismatch, match="toy"):
        bindsearch.open(library.path, space="toy")
    with bindsearch.open(library.path) as other, pytest.raises(SpaceMismatch, match="f00d"):
        other.search("red")


def test_damaged_manifest_and_newer_schema_are_refused(library):
    manifest = json.loads((library.path / "library.json").read_text())
    (library.path / "library.json").write_text(json.dumps(manifest | {"schema": SCHEMA + 1}))
    with pytest.raises(SchemaTooNew, match=r"pip install"):
        bindsearch.open(library.path)
    (library.path / "library.json").write_text("{")
    with pytest.raises(CorruptLibrary, match=r"library\.json"):
        bindsearch.open(library.path)


def test_older_schemas_are_upgraded_step_by_step(library):
    manifest = read_manifest(library.path)
    steps = []
    migrations = {SCHEMA - 2: lambda folder: steps.append("first"), SCHEMA - 1: lambda folder: steps.append("second")}
    old = replace(manifest, schema=SCHEMA - 2)
    assert upgrade(library.path, old, migrations) == manifest
    assert steps == ["first", "second"]
    assert read_manifest(library.path) == manifest
    with pytest.raises(CorruptLibrary, match="cannot be upgraded"):
        upgrade(library.path, old, {})


def test_damaged_ledger_is_reported(library):
    library.close()
    (library.path / "ledger" / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(CorruptLibrary, match="ledger"):
        bindsearch.open(library.path)


# One writer --------------------------------------------------------------------------------------------------------


def hold_writer_lock(folder: Path, held, release) -> None:
    with writing(folder):
        held.set()
        release.wait(60)


def test_second_writer_is_refused_and_readers_continue(library, media):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=hold_writer_lock, args=(library.path, held, release))
    process.start()
    try:
        assert held.wait(60)
        with pytest.raises(LibraryBusy, match=str(process.pid)):
            library.index(media)
        assert names(library.search("red", modality="image", k=1)) == ["red.png"]
    finally:
        release.set()
        process.join()
    assert library.index(media).unchanged == 9


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot forbid a process to write")
def test_full_disk_does_not_hide_the_first_error(tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # from here on every write fails
        with pytest.raises(LibraryFull, match="no room"), writing(tmp_path):
            raise LibraryFull("no room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_threads_search_while_another_indexes(library, media):
    results: list[list[str]] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            results.append(names(library.search("red", modality="image", k=3)))

    thread = threading.Thread(target=search)
    thread.start()
    for number in range(30):
        passage(media / f"{number}.txt", f"More text, number {number}.")
        library.index(media)
    done.set()
    thread.join()
    assert len(results) > 5
    assert all(each == results[0] for each in results)


# Generations of indexes --------------------------------------------------------------------------------------------


def generations(library) -> list[str]:
    return sorted(path.parent.name + "/" + path.name for path in (library.path / "index").glob("*/*/*"))


def test_new_generations_replace_old_ones(library, media):
    assert [name.split("/")[1] for name in generations(library)] == ["gen-000001"] * 4
    for number in range(5):
        passage(media / f"{number}.txt", f"More text, number {number}.")
    library.index(media)
    assert "text/gen-000002" in generations(library)
    assert "text/gen-000001" not in generations(library)
    assert "image/gen-000001" in generations(library)


def test_damaged_indexes_are_rebuilt(library, media):
    expected = names(library.search("red", k=9))
    library.close()
    for file in (library.path / "index").rglob("*.npy"):
        file.write_bytes(b"damaged")
    with bindsearch.open(library.path) as again:
        assert names(again.search("red", k=9)) == expected
        assert again.doctor() == []


def test_status_and_hits_can_be_written_to_json(library):
    status = json.loads(json.dumps(library.status().as_json()))
    assert status["items"] == 9
    assert status["items_by_modality"] == {"image": 3, "audio": 3, "video": 0, "text": 3}
    hit = library.search("a low rumble", modality="audio", k=1)[0].as_json()
    assert json.loads(json.dumps(hit))["start"] == 0.0


# Labels ------------------------------------------------------------------------------------------------------------


def test_label_probabilities_sum_to_one(library, media):
    predictions = library.classifier(["low rumble", "high whistle", "hiss"]).predict(media / "sounds" / "high.wav")
    assert predictions[0].label == "high whistle"
    assert sum(prediction.probability for prediction in predictions) == pytest.approx(1.0)


def test_invalid_labels_are_refused(library, tmp_path):
    with pytest.raises(BadQuery, match="label"):
        library.classifier([" ", ""])
    with pytest.raises(BadQuery, match="template"):
        library.classifier(["dog"], templates=["no place for it"])
    with pytest.raises(UnreadableMedia):
        library.classifier(["dog"]).predict(tmp_path / "none.wav")


# Unusual events ----------------------------------------------------------------------------------------------------


def test_deleted_files_are_not_searched(library, media):
    for path in (media / "sounds").iterdir():
        path.unlink()
    library.index(media)
    unfiltered = library.search("red", k=9)
    filtered = library.search("red", k=9, modality=["image", "text", "audio", "video"])
    assert unfiltered.searched == filtered.searched == 3
    assert [hit.expect for hit in unfiltered] == [hit.expect for hit in filtered]


def test_truncated_ledger_is_reported(library):
    library.close()
    data = library.path / "ledger" / "data.mdb"
    os.truncate(data, data.stat().st_size // 2)
    with pytest.raises(CorruptLibrary, match="is truncated"):
        bindsearch.open(library.path)


def test_closed_library_cannot_be_used(library, media):
    with bindsearch.open(library.path) as other:
        other.close()
    assert names(library.search("red", modality="image", k=1)) == ["red.png"]
    library.close()
    with pytest.raises(LibraryError, match="closed"):
        library.search("red")


def test_deleted_index_folder_is_rebuilt(library, media):
    library.search("red")
    shutil.rmtree(library.path / "index")
    library.index(media)
    assert len(generations(library)) == 4
    assert library.doctor() == []


def create(folder: Path, start, outcomes) -> None:
    start.wait(60)
    try:
        with bindsearch.open(folder) as library:
            outcomes.put(library.manifest.created)
    except bindsearch.BindsearchError as error:
        outcomes.put(repr(error))


def test_processes_can_create_the_same_library_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    start, outcomes = context.Event(), context.Queue()
    processes = [context.Process(target=create, args=(tmp_path / "one.library", start, outcomes)) for _ in range(4)]
    for process in processes:
        process.start()
    start.set()
    created = {outcomes.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert created == {read_manifest(tmp_path / "one.library").created}


def test_strings_instead_of_lists_are_refused(library):
    with pytest.raises(BadQuery, match="list"):
        library.classifier("dog")
    with pytest.raises(BadQuery, match="list"):
        library.space.embed("red", modality="text")
    with pytest.raises(BadQuery, match="whole number"):
        library.search("red", k=2.5)
    with pytest.raises(BadQuery, match="names with their values"):
        library.search("red", where="trip=coast")


def test_since_takes_dates_and_times(library):
    assert len(library.search("red", k=9, since=date(2001, 1, 1))) == 9
    assert len(library.search("red", k=9, since=datetime(2999, 1, 1))) == 0
    with pytest.raises(BadQuery, match="is not a date"):
        library.search("red", since="0001-01-01")


def test_sounds_of_videos_are_found_as_videos(library, samples):
    library.index(samples)
    videos = library.search("a low rumble", modality="video", k=50)
    sounds = library.search("a low rumble", modality="audio", k=50)
    assert {hit.modality for hit in videos} == {"video"}
    assert {hit.modality for hit in sounds} == {"audio"}
    assert "audio" in {hit.segment.modality for hit in videos}
    assert len(videos) == library.status().items_by_modality["video"]
    assert len(sounds) == library.status().items_by_modality["audio"]
