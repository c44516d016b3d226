"""Options, words, and machine-readable output."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from bindsearch.cli import VERBS, main
from bindsearch.cli.parser import MODALITIES
from bindsearch.ingest.report import Report
from bindsearch.types import Modality

HIT_FIELDS = {
    *("path", "modality", "matched", "score", "expect", "start", "end"),
    *("offset", "length", "text", "copies", "metadata"),
}


def name_of(verb) -> str:
    return verb.__name__.rpartition(".")[2].replace("_", "-")


def paths(ran):
    return [os.path.basename(json.loads(line)["path"]) for line in ran.lines]


def test_modalities_equal_those_of_the_engine():
    assert list(Modality) == list(MODALITIES)


def test_no_verb_prints_help_and_exits_with_2(run):
    ran = run()
    assert (ran.status, ran.out) == (2, "")
    assert all(f"    {name_of(verb)} " in ran.err for verb in VERBS)


@pytest.mark.parametrize("verb", [name_of(verb) for verb in VERBS])
def test_every_verb_has_help(run, verb):
    ran = run(verb, "--help")
    assert ran.status == 0
    assert ran.lines[0].startswith(f"usage: bindsearch {verb}")
    assert "--library" in ran.out
    assert "--traceback" not in ran.out


def test_version(run):
    assert run("--version").out == "bindsearch 0.1.0\n"


def test_common_options_before_or_after_the_verb(run):
    plain = run("search", "night", "-k", "2", "--json", "--library", "media.library")
    assert plain.status == 0
    assert run("--json", "-l", "media.library", "search", "night", "-k", "2") == plain
    assert run("-l", "no.library", "search", "night", "-k", "2", "--json", "-l", "media.library") == plain


@pytest.mark.parametrize(
    "words",
    [
        ["dark", "night", "-", "snow", "-k", "3"],
        ["-k", "3", "dark", "night", "-", "snow"],
        ["dark", "-k", "3", "night", "-", "snow"],
        ["dark", "night", "-", "-k", "3", "snow"],
        ["-k", "3", "--", "dark", "night", "-", "snow"],
        ["dark", "night", "-k", "3", "--", "-", "snow"],
    ],
    ids=" ".join,
)
def test_words_and_options_in_any_order(run, words):
    expected = run("search", "dark night", "-", "snow", "-k", "3", "--json")
    assert expected.status == 0
    assert run("--json", "search", *words) == expected


def test_words_like_options_after_two_dashes(run):
    assert (
        run("search", "-k", "2", "--json", "--", "-night").lines == run("search", "-k2", "--json", "text:-night").lines
    )


def test_query_from_stdin(run, monkeypatch):
    typed = run("search", "a dark night, with stars", "-k", "2", "--json")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" a dark night, with stars\n"), "utf-8"))
    assert run("search", "-", "-k", "2", "--json") == typed


def test_undecodable_stdin_is_replaced(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"dark night \xff\xfe"), "utf-8"))
    assert run("search", "-", "-k", "2").status == 0


def test_binary_stdin_is_refused(run, place, monkeypatch):
    picture = (place / "night" / "campfire.jpg").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(picture), "utf-8"))
    ran = run("search", "-")
    assert (ran.status, ran.out) == (2, "")
    assert "standard input is not text" in ran.err


def test_hits_as_json(run):
    ran = run("search", "rain", "-k", "5", "--json")
    hits = [json.loads(line) for line in ran.lines]
    assert len(hits) == 5
    assert all(hit.keys() == HIT_FIELDS for hit in hits)
    assert all(os.path.isfile(hit["path"]) and -1 <= hit["score"] <= 1 for hit in hits)
    assert [hit["expect"] for hit in hits] == sorted(hit["expect"] for hit in hits)


def test_json_report_has_every_field(own, run):
    shutil.copy(own / "night" / "campfire.jpg", own / "night" / "copy.jpg")
    (own / "night" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    ran = run("index", "--json")
    report = json.loads(ran.out)
    assert ran.status == 3
    assert report.keys() == set(Report.__dataclass_fields__) | {"coverage", "processed"}
    assert (report["added"], report["copied"], report["unchanged"], report["processed"]) == (0, 1, 3, 5)
    assert list(report["quarantined"]) == [str(own / "night" / "broken.jpg")]


def test_filters_reach_the_engine(run):
    hits = [json.loads(line) for line in run("search", "night", "-m", "image,text", "-k", "50", "--json").lines]
    assert {hit["modality"] for hit in hits} == {"image", "text"}
    endings = {path.rpartition(".")[2] for path in paths(run("search", "night", "--ext", "png", "-k", "50", "--json"))}
    assert endings == {"png"}
    under = run("search", "night", "--under", "samples/notes", "--under", "samples/videos", "-k", "50", "--json")
    assert len(under.lines) == 9
    assert run("search", "night", "--since", "2999-01-01").status == 1


def test_metadata_is_stored_and_filtered(own, run):
    run("index", "night/campfire.jpg", "--meta", "by=Ana", "--meta", "place=the harbour")
    found = run("search", "night", "--where", "by=Ana", "--where", "place=the harbour", "--json")
    assert [json.loads(line)["metadata"] for line in found.lines] == [{"by": "Ana", "place": "the harbour"}]
    assert run("search", "night", "--where", "by=Ben").status == 1


def test_space_is_named_at_creation_only(own, run):
    assert run("index", "night", "-l", "toy.library", "--space", "toy").status == 0
    assert run("index", "night", "-l", "toy.library", "--space", "toy").lines[0] == "3 unchanged"


STRANGE = [b"new\nline.jpg", b"esc\x1b[31m.jpg", b"latin\xe9.jpg", "rtl\u202e.jpg".encode(), "ünï\u200d✓.jpg".encode()]


@pytest.fixture
def unusual_names(own, run):
    for name in STRANGE:
        try:
            shutil.copy(b"night/campfire.jpg", os.path.join(b"night", name))
        except OSError:
            pytest.skip("this file system refuses names that are not UTF-8")
    (own / "night" / "campfire.jpg").unlink()
    assert run("index").status == 0
    return own


def test_paths0_prints_raw_names(unusual_names):
    left = sorted(STRANGE)
    while left:  # of files with the same content, the first that is left is found
        command = [sys.executable, "-m", "bindsearch", "search", "campfire", "-k", "1", "--paths0"]
        done = subprocess.run(command, check=True, capture_output=True)
        assert done.stdout == os.fsencode(unusual_names) + b"/night/" + left[0] + b"\0"
        os.unlink(done.stdout.removesuffix(b"\0"))
        assert main(["index", "--quiet"]) == 0
        left.pop(0)


def test_names_never_break_a_line(unusual_names, run):
    shown = run("search", "campfire", "-k", "1", "-q").out
    assert shown.endswith("night/esc\\x1b[31m.jpg (+4 copies)\n")
    for name, escaped in zip(
        STRANGE, ["new\\nline", "esc\\x1b[31m", "latin\\xe9", "rtl\\u202e", "ünï\u200d✓"], strict=True
    ):
        lines = run("classify", os.fsdecode(os.path.join(b"night", name)), "--labels", "fire").lines
        assert [line.rpartition("  ")[2] for line in lines] == [f"night/{escaped}.jpg"]
    assert len(run("search", "campfire", "-k", "1", "--json").lines) == 1


def test_similar_excludes_the_file_itself(run):
    assert "campfire.jpg" not in paths(run("similar", "night/campfire.jpg", "-k", "100", "--json"))


def test_export_has_a_row_per_segment(own, run):
    assert run("export", "out.jsonl").lines == ["3 segments written to out.jsonl"]
    rows = [json.loads(line) for line in (own / "out.jsonl").read_text().splitlines()]
    assert sorted(os.path.basename(row["path"]) for row in rows) == sorted(os.listdir(own / "night"))
    assert [len(row["vector"]) for row in rows] == [json.loads(run("status", "--json").out)["dim"]] * 3


def test_empty_quarantine_is_stated(own, run):
    ran = run("status", "--quarantine")
    assert (ran.status, ran.out, ran.err) == (0, "", "bindsearch: no file is in quarantine\n")
    assert run("status", "--quarantine", "--quiet").err == ""


def test_missing_files_stay_until_forgotten(own, run):
    (own / "night" / "campfire.jpg").unlink()
    assert run("index").lines[0] == "2 unchanged · 1 removed"
    assert any(line.startswith("gone        1 item without files,") for line in run("status").lines)
    assert run("forget", "--gone").lines == ["forgot 1 item without files"]
    assert run("forget", "--gone").status == 1


def test_changed_and_missing_files_are_reported_without_fault(own, run):
    assert run("doctor", "-q").out == ""
    (own / "night" / "campfire.jpg").unlink()
    for name in ("city_windows_at_night.png", "dark_night_with_stars.png"):
        os.utime(own / "night" / name, (1, 1))
    ran = run("doctor")
    assert (ran.status, ran.lines[0]) == (0, "no fault found in 3 items, 3 segments")
    report = "since they were indexed, 2 files changed and 1 file is gone: run `bindsearch index` to update"
    assert ran.lines[1:] == [report]
    report = json.loads(run("doctor", "--quick", "--json").out)
    assert (report["changed"], report["gone"], report["findings"]) == (2, 1, [])
    run("index")
    assert run("doctor").lines == ["no fault found in 2 items, 2 segments"]


def test_forget_names_what_will_return(own, run):
    ran = run("forget", "night/campfire.jpg")
    assert (ran.status, ran.lines) == (0, ["forgot 1 file"])
    assert ran.err.startswith(
        "bindsearch: the next `bindsearch index` adds files in indexed folders again: to prevent it,"
    )
    assert run("index").lines[0] == "1 added · 2 unchanged"
    (own / "night" / "campfire.jpg").unlink()
    assert run("forget", "night/campfire.jpg").err == ""
    assert run("forget", "night").err == ""


def test_summary_counts_files_and_names_ignored_kinds(own, run):
    (own / "more").mkdir()
    (own / "more" / "cut.png").write_bytes((own / "night" / "city_windows_at_night.png").read_bytes()[:90])
    shutil.copy(own / "night" / "campfire.jpg", own / "more" / "fire.jpg")
    for name in ("a.zip", "b.ZIP", "table.xlsx", "Makefile"):
        (own / "more" / name).write_bytes(bytes(9))
    (own / "more" / "dead").symlink_to("nowhere")
    ran = run("index", "more", "-l", "more.library")
    assert ran.status == 3
    assert ran.lines[0] == "1 added · 5 ignored"
    assert ran.lines[1].startswith("1 file decoded into 1 segment · took")
    assert ran.lines[2] == "ignored: 2 .zip, 1 .xlsx, 1 broken link, 1 without extension"
    (own / "more" / "cut.png").unlink()
    assert run("index", "-l", "more.library").status == 0


def test_tagging_without_none_warns(own, run):
    run("classify", "--labels", "fire,sea", "--save", "kept", "-q")
    ran = run("tag", "--load", "kept")
    assert ran.status == 0
    assert ran.err.startswith("bindsearch: kept was saved without --none: every item is tagged with one of its labels")
    assert run("tag", "--load", "kept", "--quiet").err == ""
    run("classify", "--labels", "fire,sea", "--none", "--save", "kept", "-q")
    assert run("tag", "--load", "kept").err == ""


def test_times_have_milliseconds(own, run):
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 100, 200)]
    frames[0].save(own / "night" / "film.gif", save_all=True, append_images=frames[1:], duration=300)
    run("index", "-q")
    hits = [json.loads(line) for line in run("search", "red", "-k", "9", "--json").lines]
    (film,) = [hit for hit in hits if hit["path"].endswith("film.gif")]
    assert (film["start"], film["end"]) == (0.0, 0.9)


def test_queried_file_has_zero_evalue(run):
    line = run("search", "samples/photos/night/campfire.jpg", "-k", "1", "-q").lines[0]
    assert line.split()[1] == "never"


def test_huge_k_returns_everything(run):
    every = run("search", "night", "-k", "1000", "-q").lines
    assert len(every) == 45
    assert run("search", "night", "-k", "9" * 30, "-q").lines == every


def test_quiet_prints_results_only(run):
    assert len(run("search", "night", "-k", "2").lines) == 4
    assert len(run("search", "night", "-k", "2", "--quiet").lines) == 2


def test_empty_library_says_how_to_fill_it(own, run):
    (own / "empty").mkdir()
    assert run("index", "empty", "-l", "empty.library").status == 0
    ran = run("search", "rain", "-l", "empty.library")
    assert (ran.status, ran.err.count("`bindsearch index FOLDER` fills it")) == (1, 1)
    assert run("status", "-l", "empty.library").lines[-1].endswith(" index")
