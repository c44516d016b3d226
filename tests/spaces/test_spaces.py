from __future__ import annotations

import numpy as np
import pytest
from media_files import picture, sound, tone

import bindsearch
from bindsearch.errors import BadQuery, MissingExtra, SpaceError, UnknownIndex, UnknownSpace, UnsupportedMedia
from bindsearch.registry import INDEXES, SPACES, load_index, load_space
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, SpaceSpec


@pytest.fixture
def space():
    return bindsearch.space("toy")


def test_a_file_is_the_mean_of_its_windows(space, tmp_path):
    path = sound(tmp_path / "a.wav", np.concatenate([tone(80.0, 2.0), tone(4000.0, 2.0)]))
    rows = np.stack([vector for _, _, vector in space.segments(path)])
    mean = rows.mean(axis=0)
    assert space.embed([path])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_segments_tell_their_times(space, tmp_path):
    path = sound(tmp_path / "a.wav", tone(440.0, 5.0))
    assert [(start, end) for start, end, _ in space.segments(path)] == [(0.0, 2.0), (2.0, 4.0), (3.0, 5.0)]


def test_vectors_are_of_unit_length(space, tmp_path):
    vectors = space.embed([picture(tmp_path / "a.png", "red"), sound(tmp_path / "a.wav", tone(440.0, 0.01))])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-6)
    assert vectors.dtype == np.float32


def test_a_path_and_a_decoded_piece_are_the_same(space, tmp_path):
    path = picture(tmp_path / "a.png", "teal")
    piece = next(iter(space.pieces(path)))
    assert np.array_equal(space.embed([path]), space.embed([piece]))


def test_no_things_make_no_vectors(space):
    assert space.embed([], modality="text").shape == (0, space.spec.dim)


def test_what_cannot_be_embedded_is_said(space, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsupportedMedia, match=r"a\.zip"):
        space.embed([tmp_path / "a.zip"])
    with pytest.raises(UnsupportedMedia, match="audio"):
        space.embed([picture(tmp_path / "a.png", "red")], modality="audio")
    with pytest.raises(BadQuery, match="smell"):
        space.embed(["red"], modality="smell")


class Broken:
    """An encoder that does not keep its word."""

    spec = SpaceSpec("broken", 3, frozenset(Modality), "MIT", "0", "Gives what it was made with.")

    def __init__(self, gives):
        self.gives = np.asarray(gives, dtype=np.float32)

    def prepare(self, piece):
        return piece

    def encode(self, modality, batch):
        return self.gives


@pytest.mark.parametrize("gives", [[[1, 0]], [[1, 0, 0], [0, 1, 0]], [[np.nan, 0, 0]], [[np.inf, 0, 0]], [[0, 0, 0]]])
def test_an_encoder_that_breaks_its_word_is_stopped(gives):
    with pytest.raises(SpaceError, match="broken"):
        Space(Broken(gives)).embed_pieces([Piece(Modality.TEXT, "red")])


def test_unknown_names_offer_the_nearest():
    with pytest.raises(UnknownSpace, match="toy"):
        load_space("toi")
    with pytest.raises(UnknownIndex, match="exact"):
        load_index("exakt")


@pytest.mark.parametrize("name", ["toy:x", "bound", "bound:", ":x", ""])
def test_a_family_wants_a_name_and_a_space_takes_none(name):
    with pytest.raises(UnknownSpace, match="bindsearch spaces"):
        load_space(name)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(SPACES, "big", "no_such_package.big:Encoder")
    with pytest.raises(MissingExtra, match="no_such_package"):
        load_space("big")


def test_every_registered_name_leads_to_code():
    assert all(load_space(name).spec.dim > 0 for name in SPACES if name == "toy")
    assert load_index("exact").kind == "exact"
    assert set(INDEXES) >= {"exact"}
