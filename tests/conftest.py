"""What all tests share: a home of their own, and the sample collection."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
