"""Whatever is wrong with the input: one clear line on stderr, the right status, and never a traceback."""

from __future__ import annotations

import json
import os
import shutil

import pytest

USAGE = [
    ("no verb is called so", ["serach", "rain"], "'serach'"),
    ("verb that is misspelt", ["serach", "rain"], "did you mean search?"),
    ("words without a verb", ["rain on a roof"], "use `bindsearch search WORD`"),
    ("verb below another", ["concepts", "ad", "sea"], "did you mean add?"),
    ("option that is misspelt", ["search", "rain", "--modalty=audio"], "did you mean --modality?"),
    ("choice that is misspelt", ["eval", "night", "--part", "alll"], "did you mean all?"),
    ("one word too many", ["status", "rain"], "unexpected argument 'rain'"),
    ("unknown space", ["index", "night", "-l", "no.library", "--space", "toi"], "did you mean toy"),
    ("unknown index", ["index", "night", "-l", "no.library", "--rebuild-index", "extact"], "did you mean exact"),
    ("unknown space to classify with", ["classify", "night", "--labels", "a", "--space", "x"], "'x'"),
    ("unknown space to measure", ["eval", "samples/photos", "--space", "x"], "'x'"),
    ("unknown space to go to", ["migrate", "--space", "toi"], "did you mean toy"),
    ("unknown space to fetch", ["spaces", "get", "pockt"], "did you mean pocket"),
    (
        "family without a name",
        ["index", "night", "-l", "no.library", "--space", "clap:"],
        "clap: is a family of spaces",
    ),
    ("unknown tower", ["train", "labels.csv", "--out", "hearing", "--tower", "babel"], "'babel'"),
    ("space that takes no name", ["index", "night", "-l", "no.library", "--space", "toy:big"], "toy:big"),
    ("no query", ["search"], "WORD"),
    ("unknown option", ["search", "rain", "--loud"], "--loud"),
    ("no number", ["search", "rain", "-k", "many"], "'many'"),
    ("k=0", ["search", "rain", "-k", "0"], "at least 1"),
    ("k=-3", ["similar", "labels.txt", "-k", "-3"], "at least 1"),
    ("unknown modality", ["search", "rain", "-m", "image,smell"], "'smell'"),
    ("no modality", ["search", "rain", "-m", ","], "is empty"),
    ("bad date", ["search", "rain", "--since", "yesterday"], "'yesterday'"),
    ("bad KEY=VALUE", ["search", "rain", "--where", "harbour"], "KEY=VALUE"),
    ("bad KEY=VALUE of index", ["index", "night", "--meta", "=x"], "KEY=VALUE"),
    ("bad expectation", ["search", "rain", "--max-expect", "0"], "above 0"),
    ("no labels", ["classify", "night"], "--labels"),
    ("no label", ["classify", "night", "--labels", " , "], "at least one label"),
    ("no label to tag with", ["tag", "--labels", ""], "at least one label"),
    ("no path of a data set", ["eval", ""], "'' is not a path"),
    ("no file of labels", ["classify", "night", "--labels", "@nosuch.txt"], "nosuch.txt"),
    ("nothing there to classify", ["classify", "nosuch.jpg", "--labels", "a"], "no file or folder nosuch.jpg"),
    ("no such classifier", ["classify", "night", "--load", "nosuch.classifier"], "nosuch.classifier"),
    ("no such data set", ["eval", "nosuch"], "nosuch"),
    ("no such manifest", ["train", "nosuch.csv", "--out", "hearing"], "nosuch.csv"),
    ("labels not in UTF-8", ["classify", "night", "--labels", "@samples/photos/broken.jpg"], "UTF-8"),
    ("template without a place", ["classify", "night", "--labels", "a", "--template", "x"], "{}"),
    ("label that is no text", ["classify", "night", "--labels", "\udcff"], "\\udcff"),
    ("empty query", ["search", ""], "is blank"),
    ("blank query", ["search", "  "], "is blank"),
    ("nothing after the operator", ["search", "rain", "+"], "nothing follows +"),
    ("operands cancel out", ["search", "rain", "-", "rain"], "cancel out"),
    ("no such file in the query", ["search", "file:nosuch.wav"], "nosuch.wav"),
    ("query of bytes that are no text", ["search", "\udcff\udcfe"], "UTF-8"),
    ("no such file to compare with", ["similar", "nosuch.jpg"], "nosuch.jpg"),
    ("a folder to compare with", ["similar", "night"], "folder"),
    ("nothing there to index", ["index", "nosuch"], "nosuch"),
    ("something else than files to index", ["index", os.devnull], "neither a file nor a folder"),
    ("a result to draw, and no file for it", ["search", "rain", "--of", "2"], "--why-image"),
    ("two ways to write", ["search", "rain", "--paths0", "--json"], "--paths0 and --json"),
    ("only conditions on tags", ["why-not", "labels.txt", "tag:stars>0.5"], "tags only filter"),
    ("export to an unknown suffix", ["export", "vectors.csv"], "*.parquet"),
    ("export to where no folder is", ["export", "no/such/vectors.jsonl"], "no such folder 'no/such'"),
    ("export to a folder", ["export", "night"], "'night' is a folder"),
    ("save to where no folder is", ["classify", "night", "--labels", "a", "--save", "no/x"], "no such folder 'no'"),
    ("draw to where no folder is", ["eval", "samples/photos", "--confusion", "no/x.png"], "no such folder 'no'"),
    ("draw the truth", ["classify", "night", "--truth", "folders", "--picture", "no/x.png"], "no such folder 'no'"),
    ("draw the reason there", ["search", "rain", "--why-image", "no/x.png"], "no such folder 'no'"),
    ("draw no kind of picture", ["search", "rain", "--why-image", "why.xyz"], "name it something.png"),
    ("nothing named to forget", ["forget"], "--gone"),
]
EXPECTED = [
    ("no library", ["search", "rain", "-l", "no.library"], "no.library"),
    ("no library to classify with", ["classify", "night", "--labels", "a", "-l", "no.library"], "no.library"),
    ("no library to index again", ["index", "-l", "no.library"], "no.library"),
    ("library is a file", ["status", "-l", "labels.txt"], "labels.txt is a file"),
    ("library cannot be made below a file", ["index", "night", "-l", "labels.txt/x.library"], "labels.txt"),
    ("library cannot be made among other files", ["index", "night", "-l", "samples"], "other files"),
    ("damaged query file", ["search", "samples/photos/broken.jpg"], "broken.jpg: damaged"),
    ("damaged file to compare with", ["similar", "samples/photos/broken.jpg"], "broken.jpg: damaged"),
    ("query file of another kind", ["similar", "samples/table.bin"], "table.bin"),
    ("nothing to forget", ["forget", "nosuch"], "no such file in the library"),
    ("nothing is gone", ["forget", "--gone"], "all files exist"),
    ("nothing to classify", ["classify", "nothing", "--labels", "a"], "found no files to classify"),
    ("nothing passes", ["search", "rain", "--under", "nosuch", "-m", "text"], "no file passes --modality, --under"),
    ("nothing has the metadata", ["similar", "labels.txt", "--where", "a=b"], "no file passes a=b"),
]


def by_id(cases):
    return pytest.mark.parametrize(("words", "named"), [case[1:] for case in cases], ids=[case[0] for case in cases])


@by_id(USAGE)
def test_usage_error_exits_with_2(run, words, named):
    ran = run(*words)
    assert ran.status == 2
    assert_error(ran, named)


@by_id(EXPECTED)
def test_expected_error_exits_with_1(run, place, words, named):
    (place / "nothing").mkdir(exist_ok=True)
    ran = run(*words)
    assert ran.status == 1
    assert_error(ran, named)
    assert not (place / "no.library").exists()


def assert_error(ran, named):
    first, *more = ran.err.splitlines()
    assert ran.out == ""
    assert first.startswith("bindsearch: ")
    assert named in first
    assert not more or set(more[1]) <= {" ", "^"}, "only the caret lines of a query may follow"


@pytest.mark.parametrize(
    ("manifest", "named"),
    [("{", "damaged"), ('{"schema": 1}', "damaged"), ("[]", "damaged"), ('{"schema": 99, "created_by": "9.0"}', "9.0")],
)
@pytest.mark.parametrize("verb", [["index", "night"], ["search", "rain"], ["status"], ["doctor"]], ids=" ".join)
def test_unreadable_library_is_reported(own, run, verb, manifest, named):
    (own / "own.library" / "library.json").write_text(manifest, encoding="utf-8")
    ran = run(*verb)
    assert ran.status == 1
    assert_error(ran, named)


def test_library_of_another_space_is_refused(own, run):
    manifest = own / "own.library" / "library.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"fingerprint": "0" * 32}), encoding="utf-8")
    ran = run("search", "rain")
    assert ran.status == 1
    assert_error(ran, "toy")


def test_failed_files_are_listed_and_exit_with_3(own, run):
    for number in range(12):
        (own / "night" / f"broken{number:02d}.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture %d" % number)
    ran = run("index", "night")
    assert ran.status == 3
    assert ran.lines[0] == "3 unchanged"
    listed = ran.err.splitlines()
    assert listed[0] == "12 files cannot be read:"
    assert [line.partition(":")[0].strip() for line in listed[1:11]] == [f"night/broken{n:02d}.jpg" for n in range(10)]
    assert listed[11:] == ["  and 2 more (`bindsearch status --quarantine` lists all)"]
    assert len(run("status", "--quarantine").lines) == 12
    assert run("index").status == 0


def test_one_unreadable_file_exits_with_3(run):
    ran = run("classify", "samples/photos/empty.png", "nosuch.wav", "night", "--labels", "fire,stars")
    assert ran.status == 3
    assert len(ran.lines) == 3
    assert ran.err.splitlines() == [
        "bindsearch: samples/photos/empty.png: the file is empty",
        "bindsearch: nosuch.wav: No such file or directory",
        "bindsearch: 2 files could not be classified",
    ]


def test_doctor_exits_with_1_until_repaired(own, run):
    shutil.rmtree(own / "own.library" / "index")
    path = own / "night" / "campfire.jpg"
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = run("doctor")
    assert ran.status == 1
    assert any("campfire.jpg" in line for line in ran.lines)
    assert "--repair" in ran.lines[-1]
    assert run("doctor", "--repair").status == 0
    assert run("doctor", "--quick").lines == ["no fault found in 2 items, 2 segments"]


def test_bug_is_one_line_and_asks_for_a_report(run, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("bindsearch.library.library.Library.status", broken)
    ran = run("status")
    assert ran.status == 1
    assert ran.err.splitlines() == [
        "bindsearch: ZeroDivisionError: by zero",
        "this is a bug in bindsearch: run again with --traceback and report it",
    ]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "there is not enough memory for this"),
        (OSError(5, "Input/output error", "disk\n1"), "disk\\n1: Input/output error"),
        (OSError("strange"), "strange"),
    ],
)
def test_system_errors_are_plain(run, monkeypatch, error, message):
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("bindsearch.library.library.Library.status", failing)
    ran = run("status")
    assert (ran.status, ran.err) == (1, f"bindsearch: {message}\n")


def test_ctrl_c_exits_with_130(run, monkeypatch):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bindsearch.library.library.Library.search", interrupted)
    ran = run("search", "rain")
    assert (ran.status, ran.err) == (130, "bindsearch: stopped\n")


def test_traceback_option_prints_traceback(place, monkeypatch, capsys):
    from bindsearch.cli import main

    assert main(["search", "rain", "--traceback", "-l", str(place / "no.library")]) == 1
    assert "LibraryNotFound" in capsys.readouterr().err
