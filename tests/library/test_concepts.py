"""Saved concepts."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from media_files import picture

import bindsearch
from bindsearch.core.lock import writing
from bindsearch.errors import BadQuery, EmptyQuery, LibraryBusy, UnreadableMedia
from bindsearch.query.language import parse


def test_concept_is_the_sum_of_its_parts(library, media):
    red = media / "pictures" / "red.png"
    library.concepts.add("warm", red, "2:fire", bindsearch.text("blue") * -0.5)
    parts = bindsearch.file(red) + 2 * bindsearch.text("fire") - 0.5 * bindsearch.text("blue")
    assert library.vector(bindsearch.concept("warm")) == pytest.approx(library.vector(parts), abs=1e-6)
    whole = bindsearch.concept("warm") - bindsearch.text("night")
    assert library.vector(parse(["concept:warm", "-", "night"])) == pytest.approx(library.vector(whole))
    hits = [library.search(query, k=9) for query in (parts, "concept:warm")]
    assert [hit.path for hit in hits[0]] == [hit.path for hit in hits[1]]


def test_concepts_are_a_mapping_and_are_stored(library, media, monkeypatch):
    monkeypatch.chdir(media)
    assert dict(library.concepts) == {}
    library.concepts.add("warm", "pictures/red.png", "fire")
    library.concepts.add("Kälte.1", "snow")
    library.close()
    with bindsearch.open(library.path) as again:
        assert list(again.concepts) == ["Kälte.1", "warm"]
        assert len(again.concepts) == 2
        summary = again.concepts["warm"].summary()
        assert summary == {
            "name": "warm",
            "parts": [f"file:{media / 'pictures' / 'red.png'}", "+", "text:fire"],
            "space": "toy",
        }
        again.concepts.add("warm", "sun")
        assert again.concepts["warm"].parts == bindsearch.text("sun")
        again.concepts.remove("warm")
        assert list(again.concepts) == ["Kälte.1"]
        assert again.doctor() == []


def test_concept_outlives_its_files(library, media):
    library.concepts.add("warm", media / "pictures" / "red.png")
    before = library.vector("concept:warm")
    os.remove(media / "pictures" / "red.png")
    np.testing.assert_array_equal(library.vector("concept:warm"), before)


def test_unknown_concepts_are_refused(library):
    library.concepts.add("harbour", "masts in fog")
    with pytest.raises(BadQuery, match=r"no concept is called harbor \(did you mean concept:harbour\?\)"):
        library.search("concept:harbor")
    for name in ("harbor", "\udcff", "x" * 1_000, "a b"):
        assert name not in library.concepts
        with pytest.raises(BadQuery, match="no concept is called"):
            library.concepts.remove(name)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "-x"])
def test_invalid_names_are_refused(library, name):
    with pytest.raises(BadQuery, match="is not a concept name"):
        library.concepts.add(name, "sea")


def test_invalid_parts_are_refused(library):
    library.concepts.add("harbour", "masts in fog")
    with pytest.raises(BadQuery, match="cannot contain another concept"):
        library.concepts.add("port", "concept:harbour")
    with pytest.raises(EmptyQuery, match="has no parts"):
        library.concepts.add("port")
    with pytest.raises(EmptyQuery, match="cancel out"):
        library.concepts.add("port", "sea", "-1:sea")
    with pytest.raises(BadQuery, match="no such file"):
        library.concepts.add("port", "gone.jpg")
    assert list(library.concepts) == ["harbour"]


def test_writers_exclude_each_other(library):
    with writing(library.path), pytest.raises(LibraryBusy):
        library.concepts.add("harbour", "masts in fog")


@pytest.mark.usefixtures("plugin_space_registered")
def test_concept_is_embedded_again_in_another_space(library, media):
    library.concepts.add("warm", media / "pictures" / "red.png", "2:fire")
    library.concepts.add("cold", "snow")
    parts = library.concepts["warm"].parts
    in_toy = library.vector("concept:warm")
    assert library.migrate("plugin").switched
    assert library.concepts["warm"].space == "toy"
    assert library.vector("concept:warm") == pytest.approx(library.vector(parts), abs=1e-6)
    library.concepts.remove("cold")
    library.concepts.add("wet", "rain")
    library.rollback()
    assert list(library.concepts) == ["warm", "wet"]
    np.testing.assert_array_equal(library.vector("concept:warm"), in_toy)
    assert library.vector("concept:wet") == pytest.approx(library.vector("rain"), abs=1e-6)


def test_concept_of_another_fingerprint_needs_its_files(library, media, tmp_path):
    outside = picture(tmp_path / "outside.png", "orange")
    made = library.concepts.add("warm", outside, "fire")
    other = replace(made, fingerprint="f00d", vector=-made.vector)
    library._editions.now().ledger.write(lambda txn: txn.put_concept("warm", other.as_record()))
    assert library.vector("concept:warm") == pytest.approx(made.vector, abs=1e-6)
    os.remove(outside)
    with pytest.raises(UnreadableMedia, match=r"outside\.png"):
        library.vector("concept:warm")
