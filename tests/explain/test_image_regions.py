"""Relevance maps of images: an object in a corner is found in that corner."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import bindsearch
from bindsearch.explain.drawing import HIGHLIGHT_COLOUR, highlighted
from bindsearch.explain.image_regions import MAX_SQUARES, SIDE_SHARES, relevance_map
from bindsearch.types import Modality

CORNERS = {(0, 0): (0, 0), (1, 0): (200, 0), (0, 1): (0, 140), (1, 1): (200, 140)}
SIZE, OBJECT = (320, 240), (120, 100)


@pytest.fixture(scope="module")
def toy():
    return bindsearch.space("toy")


@pytest.fixture(scope="module")
def typical(toy):
    return toy.embed(["a green forest", "the blue sea", "night", "snow", "a yellow field"], modality="text")


def image_with_object(corner, colour, ground) -> Image.Image:
    """A noisy background with a patch of another colour in one corner."""
    chance = np.random.default_rng(0)
    picture = Image.new("RGB", SIZE, ground)
    picture.paste(colour, (*corner, corner[0] + OBJECT[0], corner[1] + OBJECT[1]))
    noisy = np.asarray(picture, dtype=np.int16) + chance.integers(-12, 13, (SIZE[1], SIZE[0], 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def peak(relevance) -> tuple[int, int]:
    y, x = np.unravel_index(int(relevance.argmax()), relevance.shape)
    return int(x), int(y)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("word", "colour", "ground"), [("red", "red", "blue"), ("blue", "blue", (40, 150, 40))])
@pytest.mark.parametrize("corner", CORNERS.values(), ids=map(str, CORNERS))
def test_relevance_is_highest_on_the_object(toy, typical, corner, word, colour, ground, centred):
    vector = toy.embed([word], modality="text")[0]
    relevance = relevance_map(
        image_with_object(corner, colour, ground), vector, toy.embed_pieces, others=typical if centred else typical[:0]
    )
    assert relevance.shape == SIZE[::-1]
    x, y = peak(relevance)
    assert corner[0] <= x < corner[0] + OBJECT[0]
    assert corner[1] <= y < corner[1] + OBJECT[1]
    inside = np.zeros(relevance.shape, bool)
    inside[corner[1] : corner[1] + OBJECT[1], corner[0] : corner[0] + OBJECT[0]] = True
    assert relevance[inside].mean() > np.quantile(relevance[~inside], 0.9)


def test_subtracted_operand_moves_the_peak_away(toy):
    red, blue = toy.embed(["red", "blue"], modality="text")
    picture = image_with_object((0, 0), "red", "blue")
    none = red[:0]
    there, away = (peak(relevance_map(picture, vector, toy.embed_pieces, others=none)) for vector in (red, blue - red))
    assert there[0] < OBJECT[0] + 40
    assert away[0] > OBJECT[0] or away[1] > OBJECT[1]


@pytest.mark.parametrize("size", [(4, 4), (9, 300), (5000, 60), (1, 1), (640, 480)])
def test_any_shape_is_covered_by_few_squares(toy, size):
    embedded = []

    def embed(pieces):
        embedded.extend(pieces)
        return toy.embed_pieces(pieces)

    vector = toy.embed(["red"], modality="text")[0]
    relevance = relevance_map(
        Image.new("RGB", size, "red"), vector, embed, others=vector[None, :0].reshape(0, len(vector))
    )
    assert relevance.shape == size[::-1]
    assert np.isfinite(relevance).all()
    assert len(embedded) <= MAX_SQUARES * len(SIDE_SHARES)
    assert {piece.modality for piece in embedded} == {Modality.IMAGE}
    square = max(size) <= 8 * min(size)
    assert not square or all(piece.content.width == piece.content.height for piece in embedded)


def test_irrelevant_places_are_dimmed():
    relevance = np.zeros((100, 200))
    relevance[:, :60] = 1.0
    painted = np.asarray(
        highlighted(Image.new("RGB", (200, 100), (120, 160, 120)), relevance, min_contrast=0.1), dtype=int
    )
    assert painted[50, 20].sum() > 380
    assert painted[50, 180].sum() < 220
    assert (np.abs(painted - HIGHLIGHT_COLOUR).sum(axis=2) < 30).any()


def test_noise_is_not_outlined():
    relevance = np.random.default_rng(0).normal(0, 1e-4, (80, 80))
    painted = np.asarray(
        highlighted(Image.new("RGB", (80, 80), (120, 160, 120)), relevance, min_contrast=0.1), dtype=int
    )
    assert np.ptp(painted, axis=(0, 1)).max() <= 4
