"""While indexes are made anew, others search and write; then all changes at once."""

from __future__ import annotations

import threading

import pytest

import bindsearch
from bindsearch.errors import LibraryBusy

pytest.importorskip("faiss", reason="faiss is not installed")

WAIT = 60


def write(folder, numbers):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        (folder / f"{number}.txt").write_text(f"green forest {number}")


@pytest.fixture
def library(tmp_path):
    write(tmp_path / "media", range(4))
    with bindsearch.open(tmp_path / "my.library") as library:
        library.index(tmp_path / "media")
        yield library


class Held:
    """Makes the indexes anew in a thread, and stands still when the text index comes to a stage."""

    def __init__(self, library, stage):
        self._stage = stage
        self._arrived, self._go = threading.Event(), threading.Event()
        self.stages = []
        self._thread = threading.Thread(target=lambda: library.rebuild_index("ivf", progress=self._tell))

    def _tell(self, progress):
        building = progress.building
        if building is not None and building.modality == "text":
            self.stages.append(building.stage)
            if building.stage == self._stage and not self._go.is_set():
                self._arrived.set()
                assert self._go.wait(WAIT)

    def __enter__(self):
        self._thread.start()
        assert self._arrived.wait(WAIT)
        return self

    def __exit__(self, *_):
        self._go.set()
        self._thread.join(WAIT)
        assert not self._thread.is_alive()


@pytest.mark.parametrize("stage", ["building", "measuring", "writing", "switching"])
def test_others_search_and_index_while_indexes_are_made_anew(library, tmp_path, stage):
    with Held(library, stage) as held, bindsearch.open(library.path) as other:
        assert len(library.search("green forest", k=50)) == 4
        write(tmp_path / "media", range(4, 9))
        (tmp_path / "media" / "0.txt").unlink()
        report = other.index()
        assert (report.added, report.removed) == (5, 1)
        found = {hit.path.name for hit in library.search("green forest", k=50)}
        assert (
            found
            == {hit.path.name for hit in other.search("green forest", k=50)}
            == {f"{number}.txt" for number in range(1, 9)}
        )
    assert list(dict.fromkeys(held.stages)) == ["building", "measuring", "writing", "switching", "clearing"]
    assert {hit.path.name for hit in library.search("green forest", k=50)} == found
    assert library.status().indexes == {"text": "ivf"}
    assert library.status().generations["text"].segments == 8  # four, then five more and one less: a merge was due
    assert library.doctor() == []
    with bindsearch.open(library.path) as again:
        assert {hit.path.name for hit in again.search("green forest", k=50)} == found
        assert again.doctor() == []


def test_only_one_makes_indexes_anew_at_a_time(library, monkeypatch):
    monkeypatch.setattr("bindsearch.indexing.index_store.PATIENCE", 0.0)
    with Held(library, "building"), bindsearch.open(library.path) as other, pytest.raises(LibraryBusy, match="anew by"):
        other.rebuild_index("exact")
    assert library.status().indexes == {"text": "ivf"}


def test_a_rebuild_that_fails_leaves_the_index_that_was_there(library):
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
