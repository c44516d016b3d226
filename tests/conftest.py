"""What all tests share: a home of their own, the sample collection, and a small library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bindsearch.library.library import Library

settings.register_profile("bindsearch", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("bindsearch")


@pytest.fixture(scope="session", autouse=True)
def space() -> Iterator[None]:
    """Tests that name no space use the smallest, which needs no torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDSEARCH_SPACE", "toy")
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder: no test meets the libraries and settings of whoever runs it, or of another test."""
    folder = tmp_path_factory.mktemp("home")
    for variable in [
        name for name in os.environ if name.startswith(("BINDSEARCH_", "XDG_")) and name != "BINDSEARCH_SPACE"
    ]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return folder


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample collection, made once: copy it before you change it."""
    from make_samples import make_samples

    folder = tmp_path_factory.mktemp("collection") / "samples"
    make_samples(folder)
    return folder


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """Nine small files, for this test alone."""
    from media_files import small_collection

    return small_collection(tmp_path / "media")


@pytest.fixture
def metadata() -> Mapping[str, str] | None:
    """What `library` is told of its files; a module that filters by it says something."""
    return None


@pytest.fixture
def library(tmp_path: Path, media: Path, metadata: Mapping[str, str] | None) -> Iterator[Library]:
    """A library of the nine small files."""
    import bindsearch

    with bindsearch.open(tmp_path / "my.library") as opened:
        opened.index(media, metadata=metadata)
        yield opened


@pytest.fixture
def trial_is_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another space that needs no torch can be named."""
    from bindsearch.registry import SPACES

    monkeypatch.setitem(SPACES, "trial", "trial_space:TrialEncoder")
