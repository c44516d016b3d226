"""Noisy images of one colour, as labelled examples in the toy space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece
from bindsearch.zeroshot import Example, MediaVectors

TOY = Space.named("toy")
COLOURS = {"red": (210, 30, 30), "green": (30, 190, 40), "blue": (40, 50, 220), "yellow": (220, 210, 40)}


def noisy(colour: str, seed: int = 0, *, noise: float = 25.0) -> MediaVectors:
    chance = np.random.default_rng([seed, *COLOURS[colour]])
    pixels = np.array(COLOURS[colour]) + chance.normal(0, noise, (24, 24, 3))
    picture = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return MediaVectors.of([Modality.IMAGE], TOY.embed_pieces([Piece(Modality.IMAGE, picture)]))


def examples_of(colours: Sequence[str], count: int, *, names: dict[str, str] | None = None) -> list[Example]:
    """Return `count` images of each colour, labelled by the colour or by `names`."""
    return [
        Example(noisy(colour, number), (names or {}).get(colour, colour), f"{colour} {number}")
        for colour in colours
        for number in range(count)
    ]
