"""The kind of index that a library uses: it can be chosen, is kept, and does not change small answers."""

from __future__ import annotations

import json

import pytest

import bindsearch
from bindsearch.errors import UnknownIndex


@pytest.fixture
def library(tmp_path):
    for number, words in enumerate(["red fire", "green forest", "a low rumble", "static noise"]):
        (tmp_path / f"{number}.txt").write_text(words)
    with bindsearch.open(tmp_path / "library", space="toy") as library:
        library.index(tmp_path)
        yield library


def answers(library):
    return [(hit.path.name, hit.score, hit.expect) for hit in library.search("green forest", k=4)]


def test_small_library_uses_the_exact_index(library):
    assert library.status().indexes == {"text": "exact"}
    assert library.status().certificates == {}


def test_chosen_kind_is_kept_until_another_is_chosen(library, tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    before = answers(library)
    library.rebuild_index("ivf")
    assert library.status().indexes == {"text": "ivf"}
    assert answers(library) == before
    for number in range(20):
        (tmp_path / f"more{number}.txt").write_text(f"blue water {number}")
    library.index(tmp_path)
    assert library.status().indexes == {"text": "ivf"}
    library.rebuild_index("auto")
    assert library.status().indexes == {"text": "exact"}
    assert library.doctor() == []


def test_certificate_is_stored_and_measured_again_by_doctor(library):
    pytest.importorskip("faiss", reason="faiss is not installed")
    library.rebuild_index("ivf")
    certificate = library.status().certificates["text"]
    assert (certificate["worst"], certificate["holds"]) == (1.0, True)
    assert certificate["at10"]["text"]["share"] == 1.0
    assert library.doctor() == []
    (manifest,) = library.path.glob("index/*/text/gen-*/manifest.json")
    assert json.loads(manifest.read_text())["certificate"] == certificate


def test_library_opens_with_its_last_kind(library):
    pytest.importorskip("faiss", reason="faiss is not installed")
    library.rebuild_index("ivf")
    before = answers(library)
    with bindsearch.open(library.path) as again:
        assert answers(again) == before
        assert again.status().indexes == {"text": "ivf"}
        assert again.doctor() == []


def test_unknown_kind_is_refused(library):
    with pytest.raises(UnknownIndex, match="faster"):
        library.rebuild_index("faster")
    assert library.status().indexes == {"text": "exact"}
