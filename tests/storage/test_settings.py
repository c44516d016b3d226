"""What is wished of the indexes: read, refused, kept, and honoured."""

from __future__ import annotations

import json

import pytest

import bindsearch
from bindsearch.cli import main
from bindsearch.errors import BadQuery
from bindsearch.storage.manifest import read_manifest
from bindsearch.storage.settings import Settings, bytes_in


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("2GB", 2_000_000_000),
        ("500mb", 500_000_000),
        ("1.5GiB", 1_610_612_736),
        ("3 g", 3_000_000_000),
        ("7000000", 7_000_000),
        ("auto", None),
    ],
)
def test_a_size_is_read_as_people_write_it(words, count):
    assert bytes_in(words) == count


@pytest.mark.parametrize("words", ["", "much", "-2GB", "2XB", "GB", "2 GB of it", "nan"])
def test_what_is_no_size_is_refused(words):
    with pytest.raises(BadQuery, match="no size of memory"):
        bytes_in(words)


@pytest.mark.parametrize(
    ("wished", "told"),
    [
        ({"memory": 2}, "2 bytes of memory"),
        ({"recall": 0.0}, "a recall of 0"),
        ({"recall": 99.0}, "a recall of 99"),
        ({"recall": float("nan")}, "a recall of nan"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_what_makes_no_sense_is_refused(wished, told):
    with pytest.raises(BadQuery, match=told):
        Settings(**wished)


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    for number, words in enumerate(["red fire", "green forest", "a low rumble", "static noise"]):
        (folder / f"{number}.txt").write_text(words)
    return folder


def test_wishes_are_kept_in_the_library_and_shown(media, tmp_path, capsys):
    library = str(tmp_path / "my.library")
    assert main(["index", str(media), "-l", library, "-q", "--memory", "2GB", "--recall", "0.999"]) == 0
    assert main(["index", "-l", library, "-q", "--device", "cpu"]) == 0
    expected = Settings(memory=2_000_000_000, recall=0.999, device="cpu")
    assert read_manifest(tmp_path / "my.library").settings == expected
    with bindsearch.open(library) as opened:
        assert opened.settings == opened.status().settings == expected
    capsys.readouterr()
    assert main(["status", "-l", library]) == 0
    assert "wished      recall 99.90%, 2.0 GB of memory, on cpu\n" in capsys.readouterr().out
    assert main(["index", "-l", library, "-q", "--memory", "auto"]) == 0
    assert read_manifest(tmp_path / "my.library").settings == Settings(recall=0.999, device="cpu")


def test_nonsense_is_one_line_and_no_library_is_made(media, tmp_path, capsys):
    for words in (["--memory", "lots"], ["--recall", "7"], ["--device", "tpu"]):
        assert main(["index", str(media), "-l", str(tmp_path / "no.library"), *words]) in (1, 2)
        told = capsys.readouterr().err
        assert told.startswith("bindsearch: ")
        assert told.count("\n") == 1
    assert not (tmp_path / "no.library").exists()


def test_a_card_from_before_there_were_wishes_has_none(media, tmp_path):
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(media)
    file = tmp_path / "my.library" / "library.json"
    told = json.loads(file.read_text())
    del told["settings"]
    file.write_text(json.dumps(told))
    assert read_manifest(tmp_path / "my.library").settings == Settings()


def test_the_certificate_is_for_the_recall_that_is_wished(media, tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(media)
        library.rebuild_index("ivf")
        first = library.status().generations["text"]
        assert first.certificate["target"] == 0.99
        assert set(first.certificate["at10"]) == {"text", "typed"}
        library.settings = Settings(recall=0.9)
        assert library.index().unchanged == 4
        second = library.status().generations["text"]
        assert (second.kind, second.certificate["target"]) == ("ivf", 0.9)
        assert second.bytes_per_segment == pytest.approx(second.bytes / 4, abs=0.1)


def test_nothing_that_was_asked_is_kept(media, tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(media)
        library.rebuild_index("ivf")
        before = {file: file.read_bytes() for file in library.path.glob("index/*/typed-*.npy")}
        assert len(before) == 1
        library.search("something private")
        library.rebuild_index("ivf")
        assert {file: file.read_bytes() for file in library.path.glob("index/*/typed-*.npy")} == before
