"""Explain why a file is not among the hits."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import pytest
from media_files import picture

from bindsearch import SearchRequest
from bindsearch.errors import BadQuery


@pytest.fixture
def metadata():
    return {"trip": "coast"}


@pytest.mark.parametrize("more", [{}, {"also": "dark"}, {"raw": True}, {"modality": ["image", "text"]}])
def test_rank_and_figures_are_those_of_the_list(library, more):
    hits = library.search("red", k=50, **more)
    for place, hit in enumerate(hits, 1):
        explained = library.why_not(hit.path, SearchRequest.of("red", k=2, **more))
        assert explained.rank == place
        assert explained.verdict == ("listed" if place <= 2 else "behind")
        assert explained.score == pytest.approx(hit.score, abs=1e-6)
        assert explained.expect == pytest.approx(hit.expect, rel=1e-3)
        assert sum(term.contribution for term in explained.why.terms) == pytest.approx(hit.score, abs=1e-6)


def test_e_value_above_the_limit(library, media):
    green = media / "pictures" / "green.png"
    explained = library.why_not(green, SearchRequest.of("red", max_expect=1e-9))
    assert explained.verdict == "unlikely"
    assert "the limit is 1e-09" in explained.reason
    assert library.why_not(green, SearchRequest.of("red", max_expect=1e9)).verdict == "listed"


def test_filter_that_removes_a_file_is_named(library, media):
    red = media / "pictures" / "red.png"
    old = (datetime.now() - timedelta(days=400)).timestamp()
    os.utime(red, (old, old))
    library.index(media)
    removed = {
        "--modality audio (its modality is image)": {"modality": "audio"},
        "--under": {"under": media / "sounds"},
        "--since 2": {"since": datetime.now() - timedelta(days=30)},
        "--ext jpg,wav": {"ext": ["wav", "jpg"]},
        "--where trip=hills": {"where": {"trip": "hills"}},
    }
    for word, filters in removed.items():
        assert red not in [hit.path for hit in library.search("red", k=50, **filters)]
        explained = library.why_not(red, SearchRequest.of("red", **filters))
        assert (explained.verdict, explained.rank) == ("filtered", library.why_not(red, "red").rank)
        assert explained.reason.startswith(f"removed by {word}")
    explained = library.why_not(red, SearchRequest.of("red", ext="wav", where={"trip": "coast"}, modality="text"))
    assert explained.reason == "removed by --modality text (its modality is image) and --ext wav"


def test_copy_that_passes_represents_the_file(library, media):
    picture(media / "aside" / "same.png", "red")
    library.index(media)
    explained = library.why_not(media / "pictures" / "red.png", SearchRequest.of("red", under=media / "aside"))
    assert explained.verdict == "listed"
    assert explained.reason.endswith(f"(the list shows its copy {media / 'aside' / 'same.png'})")


def test_excluded_query_is_named(library, media):
    explained = library.why_not(media / "pictures" / "red.png", SearchRequest.of("red", excluding=["blue", "red"]))
    assert (explained.verdict, explained.rank) == ("excluded", None)
    assert explained.reason.startswith("it matches the excluded query text:red: score")


def test_files_without_vectors(library, media, tmp_path):
    (media / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no picture")
    (media / "table.bin").write_bytes(bytes(100))
    library.index(media)
    explained = library.why_not(media / "broken.jpg", "red")
    assert explained.verdict == "quarantined"
    assert explained.reason.removeprefix("it cannot be read: ") in library.status().quarantine[media / "broken.jpg"]
    assert library.why_not(media / "table.bin", "red").verdict in {"unread", "unknown"}
    late, aside = picture(media / "late.png", "red"), picture(tmp_path / "aside.png", "red")
    assert "is not in the library yet" in library.why_not(late, "red").reason
    assert library.why_not(aside, "red").reason.startswith("it is not in the library: ")
    assert library.why_not(aside, "red").as_json()["verdict"] == "unknown"
    library.index(media)
    assert library.why_not(late, "red").verdict == "listed"


def test_links_and_hidden_folders(library, media):
    secret = picture(media / ".aside" / "secret.png", "red")
    (media / "dead.png").symlink_to(media / "nowhere.png")
    (media / "again").symlink_to(media / "pictures", target_is_directory=True)
    library.index(media)
    assert library.why_not(secret, "red").reason.startswith(
        "it was skipped because .aside is hidden: to index it, name it"
    )
    assert library.why_not(media / "dead.png", "red").reason == "it is a broken link"
    twice = {media / folder / "red.png" for folder in ("again", "pictures")}
    (known,) = {path for item in library.items() for path in item.paths} & twice
    (behind,) = twice - {known}
    assert library.why_not(behind, "red").reason == f"a link leads to it, and the library knows it as {known}"
    library.index(secret)
    assert library.why_not(secret, "red").verdict == "listed"


def test_folders_and_missing_files_are_refused(library, media):
    with pytest.raises(BadQuery, match="no such file"):
        library.why_not(media / "gone.png", "red")
    with pytest.raises(BadQuery, match="is a folder"):
        library.why_not(media, "red")
