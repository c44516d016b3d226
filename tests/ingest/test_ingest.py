"""`index`: what is added, moved, quarantined, deferred and ignored, and what is decoded again."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from dataclasses import fields, replace
from pathlib import Path

import pytest
from media_files import passage, picture, small_collection, sound, tone

import bindsearch
from bindsearch.errors import BadQuery, DamagedWeights, LicenceRefused, MissingExtra, MissingWeights
from bindsearch.ingest.report import BROKEN_LINK, Report
from bindsearch.library.library import Library
from bindsearch.types import Modality


@pytest.fixture
def library(tmp_path):
    with bindsearch.open(tmp_path / "my.library") as opened:
        yield opened


def nonzero_counts(report: Report) -> dict[str, int]:
    """Return the counts of a report that are not zero, except that of segments."""
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    return {name: value for name, value in counts.items() if isinstance(value, int) and value and name != "segments"}


def set_modification_times(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))


def test_files_are_added_once_and_unchanged_afterwards(library, media):
    assert nonzero_counts(library.index(media)) == {"added": 9, "decoded": 9}
    assert nonzero_counts(library.index(media)) == {"unchanged": 9}
    assert nonzero_counts(library.index()) == {"unchanged": 9}
    assert library.doctor() == []


def test_renaming_the_folder_decodes_nothing(library, media):
    library.index(media)
    renamed = media.rename(media.with_name("renamed"))
    assert nonzero_counts(library.index(renamed)) == {"moved": 9}
    assert {hit.path.is_relative_to(renamed) for hit in library.search("red", k=9)} == {True}
    again = library.index()
    assert nonzero_counts(again) == {"unchanged": 9}
    assert again.deferred == {}
    assert library.doctor() == []


def test_renaming_a_folder_with_copies_moves_each_copy(library, media):
    shutil.copytree(media / "pictures", media / "more")
    assert nonzero_counts(library.index(media)) == {"added": 9, "copied": 3, "decoded": 9}
    renamed = media.rename(media.with_name("renamed"))
    assert nonzero_counts(library.index(renamed)) == {"moved": 12}


def test_moving_files_inside_the_folder_decodes_nothing(library, media):
    library.index(media)
    (media / "pictures").rename(media / "aaa")
    (media / "sounds" / "low.wav").rename(media / "zzz.wav")
    assert nonzero_counts(library.index(media)) == {"moved": 4, "unchanged": 5}
    assert library.doctor() == []


def test_copies_are_not_decoded(library, media):
    library.index(media)
    shutil.copytree(media / "sounds", media / "again")
    assert nonzero_counts(library.index(media)) == {"copied": 6, "unchanged": 9}
    hit = library.search("low rumble", modality="audio", k=1)[0]
    assert [copy.name for copy in hit.copies] == ["low.wav"]


def test_new_modification_times_decode_nothing(library, media):
    library.index(media)
    set_modification_times(media)
    assert nonzero_counts(library.index(media)) == {"unchanged": 9}


def test_one_edit_and_one_deletion_decode_one_file(library, media):
    library.index(media)
    picture(media / "pictures" / "red.png", "yellow")
    (media / "sounds" / "sea.txt").unlink()
    assert nonzero_counts(library.index(media)) == {"changed": 1, "removed": 1, "unchanged": 7, "decoded": 1}
    assert library.doctor() == []


def test_deleted_files_are_not_found_and_return_without_decoding(library, media):
    library.index(media)
    elsewhere = media.parent / "elsewhere.wav"
    (media / "sounds" / "high.wav").rename(elsewhere)
    assert nonzero_counts(library.index(media)) == {"removed": 1, "unchanged": 8}
    assert "high.wav" not in [hit.path.name for hit in library.search("high whistle", k=9)]
    elsewhere.rename(media / "sounds" / "high.wav")
    assert nonzero_counts(library.index(media)) == {"returned": 1, "unchanged": 8}
    assert library.search("high whistle", modality="audio", k=1)[0].path.name == "high.wav"


def test_quarantined_files_have_a_reason_and_wait_for_a_change(library, media):
    (media / "pictures" / "cut.png").write_bytes((media / "pictures" / "red.png").read_bytes()[:60])
    (media / "pictures" / "words.jpg").write_text("not a picture at all")
    report = library.index(media)
    assert nonzero_counts(report) == {"added": 9, "decoded": 9, "damaged": 1}
    assert sorted(path.name for path in report.quarantined) == ["cut.png", "words.jpg"]
    assert "text" in report.quarantined[media / "pictures" / "words.jpg"]
    again = library.index(media)
    assert nonzero_counts(again) == {"unchanged": 9, "still_quarantined": 2}
    assert library.status().quarantine == report.quarantined
    assert nonzero_counts(library.index(media, retry=True)) == {"unchanged": 9, "damaged": 1}
    picture(media / "pictures" / "cut.png", "white")
    repaired = library.index(media)
    assert repaired.decoded == 1
    assert [path.name for path in library.status().quarantine] == ["words.jpg"]


def test_renamed_damaged_files_are_not_decoded_again(library, media):
    cut = media / "cut.png"
    cut.write_bytes((media / "pictures" / "red.png").read_bytes()[:60])
    library.index(media)
    cut.rename(media / "still-cut.png")
    report = library.index(media)
    assert (report.decoded, report.damaged) == (0, 0)
    assert [path.name for path in report.quarantined] == ["still-cut.png"]


def test_a_wrong_suffix_quarantines_the_path_not_the_content(library, media):
    shutil.copy(media / "sounds" / "sea.txt", media / "sea.png")
    report = library.index(media)
    assert [path.name for path in report.quarantined] == ["sea.png"]
    assert report.added == 9


def test_unusual_and_long_names_are_indexed(library, media):
    not_utf8 = Path(os.fsdecode(os.fsencode(media) + b"/caf\xe9.png"))
    picture(not_utf8, "orange")
    newline = picture(media / "two\nlines.png", "purple")
    long = passage(media / ("d" * 200) / ("e" * 200) / ("f" * 200 + ".txt"), "A very long name.")
    library.index(media)
    assert {not_utf8, newline, long} <= {hit.path for hit in library.search("orange", k=20)}
    assert nonzero_counts(library.index(media)) == {"unchanged": 12}
    assert library.doctor() == []


def test_link_loops_end(library, media):
    (media / "pictures" / "up").symlink_to(media)
    (media / "self").symlink_to(media / "self")
    assert library.index(media).added == 9
    assert library.index(media).unchanged == 9


def test_files_of_other_kinds_are_ignored_and_not_reported_again(library, media):
    (media / "program.py").write_text("print()")
    (media / "blob.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (media / "LICENCE").write_bytes(bytes(10))
    report = library.index(media)
    assert nonzero_counts(report) == {"added": 9, "ignored": 3, "decoded": 9}
    assert report.ignored_kinds == {"without extension": 1, ".zip": 1, ".py": 1}
    assert nonzero_counts(library.index(media)) == {"unchanged": 9}


def test_segments_of_damaged_files_are_not_counted(library, media):
    whole = (media / "sounds" / "high.wav").read_bytes()
    (media / "cut.wav").write_bytes(whole[: len(whole) // 2])
    report = library.index(media)
    assert (report.decoded, report.damaged) == (9, 1)
    assert report.segments == library.status().segments


def test_broken_links_are_reported_once_and_followed_when_mended(library, media):
    library.index(media)
    link = media / "link.png"
    link.symlink_to(media.parent / "later.png")
    (media / "circle.png").symlink_to(media / "circle.png")
    report = library.index(media)
    assert (nonzero_counts(report), report.ignored_kinds) == ({"unchanged": 9, "ignored": 2}, {BROKEN_LINK: 2})
    assert not report.deferred
    assert nonzero_counts(library.index(media)) == {"unchanged": 9}
    picture(media.parent / "later.png", "purple")
    assert nonzero_counts(library.index(media)) == {"unchanged": 9, "added": 1, "decoded": 1}
    (media.parent / "later.png").unlink()
    assert nonzero_counts(library.index(media)) == {"unchanged": 9, "ignored": 1}
    assert nonzero_counts(library.index(media)) == {"unchanged": 9}
    assert link not in {hit.path for hit in library.search("purple", k=20)}
    assert library.doctor() == []


def test_metadata_filters_and_follows_moved_files(library, media):
    library.index(media / "pictures", metadata={"trip": "coast"})
    library.index(media / "sounds")
    assert {hit.path.name for hit in library.search("red", k=9, where={"trip": "coast"})} == {
        "red.png",
        "green.png",
        "blue.png",
    }
    (media / "pictures").rename(media / "moved")
    assert library.index(media).moved == 3
    assert len(library.search("red", k=9, where={"trip": "coast"})) == 3
    library.index(media, metadata={"trip": "hills"})
    assert len(library.search("red", k=9, where={"trip": "hills"})) == 9


def test_a_stopped_run_is_completed_by_the_next(library, media):
    for number in range(40):
        passage(media / "many" / f"{number:02d}.txt", f"Text number {number}.")
    stop_calls = []

    def stop() -> bool:
        stop_calls.append(1)
        return len(stop_calls) > 10

    first = library.index(media, stop=stop)
    assert first.stopped
    assert 0 < first.added < 49
    second = library.index(media)
    assert not second.stopped
    assert first.added + second.added == 49
    assert library.doctor() == []


def test_a_missing_folder_is_deferred_and_nothing_is_lost(library, media):
    library.index(media)
    elsewhere = media.rename(media.with_name("elsewhere"))
    with pytest.raises(BadQuery, match="media"):
        library.index(media)
    report = library.index()
    assert list(report.deferred) == [media]
    assert len(library.search("red", k=20)) == 9
    elsewhere.rename(media)
    assert nonzero_counts(library.index()) == {"unchanged": 9}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can read every folder")
def test_unreadable_folders_are_deferred_and_their_files_kept(library, media):
    library.index(media)
    (media / "sounds").chmod(0)
    report = library.index(media)
    (media / "sounds").chmod(0o755)
    assert media / "sounds" in report.deferred
    assert report.removed == 0


def test_files_deleted_during_a_run_do_not_stop_it(library, media):
    texts = [passage(media / "many" / f"{number:03d}.txt", f"Text number {number}.") for number in range(300)]
    deleter = threading.Thread(target=lambda: [text.unlink() for text in reversed(texts)])
    deleter.start()
    report = library.index(media)
    deleter.join()
    assert report.quarantined == {}
    library.index(media)
    assert library.status().items == 9
    assert library.doctor() == []


def test_forget_removes_paths_and_vectors_but_no_files(library, media):
    library.index(media)
    assert library.forget(media / "sounds") == 6
    assert library.status().items == 3
    assert library.status().dormant == 0
    assert (media / "sounds" / "low.wav").exists()
    assert library.doctor() == []
    assert nonzero_counts(library.index(media)) == {"added": 6, "unchanged": 3, "decoded": 6}


def test_forget_gone_removes_dormant_items(library, media):
    library.index(media)
    shutil.rmtree(media / "pictures")
    library.index(media)
    assert library.status().dormant == 3
    assert library.forget_gone() == 3
    assert library.status().dormant == 0
    assert library.doctor() == []


def test_segments_cover_sounds_from_start_to_end(library, tmp_path):
    sound(tmp_path / "in" / "long.wav", tone(440.0, 7.3))
    sound(tmp_path / "in" / "short.wav", tone(440.0, 0.023))
    report = library.index(tmp_path / "in")
    assert report.added == 2
    assert report.coverage == 1.0
    spans = {item.paths[0].name: [(s.span.start, s.span.end) for s in item.segments] for item in library.items()}
    assert spans["long.wav"] == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0), (pytest.approx(5.3), pytest.approx(7.3))]
    assert spans["short.wav"] == [(0.0, pytest.approx(0.023))]


def test_the_same_files_give_the_same_ledger(tmp_path, media):
    exported = []
    for name in ("one.library", "two.library"):
        with bindsearch.open(tmp_path / name) as library:
            library.index(media)
            exported.append([(item, library.vectors(item).tobytes()) for item in library.items()])
    assert exported[0] == exported[1]


def test_progress_reports_counts_of_files_then_builds(library, media):
    reports = []
    library.index(media, progress=reports.append)
    files = [progress for progress in reports if progress.building is None]
    assert [progress.done for progress in files] == [*range(1, 10), 9]
    assert files[-1].total == 9
    assert files[-1].segments >= 9
    assert reports[: len(files)] == files  # indexes are rebuilt afterwards


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_named_pipes_are_skipped(library, media):
    os.mkfifo(media / "pipe.wav")
    assert library.index(media).added == 9


def test_a_folder_with_two_names_has_no_outdated_paths(library, tmp_path):
    media = tmp_path / "linked"
    passage(media / "z" / "a.txt", "An old red text.")
    library.index(media)
    (media / "m").symlink_to(media / "z")
    passage(media / "z" / "a.txt", "A new blue text.")
    library.index(media)
    library.index(media)
    assert {hit.segment.text for hit in library.search("text", k=9)} == {"A new blue text."}
    assert library.doctor() == []


def test_a_file_that_became_a_folder_is_removed(library, media):
    library.index(media)
    (media / "sounds" / "sea.txt").unlink()
    (media / "sounds" / "sea.txt").mkdir()
    assert nonzero_counts(library.index(media)) == {"removed": 1, "unchanged": 8}


def test_a_folder_that_became_a_library_is_removed(library, media, tmp_path):
    library.index(media)
    (media / "sounds" / "ledger").mkdir()
    (media / "sounds" / "library.json").write_text("{}")
    assert nonzero_counts(library.index(media)) == {"removed": 6, "unchanged": 3}


def test_metadata_returns_with_the_file(library, media, tmp_path):
    library.index(media, metadata={"by": "Ana", "year": 2020})
    elsewhere = (media / "pictures" / "red.png").rename(tmp_path / "elsewhere.png")
    library.index(media)
    elsewhere.rename(media / "pictures" / "red.png")
    assert library.index(media).returned == 1
    assert len(library.search("red", k=9, where={"by": "Ana", "year": 2020})) == 9


def test_an_indexed_folder_that_returns_is_scanned_again(library, tmp_path):
    disk = small_collection(tmp_path / "disk")
    library.index(disk)
    away = disk.rename(tmp_path / "unplugged")
    shutil.copytree(away, tmp_path / "copy")
    assert library.index(tmp_path / "copy").moved == 9
    away.rename(disk)
    assert library.index().copied == 9


def test_a_file_given_with_its_folder_counts_once(library, media):
    assert nonzero_counts(library.index([media / "pictures" / "red.png", media, media])) == {"added": 9, "decoded": 9}
    assert library.status().indexed_folders == [media]


@pytest.mark.parametrize("invalid", ["", "a\0b"])
def test_invalid_paths_are_refused(library, media, invalid):
    library.index(media)
    for attempt in (library.index, library.forget, lambda path: library.search("red", under=path)):
        with pytest.raises(BadQuery, match="not a path"):
            attempt(invalid)
    assert library.status().items == 9


def test_indexing_the_library_itself_is_refused(tmp_path):
    with bindsearch.open(tmp_path) as library, pytest.raises(BadQuery, match="the library itself"):
        library.index(tmp_path)


class FailsOnRed:
    """The toy encoder, but `encode` raises for batches with a red image."""

    def __init__(self, toy):
        self.toy = toy
        self.spec = toy.spec

    def prepare(self, piece):
        is_red = piece.modality == "image" and piece.content.getpixel((0, 0)) == (255, 0, 0)
        return self.toy.prepare(piece), is_red

    def encode(self, modality, batch):
        if any(is_red for _, is_red in batch):
            raise RuntimeError("out of memory")
        return self.toy.encode(modality, [prepared for prepared, _ in batch])


def test_files_that_the_encoder_fails_on_are_deferred(tmp_path, media):
    space = bindsearch.Space(FailsOnRed(bindsearch.space("toy").encoder))
    with Library.open(tmp_path / "failing.library", space=space) as library:
        report = library.index(media)
    assert report.added == 8
    assert not report.quarantined
    assert "out of memory" in report.deferred[media / "pictures" / "red.png"]


class WithoutTextTower:
    """The toy encoder, but preparing or encoding a text raises an error, as when weights are missing at first use."""

    def __init__(self, toy, *, where, error):
        self.toy, self.spec, self.where, self.error = toy, toy.spec, where, error

    def prepare(self, piece):
        if self.where == "prepare" and piece.modality == Modality.TEXT:
            raise self.error
        return self.toy.prepare(piece)

    def encode(self, modality, batch):
        if self.where == "encode" and modality == Modality.TEXT:
            raise self.error
        return self.toy.encode(modality, batch)


@pytest.mark.parametrize("where", ["prepare", "encode"])
@pytest.mark.parametrize("kind", [MissingWeights, MissingExtra, DamagedWeights, LicenceRefused])
def test_an_unusable_space_stops_the_run_without_quarantine(tmp_path, media, where, kind):
    toy = bindsearch.space("toy").encoder
    passage(media / "words.txt", "red paint")
    space = bindsearch.Space(WithoutTextTower(toy, where=where, error=kind("get the tower first")))
    with Library.open(tmp_path / "incomplete.library", space=space) as library:
        with pytest.raises(kind, match="get the tower first"):
            library.index(media)
        assert library.status().quarantine == {}
    with Library.open(tmp_path / "incomplete.library") as library:
        report = library.index(media)
        assert not report.quarantined
        assert "words.txt" in {path.name for item in library.items() for path in item.paths}


def test_a_space_name_may_be_longer_than_a_folder_name(tmp_path, media):
    toy = bindsearch.space("toy").encoder
    encoder = WithoutTextTower(toy, where="nowhere", error=None)
    encoder.spec = replace(toy.spec, name="local:/" + "long/" * 100)
    with Library.open(tmp_path / "my.library", space=bindsearch.Space(encoder)) as library:
        assert library.index(media).added == 9
        assert library.search("red")
