"""The contract of every encoder."""

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
    """Return seven different pieces of a modality, or skip if the encoder does not support it."""
    modality = request.param
    if modality not in encoder.spec.modalities:
        pytest.skip(f"{encoder.spec.name} does not support {modality}")
    return PIECES[modality]


IMAGES = [media.plain_image(name) for name in ("red", "blue", "white", "black", "grey")] + [
    media.noise_image(),
    media.chequered_image(),
]
PIECES = {
    Modality.IMAGE: IMAGES,
    Modality.VIDEO: [Piece(Modality.VIDEO, piece.content) for piece in IMAGES],
    Modality.AUDIO: [media.tone(hertz) for hertz in (90, 700, 3000)]
    + [media.noise(), media.beeps(), media.silence(), media.sound(0.2 * np.ones(700))],
    Modality.TEXT: [
        media.text(words)
        for words in ("red", "a dog barks", "rain on a roof", "", "?!", "Füße, naïve 日本", "word " * 120)
    ],
}


def _content(piece: Piece) -> bytes | str:
    return piece.content if isinstance(piece.content, str) else piece.content.tobytes()


CONTENTS = {modality: [_content(piece) for piece in pieces] for modality, pieces in PIECES.items()}
"""The content of each piece before any encoder prepared it."""


def encode(encoder: Encoder, pieces: list[Piece]) -> Vectors:
    return encoder.encode(pieces[0].modality, [encoder.prepare(piece) for piece in pieces])


def cosines(rows: Vectors, others: Vectors) -> Vectors:
    rows, others = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (rows, others))
    return rows @ others.T


def test_implements_the_protocol_and_loads_by_name(family: Family, encoder: Encoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.spec.name == family.name
    assert load_space(family.name).spec == encoder.spec


def test_returns_one_finite_float32_row_per_piece(encoder: Encoder, pieces: list[Piece]) -> None:
    vectors = encode(encoder, pieces)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(pieces), encoder.spec.dim)
    assert np.isfinite(vectors).all()
    assert (np.linalg.norm(vectors, axis=1) > 1e-3).all()


def test_different_pieces_get_different_vectors(encoder: Encoder, pieces: list[Piece]) -> None:
    similarities = cosines(encode(encoder, pieces), encode(encoder, pieces))
    assert np.allclose(np.diag(similarities), 1, atol=1e-5)
    assert (similarities - np.eye(len(pieces)) < 0.999).all()


def test_empty_batch_returns_no_rows(encoder: Encoder) -> None:
    for modality in encoder.spec.modalities:
        vectors = encoder.encode(modality, [])
        assert vectors.shape == (0, encoder.spec.dim)
        assert vectors.dtype == np.float32


def test_vectors_do_not_depend_on_batch_or_order(encoder: Encoder, pieces: list[Piece]) -> None:
    together = encode(encoder, pieces)
    alone = np.concatenate([encode(encoder, [piece]) for piece in pieces])
    backwards = encode(encoder, pieces[::-1])[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(together, backwards, atol=1e-5)


def test_two_runs_are_bit_identical(family: Family, encoder: Encoder, pieces: list[Piece]) -> None:
    assert encode(encoder, pieces).tobytes() == encode(family.make(), pieces).tobytes()


def test_preparing_in_eight_threads_gives_the_same_vectors(encoder: Encoder, pieces: list[Piece]) -> None:
    with ThreadPoolExecutor(8) as pool:
        prepared = list(pool.map(encoder.prepare, pieces * 8))
    vectors = encoder.encode(pieces[0].modality, prepared)
    np.testing.assert_allclose(vectors, np.tile(encode(encoder, pieces), (8, 1)), atol=1e-5)


def test_pieces_are_not_changed(encoder: Encoder, pieces: list[Piece]) -> None:
    encode(encoder, pieces)
    assert [_content(piece) for piece in pieces] == CONTENTS[pieces[0].modality]


def test_prepared_input_is_not_changed(encoder: Encoder, pieces: list[Piece]) -> None:
    prepared = [encoder.prepare(piece) for piece in pieces]
    untouched = deepcopy(prepared)
    first = encoder.encode(pieces[0].modality, prepared)
    assert encoder.encode(pieces[0].modality, prepared).tobytes() == first.tobytes()
    assert encoder.encode(pieces[0].modality, untouched).tobytes() == first.tobytes()


@pytest.mark.parametrize("seed", ["1", "2"])
def test_fingerprint_is_the_same_in_every_process(family: Family, encoder: Encoder, seed: str) -> None:
    code = f"from bindsearch.registry import load_space; print(load_space({family.name!r}).spec.fingerprint)"
    completed = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == encoder.spec.fingerprint
    assert len(encoder.spec.fingerprint) >= 32


@pytest.mark.parametrize(("query", "target"), list(permutations(Modality, 2)))
def test_subjects_match_across_modalities(family: Family, encoder: Encoder, query: Modality, target: Modality) -> None:
    subjects = [subject for subject in family.subjects if query in subject and target in subject]
    if not subjects:
        pytest.skip(f"{family.name} has no subjects from {query} to {target}")
    scores = cosines(
        encode(encoder, [subject[query] for subject in subjects]),
        encode(encoder, [subject[target] for subject in subjects]),
    )
    own = np.diag(scores)
    others = np.where(np.eye(len(subjects), dtype=bool), -1, scores).max(axis=1)
    assert (own - others >= family.margin).all(), (own - others).tolist()
