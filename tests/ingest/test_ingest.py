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


def work(report: Report) -> dict[str, int]:
    """The counts of a report that are not zero."""
    counts = {field.name: getattr(report, field.name) for field in fields(report)}
    return {name: value for name, value in counts.items() if isinstance(value, int) and value and name != "segments"}


def touch_all(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))


def test_everything_is_added_once_and_then_left_alone(library, media):
    assert work(library.index(media)) == {"added": 9, "decoded": 9}
    assert work(library.index(media)) == {"unchanged": 9}
    assert work(library.index()) == {"unchanged": 9}
    assert library.doctor() == []


def test_renaming_the_folder_decodes_nothing(library, media):
    library.index(media)
    renamed = media.rename(media.with_name("renamed"))
    assert work(library.index(renamed)) == {"moved": 9}
    assert {hit.path.is_relative_to(renamed) for hit in library.search("red", k=9)} == {True}
    again = library.index()
    assert work(again) == {"unchanged": 9}
    assert again.deferred == {}
    assert library.doctor() == []


def test_renaming_a_folder_with_copies_in_it_moves_each_of_them(library, media):
    shutil.copytree(media / "pictures", media / "more")
    assert work(library.index(media)) == {"added": 9, "copied": 3, "decoded": 9}
    renamed = media.rename(media.with_name("renamed"))
    assert work(library.index(renamed)) == {"moved": 12}


def test_moving_files_inside_the_folder_decodes_nothing(library, media):
    library.index(media)
    (media / "pictures").rename(media / "aaa")
    (media / "sounds" / "low.wav").rename(media / "zzz.wav")
    assert work(library.index(media)) == {"moved": 4, "unchanged": 5}
    assert library.doctor() == []


def test_a_copy_costs_no_decoding(library, media):
    library.index(media)
    shutil.copytree(media / "sounds", media / "again")
    assert work(library.index(media)) == {"copied": 6, "unchanged": 9}
    hit = library.search("low rumble", modality="audio", k=1)[0]
    assert [copy.name for copy in hit.copies] == ["low.wav"]


def test_touching_everything_decodes_nothing(library, media):
    library.index(media)
    touch_all(media)
    assert work(library.index(media)) == {"unchanged": 9}


def test_one_edit_and_one_deletion_cost_just_that(library, media):
    library.index(media)
    picture(media / "pictures" / "red.png", "yellow")
    (media / "sounds" / "sea.txt").unlink()
    assert work(library.index(media)) == {"changed": 1, "removed": 1, "unchanged": 7, "decoded": 1}
    assert library.doctor() == []


def test_what_is_gone_is_not_found_and_comes_back_without_decoding(library, media):
    library.index(media)
    aside = media.parent / "aside.wav"
    (media / "sounds" / "high.wav").rename(aside)
    assert work(library.index(media)) == {"removed": 1, "unchanged": 8}
    assert "high.wav" not in [hit.path.name for hit in library.search("high whistle", k=9)]
    aside.rename(media / "sounds" / "high.wav")
    assert work(library.index(media)) == {"returned": 1, "unchanged": 8}
    assert library.search("high whistle", modality="audio", k=1)[0].path.name == "high.wav"


def test_damaged_files_are_put_aside_with_a_reason_and_tried_again_only_when_they_change(library, media):
    (media / "pictures" / "cut.png").write_bytes((media / "pictures" / "red.png").read_bytes()[:60])
    (media / "pictures" / "words.jpg").write_text("not a picture at all")
    report = library.index(media)
    assert work(report) == {"added": 9, "decoded": 9, "damaged": 1}
    assert sorted(path.name for path in report.quarantined) == ["cut.png", "words.jpg"]
    assert "text" in report.quarantined[media / "pictures" / "words.jpg"]
    again = library.index(media)
    assert work(again) == {"unchanged": 9, "still_quarantined": 2}
    assert library.status().quarantine == report.quarantined
    assert work(library.index(media, retry=True)) == {"unchanged": 9, "damaged": 1}
    picture(media / "pictures" / "cut.png", "white")
    mended = library.index(media)
    assert mended.decoded == 1
    assert [path.name for path in library.status().quarantine] == ["words.jpg"]


def test_a_damaged_file_that_is_renamed_is_not_decoded_again(library, media):
    cut = media / "cut.png"
    cut.write_bytes((media / "pictures" / "red.png").read_bytes()[:60])
    library.index(media)
    cut.rename(media / "still-cut.png")
    report = library.index(media)
    assert (report.decoded, report.damaged) == (0, 0)
    assert [path.name for path in report.quarantined] == ["still-cut.png"]


def test_a_name_that_lies_condemns_the_name_and_not_the_content(library, media):
    shutil.copy(media / "sounds" / "sea.txt", media / "sea.png")
    report = library.index(media)
    assert [path.name for path in report.quarantined] == ["sea.png"]
    assert report.added == 9


def test_names_that_are_not_utf8_and_names_with_newlines_are_found(library, media):
    odd = Path(os.fsdecode(os.fsencode(media) + b"/caf\xe9.png"))
    picture(odd, "orange")
    lines = picture(media / "two\nlines.png", "purple")
    long = passage(media / ("d" * 200) / ("e" * 200) / ("f" * 200 + ".txt"), "A very long name.")
    library.index(media)
    assert {odd, lines, long} <= {hit.path for hit in library.search("orange", k=20)}
    assert work(library.index(media)) == {"unchanged": 12}
    assert library.doctor() == []


def test_loops_of_links_end(library, media):
    (media / "pictures" / "up").symlink_to(media)
    (media / "self").symlink_to(media / "self")
    assert library.index(media).added == 9
    assert library.index(media).unchanged == 9


def test_files_of_other_kinds_are_ignored_and_not_looked_at_again(library, media):
    (media / "program.py").write_text("print()")
    (media / "blob.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (media / "LICENCE").write_bytes(bytes(10))
    report = library.index(media)
    assert work(report) == {"added": 9, "ignored": 3, "decoded": 9}
    assert report.ignored_kinds == {"without ending": 1, ".zip": 1, ".py": 1}
    assert work(library.index(media)) == {"unchanged": 9}


def test_segments_of_damaged_files_are_not_counted_as_taken_in(library, media):
    whole = (media / "sounds" / "high.wav").read_bytes()
    (media / "cut.wav").write_bytes(whole[: len(whole) // 2])
    report = library.index(media)
    assert (report.decoded, report.damaged) == (9, 1)
    assert report.segments == library.status().segments


def test_a_link_to_nothing_is_told_once_and_followed_when_it_leads_somewhere(library, media):
    library.index(media)
    link = media / "link.png"
    link.symlink_to(media.parent / "later.png")
    (media / "circle.png").symlink_to(media / "circle.png")
    report = library.index(media)
    assert (work(report), report.ignored_kinds) == ({"unchanged": 9, "ignored": 2}, {BROKEN_LINK: 2})
    assert not report.deferred
    assert work(library.index(media)) == {"unchanged": 9}
    picture(media.parent / "later.png", "purple")
    assert work(library.index(media)) == {"unchanged": 9, "added": 1, "decoded": 1}
    (media.parent / "later.png").unlink()
    assert work(library.index(media)) == {"unchanged": 9, "ignored": 1}
    assert work(library.index(media)) == {"unchanged": 9}
    assert link not in {hit.path for hit in library.search("purple", k=20)}
    assert library.doctor() == []


def test_metadata_is_kept_filtered_by_and_carried_along_when_a_file_moves(library, media):
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


def test_a_stopped_run_goes_on_where_it_was(library, media):
    for number in range(40):
        passage(media / "many" / f"{number:02d}.txt", f"Text number {number}.")
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 10

    first = library.index(media, stop=stop)
    assert first.stopped
    assert 0 < first.added < 49
    second = library.index(media)
    assert not second.stopped
    assert first.added + second.added == 49
    assert library.doctor() == []


def test_a_folder_that_is_not_there_is_said_and_nothing_is_lost(library, media):
    library.index(media)
    aside = media.rename(media.with_name("aside"))
    with pytest.raises(BadQuery, match="media"):
        library.index(media)
    report = library.index()
    assert list(report.deferred) == [media]
    assert len(library.search("red", k=20)) == 9
    aside.rename(media)
    assert work(library.index()) == {"unchanged": 9}


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folders_are_named_and_their_files_kept(library, media):
    library.index(media)
    (media / "sounds").chmod(0)
    report = library.index(media)
    (media / "sounds").chmod(0o755)
    assert media / "sounds" in report.deferred
    assert report.removed == 0


def test_files_that_vanish_while_the_run_goes_stop_nothing(library, media):
    victims = [passage(media / "many" / f"{number:03d}.txt", f"Text number {number}.") for number in range(300)]
    gone = threading.Thread(target=lambda: [victim.unlink() for victim in reversed(victims)])
    gone.start()
    report = library.index(media)
    gone.join()
    assert report.quarantined == {}
    library.index(media)
    assert library.status().items == 9
    assert library.doctor() == []


def test_forgetting_removes_paths_and_vectors_but_no_files(library, media):
    library.index(media)
    assert library.forget(media / "sounds") == 6
    assert library.status().items == 3
    assert library.status().dormant == 0
    assert (media / "sounds" / "low.wav").exists()
    assert library.doctor() == []
    assert work(library.index(media)) == {"added": 6, "unchanged": 3, "decoded": 6}


def test_what_is_kept_for_gone_files_can_be_dropped(library, media):
    library.index(media)
    shutil.rmtree(media / "pictures")
    library.index(media)
    assert library.status().dormant == 3
    assert library.forget_gone() == 3
    assert library.status().dormant == 0
    assert library.doctor() == []


def test_sounds_are_heard_from_end_to_end(library, tmp_path):
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


def test_progress_tells_how_far_it_is(library, media):
    told = []
    library.index(media, progress=told.append)
    files = [progress for progress in told if progress.building is None]
    assert [progress.done for progress in files] == [*range(1, 10), 9]
    assert files[-1].total == 9
    assert files[-1].segments >= 9
    assert told[: len(files)] == files  # indexes are made anew afterwards


@pytest.mark.skipif(sys.platform == "win32", reason="no such pipes")
def test_pipes_are_not_waited_for(library, media):
    os.mkfifo(media / "pipe.wav")
    assert library.index(media).added == 9


def test_a_folder_that_gets_a_second_name_loses_the_first_one_or_keeps_it_true(library, tmp_path):
    media = tmp_path / "linked"
    passage(media / "z" / "a.txt", "An old red text.")
    library.index(media)
    (media / "m").symlink_to(media / "z")
    passage(media / "z" / "a.txt", "A new blue text.")
    library.index(media)
    library.index(media)
    assert {hit.segment.text for hit in library.search("text", k=9)} == {"A new blue text."}
    assert library.doctor() == []


def test_a_file_that_became_a_folder_is_gone(library, media):
    library.index(media)
    (media / "sounds" / "sea.txt").unlink()
    (media / "sounds" / "sea.txt").mkdir()
    assert work(library.index(media)) == {"removed": 1, "unchanged": 8}


def test_a_folder_that_became_a_library_is_left(library, media, tmp_path):
    library.index(media)
    (media / "sounds" / "ledger").mkdir()
    (media / "sounds" / "library.json").write_text("{}")
    assert work(library.index(media)) == {"removed": 6, "unchanged": 3}


def test_metadata_comes_back_with_the_file(library, media, tmp_path):
    library.index(media, metadata={"by": "Ana", "year": 2020})
    aside = (media / "pictures" / "red.png").rename(tmp_path / "aside.png")
    library.index(media)
    aside.rename(media / "pictures" / "red.png")
    assert library.index(media).returned == 1
    assert len(library.search("red", k=9, where={"by": "Ana", "year": 2020})) == 9


def test_a_root_that_is_gone_for_a_while_is_looked_at_again(library, tmp_path):
    disk = small_collection(tmp_path / "disk")
    library.index(disk)
    away = disk.rename(tmp_path / "unplugged")
    shutil.copytree(away, tmp_path / "copy")
    assert library.index(tmp_path / "copy").moved == 9
    away.rename(disk)
    assert library.index().copied == 9


def test_a_file_and_its_folder_together_count_once(library, media):
    assert work(library.index([media / "pictures" / "red.png", media, media])) == {"added": 9, "decoded": 9}
    assert library.status().indexed_folders == [media]


@pytest.mark.parametrize("nonsense", ["", "a\0b"])
def test_what_is_no_path_is_refused(library, media, nonsense):
    library.index(media)
    for attempt in (library.index, library.forget, lambda path: library.search("red", under=path)):
        with pytest.raises(BadQuery, match="not a path"):
            attempt(nonsense)
    assert library.status().items == 9


def test_the_library_itself_is_not_media(tmp_path):
    with bindsearch.open(tmp_path) as library, pytest.raises(BadQuery, match="the library itself"):
        library.index(tmp_path)


class Moody:
    """The toy space, but it cannot bear one picture."""

    def __init__(self, toy):
        self.toy = toy
        self.spec = toy.spec

    def prepare(self, piece):
        return self.toy.prepare(piece), piece.modality == "image" and piece.content.getpixel((0, 0)) == (255, 0, 0)

    def encode(self, modality, batch):
        if any(unbearable for _, unbearable in batch):
            raise RuntimeError("out of memory")
        return self.toy.encode(modality, [prepared for prepared, _ in batch])


def test_a_file_that_the_encoder_cannot_bear_waits_for_the_next_run(tmp_path, media):
    space = bindsearch.Space(Moody(bindsearch.space("toy").encoder))
    with Library.open(tmp_path / "moody.library", space=space) as library:
        report = library.index(media)
    assert report.added == 8
    assert not report.quarantined
    assert "out of memory" in report.deferred[media / "pictures" / "red.png"]


class Lacking:
    """The toy's encoder, but one of its towers turns out to be missing when it is used for the first time."""

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
def test_a_space_that_cannot_be_used_stops_the_run_and_no_file_is_to_blame(tmp_path, media, where, kind):
    toy = bindsearch.space("toy").encoder
    passage(media / "words.txt", "red paint")
    space = bindsearch.Space(Lacking(toy, where=where, error=kind("get the tower first")))
    with Library.open(tmp_path / "lacking.library", space=space) as library:
        with pytest.raises(kind, match="get the tower first"):
            library.index(media)
        assert library.status().quarantine == {}
    with Library.open(tmp_path / "lacking.library") as library:
        report = library.index(media)
        assert not report.quarantined
        assert "words.txt" in {path.name for item in library.items() for path in item.paths}


def test_the_name_of_a_space_may_be_longer_than_that_of_a_folder(tmp_path, media):
    toy = bindsearch.space("toy").encoder
    lengthy = Lacking(toy, where="nowhere", error=None)
    lengthy.spec = replace(toy.spec, name="local:/" + "long/" * 100)
    with Library.open(tmp_path / "my.library", space=bindsearch.Space(lengthy)) as library:
        assert library.index(media).added == 9
        assert library.search("red")
