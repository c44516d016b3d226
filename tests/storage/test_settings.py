"""Settings of a library: read, validated, stored and used."""

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
def test_a_memory_size_is_read_as_users_write_it(words, count):
    assert bytes_in(words) == count


@pytest.mark.parametrize("words", ["", "much", "-2GB", "2XB", "GB", "2 GB of it", "nan"])
def test_an_invalid_memory_size_is_refused(words):
    with pytest.raises(BadQuery, match="not a memory size"):
        bytes_in(words)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"memory": 2}, "memory must be at least 1MB, not 2 bytes"),
        ({"recall": 0.0}, "recall must be from 0.5 to 1, not 0"),
        ({"recall": 99.0}, "recall must be from 0.5 to 1, not 99"),
        ({"recall": float("nan")}, "recall must be from 0.5 to 1, not nan"),
        ({"device": "tpu"}, "no device 'tpu'"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(BadQuery, match=message):
        Settings(**values)


@pytest.fixture
def media(tmp_path):
    folder = tmp_path / "media"
    folder.mkdir()
    for number, words in enumerate(["red fire", "green forest", "a low rumble", "static noise"]):
        (folder / f"{number}.txt").write_text(words)
    return folder


def test_settings_are_stored_in_the_library_and_shown(media, tmp_path, capsys):
    library = str(tmp_path / "my.library")
    assert main(["index", str(media), "-l", library, "-q", "--memory", "2GB", "--recall", "0.999"]) == 0
    assert main(["index", "-l", library, "-q", "--device", "cpu"]) == 0
    expected = Settings(memory=2_000_000_000, recall=0.999, device="cpu")
    assert read_manifest(tmp_path / "my.library").settings == expected
    with bindsearch.open(library) as opened:
        assert opened.settings == opened.status().settings == expected
    capsys.readouterr()
    assert main(["status", "-l", library]) == 0
    assert "settings    recall 99.90%, memory 2.0 GB, device cpu\n" in capsys.readouterr().out
    assert main(["index", "-l", library, "-q", "--memory", "auto"]) == 0
    assert read_manifest(tmp_path / "my.library").settings == Settings(recall=0.999, device="cpu")


def test_invalid_settings_are_one_line_and_create_no_library(media, tmp_path, capsys):
    for words in (["--memory", "lots"], ["--recall", "7"], ["--device", "tpu"]):
        assert main(["index", str(media), "-l", str(tmp_path / "no.library"), *words]) in (1, 2)
        message = capsys.readouterr().err
        assert message.startswith("bindsearch: ")
        assert message.count("\n") == 1
    assert not (tmp_path / "no.library").exists()


def test_a_manifest_without_settings_has_the_defaults(media, tmp_path):
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(media)
    file = tmp_path / "my.library" / "library.json"
    values = json.loads(file.read_text())
    del values["settings"]
    file.write_text(json.dumps(values))
    assert read_manifest(tmp_path / "my.library").settings == Settings()


def test_the_certificate_is_for_the_recall_in_the_settings(media, tmp_path):
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


def test_queries_are_not_stored(media, tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(media)
        library.rebuild_index("ivf")
        before = {file: file.read_bytes() for file in library.path.glob("index/*/typed-*.npy")}
        assert len(before) == 1
        library.search("something private")
        library.rebuild_index("ivf")
        assert {file: file.read_bytes() for file in library.path.glob("index/*/typed-*.npy")} == before
