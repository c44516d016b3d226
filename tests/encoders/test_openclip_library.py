"""A library with a local model of open_clip, from end to end."""

from __future__ import annotations

import json
import os
from itertools import product

import numpy as np
import openclip_models as models
import pytest
from media_files import passage, picture

import bindsearch
from bindsearch.cli import main
from bindsearch.core.lock import writing
from bindsearch.errors import MissingWeights, SpaceMismatch
from bindsearch.types import Modality

pytest.importorskip("torch", reason=models.SKIP_REASON)
pytest.importorskip("open_clip", reason=models.SKIP_REASON)

COLOURS = ("red", "teal", "white", "navy", "gold")


@pytest.fixture
def model(tmp_path):
    return models.write_model(tmp_path / "model", models.random_model(models.PLAIN), models.PLAIN)


@pytest.fixture
def collection(tmp_path):
    """Images, texts, and a video of two colours."""
    av = pytest.importorskip("av")
    folder = tmp_path / "media"
    folder.mkdir()
    for colour in COLOURS:
        picture(folder / f"{colour}.png", colour)
        passage(folder / f"{colour}.txt", f"{colour} paint")
    with av.open(str(folder / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        for number in range(20):
            shade = np.full((64, 64, 3), 40 if number < 10 else 220, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        film.mux(stream.encode(None))
    return folder


def run_cli(capsys, *words):
    capsys.readouterr()
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, out, err


def test_index_and_search_with_a_local_model(model, collection, tmp_path, capsys):
    library = tmp_path / "media.library"
    status, _, err = run_cli(capsys, "index", collection, "-l", library, "--space", f"local:{model}")
    assert status == 0, err
    status, out, err = run_cli(capsys, "search", "red paint", "-l", library, "--raw", "--json", "-k", 20)
    assert status == 0, err
    hits = [json.loads(line) for line in out.splitlines()]
    assert {os.path.basename(hit["path"]) for hit in hits} == set(os.listdir(collection))
    assert os.path.basename(hits[0]["path"]) == "red.txt"
    assert hits[0]["score"] == pytest.approx(1, abs=1e-3)


def test_scores_between_modalities_are_cosines(model, collection, tmp_path):
    with bindsearch.open(tmp_path / "media.library", space=f"local:{model}") as library:
        assert not library.index(collection).quarantined
        space = bindsearch.space(f"local:{model}")
        queries = {"text": "gold paint", "image": collection / "gold.png", "video": collection / "film.mp4"}
        for kind, searched in product(queries, ("text", "image", "video")):
            query = space.embed([queries[kind]], modality="text" if kind == "text" else None)[0]
            hits = library.search(queries[kind], modality=searched, k=20, raw=True)
            assert len(hits) == (1 if searched == "video" else len(COLOURS))
            for hit in hits:
                best = max(float(row @ query) for _, _, row in space.segments(hit.path))
                assert hit.score == pytest.approx(best, abs=2e-3), (kind, searched)  # the ledger stores float16
                assert hit.segment.modality == Modality(searched)


def test_library_refuses_another_space_and_names_both(model, collection, tmp_path, capsys):
    library = tmp_path / "media.library"
    other = models.write_model(tmp_path / "other", models.random_model(models.PLAIN, seed=1), models.PLAIN)
    bindsearch.open(library, space=f"local:{model}").close()
    for name in (f"local:{other}", "toy"):
        with pytest.raises(SpaceMismatch) as raised:
            bindsearch.open(library, space=name)
        assert f"local:{model}" in str(raised.value)
        assert name in str(raised.value)
    status, _, err = run_cli(capsys, "index", collection, "-l", library, "--space", f"local:{other}")
    assert status == 1
    assert f"local:{model}" in err
    assert f"local:{other}" in err


def test_moved_model_is_the_same_space(model, collection, tmp_path):
    library, moved = tmp_path / "media.library", tmp_path / "elsewhere" / "model"
    with bindsearch.open(library, space=f"local:{model}") as opened:
        opened.index(collection)
        before = opened.search("red paint", k=20)
    moved.parent.mkdir()
    model.rename(moved)
    with bindsearch.open(library) as opened:
        with pytest.raises(MissingWeights, match="run `bindsearch index --space local:NEW-FOLDER`"):
            opened.search("red paint")
    with bindsearch.open(library, space=f"local:{moved}") as opened:
        assert opened.search("red paint", k=20) == before
        assert opened.index(collection).unchanged == len(list(collection.iterdir()))
    with bindsearch.open(library) as opened:  # the new path is recorded
        assert opened.status().space == f"local:{moved}"
        assert opened.search("red paint", k=20) == before
        assert opened.doctor() == []


def test_moved_model_is_recorded_once_the_library_is_unlocked(model, collection, tmp_path):
    library, moved = tmp_path / "media.library", tmp_path / "moved"
    bindsearch.open(library, space=f"local:{model}").close()
    model.rename(moved)
    with writing(library), bindsearch.open(library, space=f"local:{moved}") as opened:
        assert len(opened.vector("red paint")) == opened.status().dim
        assert opened.status().space == f"local:{model}"
    bindsearch.open(library, space=f"local:{moved}").close()
    with bindsearch.open(library) as opened:
        assert opened.status().space == f"local:{moved}"


def test_changed_weights_are_another_space(model, collection, tmp_path):
    library = tmp_path / "media.library"
    bindsearch.open(library, space=f"local:{model}").close()
    models.write_model(model, models.random_model(models.PLAIN, seed=1), models.PLAIN)
    with bindsearch.open(library) as opened, pytest.raises(SpaceMismatch):
        opened.search("red")


def test_text_query_loads_only_the_text_tower(model, collection, tmp_path):
    library = tmp_path / "media.library"
    with bindsearch.open(library, space=f"local:{model}") as opened:
        opened.index(collection)
    with bindsearch.open(library) as opened:
        opened.search("red paint")
        assert list(opened.space.encoder._towers) == ["text"]


def test_spaces_all_lists_the_members_of_families(capsys):
    status, out, _ = run_cli(capsys, "spaces", "--all", "pe-core-b-*", "--json")
    assert status == 0
    members = [json.loads(line) for line in out.splitlines()]
    assert members == [
        {"name": "openclip:PE-Core-B-16/meta", "licence": "Apache-2.0", "commercial": True, "here": False}
    ]
    status, out, _ = run_cli(capsys, "spaces", "--all", "PE-Core*")
    assert "openclip:PE-Core-L-14-336/meta" in out
    assert run_cli(capsys, "spaces", "--all", "no such model")[0] == 1
