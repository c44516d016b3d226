"""What every encoder promises, whatever it is made of."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import permutations

import encoder_media as media
import numpy as np
import pytest
from encoder_families import FAMILIES, Family

from bindsearch.ports import Encoder
from bindsearch.registry import load_space
from bindsearch.types import Modality, Piece, Vectors


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name.partition(":")[0])
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


@pytest.fixture(scope="module")
def encoder(family: Family) -> Encoder:
    return family.make()


@pytest.fixture(params=list(Modality))
def pieces(request: pytest.FixtureRequest, encoder: Encoder) -> list[Piece]:
    """Seven different pieces of a modality that the encoder knows."""
    modality = request.param
    if modality not in encoder.spec.modalities:
        pytest.skip(f"{encoder.spec.name} does not know {modality}")
    return PIECES[modality]


PICTURES = [media.plain(name) for name in ("red", "blue", "white", "black", "grey")] + [
    media.speckled(),
    media.chequered(),
]
PIECES = {
    Modality.IMAGE: PICTURES,
    Modality.VIDEO: [Piece(Modality.VIDEO, piece.content) for piece in PICTURES],
    Modality.AUDIO: [media.tone(pitch) for pitch in (90, 700, 3000)]
    + [media.hiss(), media.beeps(), media.silence(), media.sound(0.2 * np.ones(700))],
    Modality.TEXT: [
        media.text(words)
        for words in ("red", "a dog barks", "rain on a roof", "", "?!", "Füße, naïve 日本", "word " * 120)
    ],
}


def _content(piece: Piece) -> bytes | str:
    return piece.content if isinstance(piece.content, str) else piece.content.tobytes()


CONTENTS = {modality: [_content(piece) for piece in pieces] for modality, pieces in PIECES.items()}
"""As they were before any encoder saw them."""


def encode(encoder: Encoder, pieces: list[Piece]) -> Vectors:
    return encoder.encode(pieces[0].modality, [encoder.prepare(piece) for piece in pieces])


def cosines(one: Vectors, other: Vectors) -> Vectors:
    one, other = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (one, other))
    return one @ other.T


def test_keeps_the_protocol_and_is_known_by_its_name(family: Family, encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.spec.name == family.name
    assert load_space(family.name).spec == encoder.spec


def test_gives_one_finite_row_of_float32_a_piece(encoder: Encoder, pieces: list[Piece]) -> None:
    vectors = encode(encoder, pieces)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(pieces), encoder.spec.dim)
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) > 1e-3).all()


def test_different_pieces_get_different_vectors(encoder: Encoder, pieces: list[Piece]) -> None:
    alike = cosines(encode(encoder, pieces), encode(encoder, pieces))
    assert np.allclose(np.diag(alike), 1, atol=1e-5)
    assert (alike - np.eye(len(pieces)) < 0.999).all()


def test_an_empty_batch_gives_no_rows(encoder: Encoder) -> None:
    for modality in encoder.spec.modalities:
        vectors = encoder.encode(modality, [])
        assert vectors.shape == (0, encoder.spec.dim)
        assert vectors.dtype == np.float32


def test_a_batch_equals_one_by_one_in_any_order(encoder: Encoder, pieces: list[Piece]) -> None:
    together = encode(encoder, pieces)
    alone = np.concatenate([encode(encoder, [piece]) for piece in pieces])
    backwards = encode(encoder, pieces[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_two_runs_are_equal_to_the_bit(family: Family, encoder: Encoder, pieces: list[Piece]) -> None:
    assert encode(encoder, pieces).tobytes() == encode(family.make(), pieces).tobytes()


def test_preparing_in_eight_threads_gives_equal_values(encoder: Encoder, pieces: list[Piece]) -> None:
    with ThreadPoolExecutor(8) as pool:
        prepared = list(pool.map(encoder.prepare, pieces * 8))
    vectors = encoder.encode(pieces[0].modality, prepared)
    np.testing.assert_allclose(vectors, np.tile(encode(encoder, pieces), (8, 1)), atol=1e-5)


def test_a_piece_is_not_changed(encoder: Encoder, pieces: list[Piece]) -> None:
    encode(encoder, pieces)
    assert [_content(piece) for piece in pieces] == CONTENTS[pieces[0].modality]


def test_prepared_input_is_not_changed(encoder: Encoder, pieces: list[Piece]) -> None:
    prepared = [encoder.prepare(piece) for piece in pieces]
    untouched = deepcopy(prepared)
    first = encoder.encode(pieces[0].modality, prepared)
    assert encoder.encode(pieces[0].modality, prepared).tobytes() == first.tobytes()
    assert encoder.encode(pieces[0].modality, untouched).tobytes() == first.tobytes()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_fingerprint_is_the_same_in_every_process(family: Family, encoder: Encoder, seed: str) -> None:
    code = f"from bindsearch.registry import load_space; print(load_space({family.name!r}).spec.fingerprint)"
    said = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == encoder.spec.fingerprint
    assert len(encoder.spec.fingerprint) >= 32


@pytest.mark.parametrize(("asked", "found"), list(permutations(Modality, 2)))
def test_every_meaning_finds_itself_in_every_other_modality(
    family: Family, encoder: Encoder, asked: Modality, found: Modality
) -> None:
    shown = [meaning for meaning in family.meanings if asked in meaning and found in meaning]
    if not shown:
        pytest.skip(f"{family.name} promises nothing from {asked} to {found}")
    scores = cosines(
        encode(encoder, [meaning[asked] for meaning in shown]), encode(encoder, [meaning[found] for meaning in shown])
    )
    own = np.diag(scores)
    others = np.where(np.eye(len(shown), dtype=bool), -1, scores).max(axis=1)
    assert (own - others >= family.margin).all(), (own - others).tolist()
