"""The `toy` space: pictures, sounds and words in one space that can be explained, with numpy and Pillow alone.

It is aligned through images, as the learned spaces are, but by hand. Every piece is first turned into a `Look`:
what a picture has (hues, colour, light, rhythm, grain), what a picture of a sound would have, what a picture of a
word would have. All three then take the same way into the space:

    in a picture                    in a sound                          in words
    hue, red to violet              pitch, 100 Hz to 4.5 kHz            "red" and "rumble" to "violet" and "whistle"
    colour, grey to vivid           noise to pure tone                  "grey" and "wind" to "vivid" and "melody"
    light, black to white           silence to full scale               "night" and "quiet" to "snow" and "loud"
    rhythm, plain to chequered      steady to beating                   "calm" to "striped" and "ticking"
    grain, smooth to speckled       noise above 2 kHz                   "smooth" to "noisy" and "hiss"

What no other modality shares (a picture's layout, a sound's spectrum, words outside the vocabulary) goes into
dimensions of its own with a small weight, so that within one modality the finer likeness decides.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

from .vocabulary import FILLERS, TABLE, WORDS, root

Floats = NDArray[np.floating]

HUES = 20
"""Soft bins around the ring of hues."""
DETAIL = 24
"""Dimensions that each of picture, sound and text has for itself."""
AMOUNTS = {"colour": (0.5, 0.5), "light": (0.5, 1.0), "rhythm": (0.15, 1.0), "grain": (0.15, 0.7)}
"""Name -> (what is usual, weight): an amount that is usual, or not said, contributes nothing."""
DETAIL_WEIGHT = 0.4
WINDOWING = Windowing()
DIM = HUES + len(AMOUNTS) + 3 * DETAIL
RECIPE = ("toy 1", HUES, DETAIL, AMOUNTS, DETAIL_WEIGHT, WINDOWING, TABLE, sorted(FILLERS))
"""Change the version with every change of what is computed: the fingerprint follows."""

_OWN = {Modality.IMAGE: 0, Modality.VIDEO: 0, Modality.AUDIO: 1, Modality.TEXT: 2}


def _hue_kernel() -> Floats:
    """Spread each whole degree over the soft bins: centred, and of unit length for a single hue."""
    away = np.abs(np.arange(360)[:, None] - np.arange(HUES) * 360 / HUES)
    kernel: Floats = np.exp(-0.5 * (np.minimum(away, 360 - away) / 20) ** 2)
    kernel -= kernel.mean(axis=1, keepdims=True)
    kernel /= np.linalg.norm(kernel, axis=1, keepdims=True)
    return kernel


_KERNEL = _hue_kernel()


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture of the piece has. Amounts run from 0 to 1; the defaults are what is usual."""

    hues: Floats = field(default_factory=lambda: np.zeros(HUES))
    """Soft bins, as long as the colour is strong."""
    colour: float = AMOUNTS["colour"][0]
    light: float = AMOUNTS["light"][0]
    rhythm: float = AMOUNTS["rhythm"][0]
    grain: float = AMOUNTS["grain"][0]

    def concept(self) -> Floats:
        """Place the look in the dimensions that all modalities share."""
        amounts = {name: 2 * weight * (getattr(self, name) - usual) for name, (usual, weight) in AMOUNTS.items()}
        extreme = abs(2 * self.light - 1)
        amounts["light"] *= extreme  # twilight says little, night and snow say much
        amounts["colour"] *= 1 - extreme**2  # black and white are neither vivid nor dull
        return np.concatenate([self.hues, list(amounts.values())])


@dataclass(frozen=True, slots=True)
class Features:
    """The input of `ToyEncoder.encode`: a place in the shared dimensions, and one in the modality's own."""

    concept: Floats
    detail: Floats


def fingerprint_of(recipe: tuple[object, ...]) -> str:
    """Return what identifies a recipe in every process."""
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:32]


class ToyEncoder:
    """Keeps the `Encoder` protocol without weights: deterministic, fast, and meant for tests and first steps."""

    spec = SpaceSpec(
        name="toy",
        dim=DIM,
        modalities=frozenset(Modality),
        licence="MIT",
        fingerprint=fingerprint_of(RECIPE),
        summary="Made by hand, not learned: sounds and words are placed where a picture of them would be.",
        windowing=WINDOWING,
    )

    def prepare(self, piece: Piece) -> Features:
        """Measure a piece."""
        if isinstance(piece.content, str):
            return read(piece.content)
        if isinstance(piece.content, Image):
            return see(piece.content)
        return hear(piece.content)

    def encode(self, modality: Modality, batch: Sequence[Features]) -> Vectors:
        """Place measured pieces in the space.

        *Shape:* (len(batch), dim), float32.
        """
        vectors = np.zeros((len(batch), DIM), dtype=np.float32)
        own = HUES + len(AMOUNTS) + _OWN[modality] * DETAIL
        for vector, features in zip(vectors, batch, strict=True):
            vector[: HUES + len(AMOUNTS)] = features.concept
            vector[own : own + DETAIL] = DETAIL_WEIGHT * features.detail
        return vectors


# Pictures --------------------------------------------------------------------------------------------------------

_ROWS, _COLUMNS = 4, 6
_CELL = 8


def see(image: Image) -> Features:
    """Measure a picture by its thumbnail, and its grain by the steps between neighbouring pixels."""
    size = (_COLUMNS * _CELL, _ROWS * _CELL)
    thumbnail = np.asarray(image.resize(size, Resampling.BOX), dtype=np.float32) / 255
    high, low = thumbnail.max(axis=2), thumbnail.min(axis=2)
    light = (high + low) / 2
    colour = float(np.tanh(4 * (high - low).mean()))
    look = Look(
        hues=colour * _hues(_degrees(thumbnail, high, low), high - low),
        colour=colour,
        light=float(light.mean()),
        rhythm=_rhythm(np.diff(light, axis=0), np.diff(light, axis=1)),
        grain=_grain(image),
    )
    layout = light.reshape(_ROWS, _CELL, _COLUMNS, _CELL).mean(axis=(1, 3)).ravel()
    return Features(_unit(look.concept()), _softened(layout - layout.mean()))


def _degrees(rgb: Floats, high: Floats, low: Floats) -> NDArray[np.intp]:
    red, green, blue = np.moveaxis(rgb, 2, 0)
    chroma = np.maximum(high - low, 1e-6)
    sector = np.where(
        high == red,
        (green - blue) / chroma,
        np.where(high == green, (blue - red) / chroma + 2, (red - green) / chroma + 4),
    )
    degrees: NDArray[np.intp] = np.rint(sector * 60).astype(np.intp)
    return degrees % 360


def _grain(image: Image) -> float:
    """Measure the middle of the picture at its full resolution."""
    x, y = image.width // 2, image.height // 2
    middle = image.crop((max(0, x - 96), max(0, y - 96), min(image.width, x + 96), min(image.height, y + 96)))
    steps = np.diff(np.asarray(middle.convert("L"), dtype=np.float32) / 255, axis=1)
    return float(np.tanh(6 * np.abs(steps).mean())) if steps.size else 0.0


# Sounds ----------------------------------------------------------------------------------------------------------

_FRAME = 1000
_BLOCK = 20
_TAPER = np.hanning(_FRAME).astype(np.float32)
_HERTZ = np.fft.rfftfreq(_FRAME, 1 / WINDOWING.sample_rate)[: _FRAME // 2]
_HEARD = (_HERTZ > 40).astype(np.float32)
_PITCH = np.clip(np.log2(np.maximum(_HERTZ, 1) / 100) / np.log2(45), 0, 1)
"""From 0 at 100 Hz and below to 1 at 4.5 kHz and above."""
_PITCH_DEGREES = np.rint(275 * _PITCH).astype(np.intp)
_PITCH_BANDS = np.rint((DETAIL - 1) * _PITCH).astype(np.intp)


def hear(samples: NDArray[np.float32]) -> Features:
    """Measure a sound by its level and by the spectra of its frames of 62.5 ms.

    Each frame counts by how loud it is to the ear, not by its energy: what sounds for longer says more.
    """
    frames = _frames(samples)
    power = np.abs(np.fft.rfft(frames * _TAPER, axis=1)[:, : _FRAME // 2]) ** 2 * _HEARD
    levels = _loudness(frames) + 1e-3
    power *= (levels / levels.sum() / (power.sum(axis=1) + 1e-9))[:, None]
    total = float(power.sum()) + 1e-12
    spectrum = np.sqrt(power.sum(axis=0))
    light = float(_loudness(samples)) if len(samples) else 0.0
    tonal = _tonality(power, total)
    look = Look(
        hues=tonal * min(1.0, 4 * light) * _hues(_PITCH_DEGREES, spectrum),  # what is hardly heard has no colour
        colour=tonal,
        light=light,
        rhythm=_rhythm(np.diff(_envelope(frames[: max(1, len(samples) // _FRAME)]))),
        grain=(1 - tonal) * float(power[:, _HERTZ > 2000].sum()) / total,
    )
    bands = np.log(np.bincount(_PITCH_BANDS, spectrum, DETAIL) + 1e-3)
    return Features(_unit(look.concept()), _softened(bands - bands.mean()))


def _frames(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    count = max(1, -(-len(samples) // _FRAME))
    return np.pad(samples, (0, count * _FRAME - len(samples))).reshape(count, _FRAME)


def _loudness(samples: NDArray[np.float32]) -> Floats:
    """Place levels between -50 dB and full scale. *Shape:* (..., n) to (...)"""
    mean_square = np.square(samples, dtype=np.float64).mean(axis=-1)
    return np.asarray(np.clip(1 + 10 * np.log10(mean_square + 1e-12) / 50, 0, 1))


def _tonality(power: Floats, total: float) -> float:
    """Tell tones from noise: how much of the energy stands in single lines, from 1/5 in noise to 1/2 and more."""
    lines = power.reshape(len(power), -1, _BLOCK).max(axis=2)
    return float(np.clip((lines.sum() / total - 0.24) / 0.26, 0, 1))


def _envelope(frames: Floats) -> Floats:
    level: Floats = np.sqrt(np.square(frames).mean(axis=1))
    return level / max(float(level.max()), 1e-2)


# Words -----------------------------------------------------------------------------------------------------------


def read(text: str) -> Features:
    """Measure a text by the looks of the words it knows; the rest counts only where texts meet texts."""
    words = [word for word in map(root, re.findall(r"\w+", text.lower())) if word not in FILLERS]
    known = [_imagined(word).concept() for word in words if word in WORDS]
    words = words or [text]
    detail = _softened(np.sum([_signature(word) for word in words], axis=0))
    if not known:
        return Features(np.zeros(HUES + len(AMOUNTS)), detail)
    return Features(_unit(np.sum(known, axis=0)) * np.sqrt(len(known) / len(words)), detail)


def _imagined(word: str) -> Look:
    """Draw the picture of a word of the vocabulary."""
    hues, *amounts = WORDS[word]
    said: dict[str, Any] = {name: amount for name, amount in zip(AMOUNTS, amounts, strict=True) if amount is not None}
    if not hues:
        return Look(**said)
    return Look(hues=said["colour"] * _hues(np.array(hues), np.ones(len(hues))), **said)


def _signature(word: str) -> Floats:
    """Return any word its own direction: the bits of its digest as signs, the same in every process."""
    digest = np.frombuffer(hashlib.sha256(word.encode()).digest(), dtype=np.uint8)
    return np.where(np.unpackbits(digest)[:DETAIL], 1.0, -1.0)


# All alike -------------------------------------------------------------------------------------------------------


def _hues(degrees: NDArray[np.intp], weights: Floats) -> Floats:
    """Spread weighted degrees over the soft bins."""
    share = np.bincount(degrees.ravel(), weights.ravel(), 360)
    spread: Floats = (share / (share.sum() + 1e-9)) @ _KERNEL
    return spread


def _rhythm(*steps: Floats) -> float:
    """Measure how much neighbours differ: a few large steps count, many small ones do not."""
    squares = [float(np.square(np.maximum(np.abs(step) - 0.15, 0)).mean()) for step in steps if step.size]
    return float(np.tanh(3 * np.sqrt(np.mean(squares)))) if squares else 0.0


def _unit(vector: Floats) -> Floats:
    return vector / float(np.linalg.norm(vector) + 1e-9)


def _softened(vector: Floats) -> Floats:
    """Shorten to nearly one, but leave next to nothing next to nothing."""
    return vector / float(np.linalg.norm(vector) + 0.1)
