from __future__ import annotations

import sys

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


def test_vector_of_a_file_is_the_mean_of_its_windows(space, tmp_path):
    path = sound(tmp_path / "a.wav", np.concatenate([tone(80.0, 2.0), tone(4000.0, 2.0)]))
    rows = np.stack([vector for _, _, vector in space.segments(path)])
    mean = rows.mean(axis=0)
    assert space.embed([path])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_segments_have_start_and_end(space, tmp_path):
    path = sound(tmp_path / "a.wav", tone(440.0, 5.0))
    assert [(start, end) for start, end, _ in space.segments(path)] == [(0.0, 2.0), (2.0, 4.0), (3.0, 5.0)]


def test_vectors_have_unit_length(space, tmp_path):
    vectors = space.embed([picture(tmp_path / "a.png", "red"), sound(tmp_path / "a.wav", tone(440.0, 0.01))])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1.0, 1.0], abs=1e-6)
    assert vectors.dtype == np.float32


def test_path_and_decoded_piece_have_the_same_vector(space, tmp_path):
    path = picture(tmp_path / "a.png", "teal")
    piece = next(iter(space.pieces(path)))
    assert np.array_equal(space.embed([path]), space.embed([piece]))


def test_no_inputs_give_no_vectors(space):
    assert space.embed([], modality="text").shape == (0, space.spec.dim)


def test_unsupported_input_is_named(space, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(UnsupportedMedia, match=r"a\.zip"):
        space.embed([tmp_path / "a.zip"])
    with pytest.raises(UnsupportedMedia, match=r"a\.png: holds nothing that the space toy can embed as audio"):
        space.embed([picture(tmp_path / "a.png", "red")], modality="audio")
    with pytest.raises(BadQuery, match="smell"):
        space.embed(["red"], modality="smell")


class BrokenEncoder:
    """An encoder that returns the same output for every batch, whatever its size."""

    spec = SpaceSpec("broken", 3, frozenset(Modality), "MIT", "0", "Always returns the same output.")

    def __init__(self, output):
        self.output = np.asarray(output, dtype=np.float32)

    def prepare(self, piece):
        return piece

    def encode(self, modality, batch):
        return self.output


@pytest.mark.parametrize("output", [[[1, 0]], [[1, 0, 0], [0, 1, 0]], [[np.nan, 0, 0]], [[np.inf, 0, 0]], [[0, 0, 0]]])
def test_invalid_output_of_an_encoder_is_refused(output):
    with pytest.raises(SpaceError, match="broken"):
        Space(BrokenEncoder(output)).embed_pieces([Piece(Modality.TEXT, "red")])


def test_unknown_name_suggests_a_similar_one():
    with pytest.raises(UnknownSpace, match="toy"):
        load_space("toi")
    with pytest.raises(UnknownIndex, match="exact"):
        load_index("exakt")


@pytest.mark.parametrize("name", ["toy:x", "bound", "bound:", ":x", ""])
def test_family_needs_a_member_and_a_space_takes_none(name):
    with pytest.raises(UnknownSpace, match="bindsearch spaces"):
        load_space(name)


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(SPACES, "big", "no_such_package.big:Encoder")
    with pytest.raises(MissingExtra, match="no_such_package"):
        load_space("big")


def test_missing_package_of_an_extra_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    monkeypatch.setitem(SPACES, "big", "open_clip:Encoder")
    with pytest.raises(MissingExtra, match=r"big needs the package 'open_clip': pip install 'bindsearch\[models\]'"):
        load_space("big")


def test_registered_names_lead_to_code():
    assert all(load_space(name).spec.dim > 0 for name in SPACES if name == "toy")
    assert load_index("exact").kind == "exact"
    assert set(INDEXES) >= {"exact"}
