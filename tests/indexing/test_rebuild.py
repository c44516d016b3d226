"""While indexes are rebuilt, other processes search and write; then everything changes at once."""

from __future__ import annotations

import threading

import pytest

import bindsearch
from bindsearch.core.progress import BuildStage
from bindsearch.errors import LibraryBusy

pytest.importorskip("faiss", reason="faiss is not installed")

WAIT_SECONDS = 60


def write_texts(folder, numbers):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}.txt").write_text(f"green forest {number}")


@pytest.fixture
def library(tmp_path):
    write_texts(tmp_path / "media", range(4))
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(tmp_path / "media")
        yield library


class PausedRebuild:
    """Rebuilds the indexes in a thread, and pauses when the text index reaches a stage."""

    def __init__(self, library, stage):
        self._pause_at = stage
        self._paused, self._resume = threading.Event(), threading.Event()
        self.stages = []
        self._thread = threading.Thread(target=lambda: library.rebuild_index("ivf", progress=self._on_progress))

    def _on_progress(self, progress):
        building = progress.building
        if building is not None and building.modality == "text":
            self.stages.append(building.stage)
            if building.stage == self._pause_at and not self._resume.is_set():
                self._paused.set()
                assert self._resume.wait(WAIT_SECONDS)

    def __enter__(self):
        self._thread.start()
        assert self._paused.wait(WAIT_SECONDS)
        return self

    def __exit__(self, *_):
        self._resume.set()
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("stage", ["building", "measuring", "writing", "switching"])
def test_others_search_and_index_during_a_rebuild(library, tmp_path, stage):
    with PausedRebuild(library, stage) as rebuild, bindsearch.open(library.path) as other:
        assert len(library.search("green forest", k=50)) == 4
        write_texts(tmp_path / "media", range(4, 9))
        (tmp_path / "media" / "0.txt").unlink()
        report = other.index()
        assert (report.added, report.removed) == (5, 1)
        found = {hit.path.name for hit in library.search("green forest", k=50)}
        assert (
            found
            == {hit.path.name for hit in other.search("green forest", k=50)}
            == {f"{number}.txt" for number in range(1, 9)}
        )
    assert list(dict.fromkeys(rebuild.stages)) == list(BuildStage)
    assert list(BuildStage) == ["building", "measuring", "writing", "switching", "clearing"]
    assert {hit.path.name for hit in library.search("green forest", k=50)} == found
    assert library.status().indexes == {"text": "ivf"}
    assert library.status().generations["text"].segments == 8  # 4, then 5 added and 1 removed: a merge was due
    assert library.doctor() == []
    with bindsearch.open(library.path) as again:
        assert {hit.path.name for hit in again.search("green forest", k=50)} == found
        assert again.doctor() == []


def test_only_one_process_rebuilds_at_a_time(library, monkeypatch):
    monkeypatch.setattr("bindsearch.indexing.index_store.REBUILD_WAIT_SECONDS", 0.0)
    with (
        PausedRebuild(library, "building"),
        bindsearch.open(library.path) as other,
        pytest.raises(LibraryBusy, match="rebuilt by"),
    ):
        other.rebuild_index("exact")
    assert library.status().indexes == {"text": "ivf"}


def test_a_failed_rebuild_leaves_the_former_index(library):
    def fail(progress):
        if progress.building is not None and progress.building.stage == "switching":
            raise RuntimeError("a planted failure")

    with pytest.raises(RuntimeError, match="planted"):
        library.rebuild_index("ivf", progress=fail)
    with bindsearch.open(library.path) as again:
        assert again.status().indexes == {"text": "exact"}
        assert len(again.search("green forest", k=50)) == 4
        again.rebuild_index("ivf")
        assert not list(library.path.glob("index/*/*/*.new"))
        assert again.doctor() == []
