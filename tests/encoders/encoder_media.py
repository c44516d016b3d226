"""Synthetic images, sounds and texts for the tests of encoders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bindsearch.types import Modality, Piece

RATE = 16_000
SECONDS = np.arange(2 * RATE) / RATE


def plain_image(colour: str | tuple[int, int, int]) -> Piece:
    return Piece(Modality.IMAGE, Image.new("RGB", (160, 120), colour))


def noise_image(seed: int = 0) -> Piece:
    grey = np.random.default_rng(seed).integers(0, 256, (120, 160, 1), dtype=np.uint8)
    return Piece(Modality.IMAGE, Image.fromarray(np.repeat(grey, 3, axis=2)))


def chequered_image() -> Piece:
    squares = (np.indices((128, 192)) // 16).sum(axis=0) % 2
    return Piece(Modality.IMAGE, Image.fromarray((squares * 255).astype(np.uint8)).convert("RGB"))


def sound(samples: NDArray[np.floating]) -> Piece:
    return Piece(Modality.AUDIO, samples.astype(np.float32))


def tone(hertz: float, *, level: float = 0.4) -> Piece:
    return sound(level * np.sin(2 * np.pi * hertz * SECONDS))


def noise(seed: int = 0, *, level: float = 0.1) -> Piece:
    return sound(level * np.random.default_rng(seed).standard_normal(2 * RATE))


def beeps() -> Piece:
    return sound(0.4 * np.sin(2 * np.pi * 1000 * SECONDS) * (SECONDS * 4 % 1 < 0.5))


def silence(samples: int = 2 * RATE) -> Piece:
    return sound(np.zeros(samples))


def text(words: str) -> Piece:
    return Piece(Modality.TEXT, words)
