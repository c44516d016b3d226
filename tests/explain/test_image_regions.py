"""Where in a picture a query is answered: things that are planted in a corner are found there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import bindsearch
from bindsearch.explain.drawing import WARM, warmed
from bindsearch.explain.image_regions import MOST, SHARES, relevance_map
from bindsearch.types import Modality

CORNERS = {(0, 0): (0, 0), (1, 0): (200, 0), (0, 1): (0, 140), (1, 1): (200, 140)}
SIZE, THING = (320, 240), (120, 100)


@pytest.fixture(scope="module")
def toy():
    return bindsearch.space("toy")


@pytest.fixture(scope="module")
def ordinary(toy):
    return toy.embed(["a green forest", "the blue sea", "night", "snow", "a yellow field"], modality="text")


def planted(corner, colour, ground) -> Image.Image:
    """A speckled ground with a patch of another colour in one corner."""
    chance = np.random.default_rng(0)
    picture = Image.new("RGB", SIZE, ground)
    picture.paste(colour, (*corner, corner[0] + THING[0], corner[1] + THING[1]))
    noisy = np.asarray(picture, dtype=np.int16) + chance.integers(-12, 13, (SIZE[1], SIZE[0], 1))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def peak(heat) -> tuple[int, int]:
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    return int(x), int(y)


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(("word", "colour", "ground"), [("red", "red", "blue"), ("blue", "blue", (40, 150, 40))])
@pytest.mark.parametrize("corner", CORNERS.values(), ids=map(str, CORNERS))
def test_the_heat_is_where_the_thing_is(toy, ordinary, corner, word, colour, ground, centred):
    vector = toy.embed([word], modality="text")[0]
    heat = relevance_map(
        planted(corner, colour, ground), vector, toy.embed_pieces, others=ordinary if centred else ordinary[:0]
    )
    assert heat.shape == SIZE[::-1]
    x, y = peak(heat)
    assert corner[0] <= x < corner[0] + THING[0]
    assert corner[1] <= y < corner[1] + THING[1]
    inside = np.zeros(heat.shape, bool)
    inside[corner[1] : corner[1] + THING[1], corner[0] : corner[0] + THING[0]] = True
    assert heat[inside].mean() > np.quantile(heat[~inside], 0.9)


def test_what_is_taken_away_moves_the_heat_elsewhere(toy):
    red, blue = toy.embed(["red", "blue"], modality="text")
    picture = planted((0, 0), "red", "blue")
    none = red[:0]
    there, away = (peak(relevance_map(picture, vector, toy.embed_pieces, others=none)) for vector in (red, blue - red))
    assert there[0] < THING[0] + 40
    assert away[0] > THING[0] or away[1] > THING[1]


@pytest.mark.parametrize("size", [(4, 4), (9, 300), (5000, 60), (1, 1), (640, 480)])
def test_any_shape_is_covered_by_a_bounded_number_of_squares(toy, size):
    seen = []

    def embed(pieces):
        seen.extend(pieces)
        return toy.embed_pieces(pieces)

    vector = toy.embed(["red"], modality="text")[0]
    heat = relevance_map(Image.new("RGB", size, "red"), vector, embed, others=vector[None, :0].reshape(0, len(vector)))
    assert heat.shape == size[::-1]
    assert np.isfinite(heat).all()
    assert len(seen) <= MOST * len(SHARES)
    assert {piece.modality for piece in seen} == {Modality.IMAGE}
    square = max(size) <= 8 * min(size)
    assert not square or all(piece.content.width == piece.content.height for piece in seen)


def test_hot_places_keep_their_light_and_cold_ones_lose_it():
    heat = np.zeros((100, 200))
    heat[:, :60] = 1.0
    painted = np.asarray(warmed(Image.new("RGB", (200, 100), (120, 160, 120)), heat, least=0.1), dtype=int)
    assert painted[50, 20].sum() > 380
    assert painted[50, 180].sum() < 220
    assert (np.abs(painted - WARM).sum(axis=2) < 30).any()


def test_where_nothing_stands_out_nothing_is_outlined():
    heat = np.random.default_rng(0).normal(0, 1e-4, (80, 80))
    painted = np.asarray(warmed(Image.new("RGB", (80, 80), (120, 160, 120)), heat, least=0.1), dtype=int)
    assert np.ptp(painted, axis=(0, 1)).max() <= 4
