"""Run the command line in this process, on an indexed copy of the sample collection."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bindsearch.cli import main


@dataclass(frozen=True)
class Ran:
    """The result of a command line."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def place(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only folder with the collection, some unreadable files, and a library of it all."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(samples, folder / "samples")
    photos = folder / "samples" / "photos"
    shutil.copy(photos / "night" / "campfire.jpg", photos / "nature" / "fire.jpg")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    (photos / "empty.png").write_bytes(b"")
    (folder / "samples" / "table.bin").write_bytes(bytes(100))
    shutil.copytree(photos / "night", folder / "night")
    (folder / "labels.txt").write_text("siren\nchurch bell\nbirdsong\n", encoding="utf-8")
    assert main(["index", str(folder / "samples"), "-l", str(folder / "media.library"), "--quiet"]) == 3
    return folder


@pytest.fixture
def run(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in the collection's folder, by default on its library."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("BINDSEARCH_LIBRARY", "media.library")

    def run(*words: str | Path) -> Ran:
        capsys.readouterr()
        status = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Ran(status, out, err)

    return run


@pytest.fixture
def own(run: Run, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A writable folder with three images and its own library."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BINDSEARCH_LIBRARY", "own.library")
    shutil.copytree(samples / "photos" / "night", tmp_path / "night")
    assert run("index", "night").status == 0
    return tmp_path
