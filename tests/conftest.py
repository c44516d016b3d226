"""Fixtures of all tests: an empty home folder, the sample collection, and a small library."""

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
    """Use the toy space, which needs no torch, in tests that name no space."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BINDSEARCH_SPACE", "toy")
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, so that no test uses the libraries and settings of the user or of another test."""
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
    """The sample collection, written once per session: copy it before changing it."""
    from make_samples import make_samples

    folder = tmp_path_factory.mktemp("collection") / "samples"
    make_samples(folder)
    return folder


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder of nine small files that the test may change."""
    from media_files import small_collection

    return small_collection(tmp_path / "media")


@pytest.fixture
def metadata() -> Mapping[str, str] | None:
    """The metadata of the files in `library`: none, unless a test module overrides this fixture."""
    return None


@pytest.fixture
def library(tmp_path: Path, media: Path, metadata: Mapping[str, str] | None) -> Iterator[Library]:
    """A library in which the nine files of `media` are indexed."""
    import bindsearch

    with bindsearch.open(tmp_path / "my.library") as opened:
        opened.index(media, metadata=metadata)
        yield opened


@pytest.fixture
def plugin_space_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the space `plugin`, a second space that needs no torch."""
    from bindsearch.registry import SPACES

    monkeypatch.setitem(SPACES, "plugin", "plugin_space:PluginEncoder")
