"""The `toy` space: images, sounds and words in one hand-made space that can be explained; numpy and Pillow only.

It is aligned through images, as the learned spaces are, but by hand. Every piece is first described by
`VisualAttributes` (hues, colour, light, rhythm, grain): those of an image, those that an image of the sound would have,
or those that an image of the word would have. All three are then projected in the same way:

    in an image                     in a sound                          in words
    hue, red to violet              pitch, 100 Hz to 4.5 kHz            "red" and "rumble" to "violet" and "whistle"
    colour, grey to vivid           noise to pure tone                  "grey" and "wind" to "vivid" and "melody"
    light, black to white           silence to full scale               "night" and "quiet" to "snow" and "loud"
    rhythm, plain to chequered      steady to beating                   "calm" to "striped" and "ticking"
    grain, smooth to speckled       noise above 2 kHz                   "smooth" to "noisy" and "hiss"

What modalities do not share (the layout of an image, the spectrum of a sound, words outside the vocabulary) goes into
separate dimensions with a small weight. It ranks items of one modality that share the same attributes.
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

from .vocabulary import FILLERS, TABLE, VOCABULARY, singular

Floats = NDArray[np.floating]

HUE_BINS = 20
"""Soft bins around the colour circle."""
DETAIL_DIM = 24
"""Dimensions reserved for each of image, sound and text."""
ATTRIBUTES = {"colour": (0.5, 0.5), "light": (0.5, 1.0), "rhythm": (0.15, 1.0), "grain": (0.15, 0.7)}
"""Name -> (neutral value, weight): a value that is neutral or unknown contributes nothing."""
DETAIL_WEIGHT = 0.4
WINDOWING = Windowing()
DIM = HUE_BINS + len(ATTRIBUTES) + 3 * DETAIL_DIM
RECIPE = ("toy 1", HUE_BINS, DETAIL_DIM, ATTRIBUTES, DETAIL_WEIGHT, WINDOWING, TABLE, sorted(FILLERS))
"""The fingerprint is computed from this: bump the version with every change to the computation."""

_DETAIL_BLOCK = {Modality.IMAGE: 0, Modality.VIDEO: 0, Modality.AUDIO: 1, Modality.TEXT: 2}


def _hue_kernel() -> Floats:
    """Return the soft bins of each whole degree, centred and of unit length. *Shape:* (360, HUE_BINS)"""
    away = np.abs(np.arange(360)[:, None] - np.arange(HUE_BINS) * 360 / HUE_BINS)
    kernel: Floats = np.exp(-0.5 * (np.minimum(away, 360 - away) / 20) ** 2)
    kernel -= kernel.mean(axis=1, keepdims=True)
    kernel /= np.linalg.norm(kernel, axis=1, keepdims=True)
    return kernel


_HUE_KERNEL = _hue_kernel()


@dataclass(frozen=True, slots=True)
class VisualAttributes:
    """The visual attributes of a piece, from 0 to 1; the defaults are neutral."""

    hues: Floats = field(default_factory=lambda: np.zeros(HUE_BINS))
    """Soft bins, scaled by the strength of the colour. *Shape:* (HUE_BINS,)"""
    colour: float = ATTRIBUTES["colour"][0]
    light: float = ATTRIBUTES["light"][0]
    rhythm: float = ATTRIBUTES["rhythm"][0]
    grain: float = ATTRIBUTES["grain"][0]

    def project(self) -> Floats:
        """Return the vector in the dimensions that modalities share. *Shape:* (HUE_BINS + len(ATTRIBUTES),)"""
        amounts = {name: 2 * weight * (getattr(self, name) - usual) for name, (usual, weight) in ATTRIBUTES.items()}
        extreme = abs(2 * self.light - 1)
        amounts["light"] *= extreme  # medium light says little, black and white say much
        amounts["colour"] *= 1 - extreme**2  # black and white are neither vivid nor pale
        return np.concatenate([self.hues, list(amounts.values())])


@dataclass(frozen=True, slots=True)
class Features:
    """The input of `ToyEncoder.encode`."""

    shared: Floats
    """Values of the dimensions that modalities share."""
    detail: Floats
    """Values of the modality's own dimensions."""


def fingerprint_of(recipe: tuple[object, ...]) -> str:
    """Return the hash of a recipe, which is the same in every process."""
    return hashlib.sha256(repr(recipe).encode()).hexdigest()[:32]


class ToyEncoder:
    """Implements `Encoder` without weights: deterministic, fast, for tests and first steps."""

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
        """Return the features of an image, a sound or a text."""
        if isinstance(piece.content, str):
            return measure_text(piece.content)
        if isinstance(piece.content, Image):
            return measure_image(piece.content)
        return measure_audio(piece.content)

    def encode(self, modality: Modality, batch: Sequence[Features]) -> Vectors:
        """Project features into the space. *Shape:* (len(batch), dim), float32."""
        vectors = np.zeros((len(batch), DIM), dtype=np.float32)
        own = HUE_BINS + len(ATTRIBUTES) + _DETAIL_BLOCK[modality] * DETAIL_DIM
        for vector, features in zip(vectors, batch, strict=True):
            vector[: HUE_BINS + len(ATTRIBUTES)] = features.shared
            vector[own : own + DETAIL_DIM] = DETAIL_WEIGHT * features.detail
        return vectors


# Images -----------------------------------------------------------------------------------------------------------

_ROWS, _COLUMNS = 4, 6
_CELL = 8


def measure_image(image: Image) -> Features:
    """Return the features of an image: from a thumbnail, and for grain from differences of neighbouring pixels."""
    size = (_COLUMNS * _CELL, _ROWS * _CELL)
    thumbnail = np.asarray(image.resize(size, Resampling.BOX), dtype=np.float32) / 255
    high, low = thumbnail.max(axis=2), thumbnail.min(axis=2)
    light = (high + low) / 2
    colour = float(np.tanh(4 * (high - low).mean()))
    attributes = VisualAttributes(
        hues=colour * _hue_bins(_hue_degrees(thumbnail, high, low), high - low),
        colour=colour,
        light=float(light.mean()),
        rhythm=_rhythm(np.diff(light, axis=0), np.diff(light, axis=1)),
        grain=_grain(image),
    )
    layout = light.reshape(_ROWS, _CELL, _COLUMNS, _CELL).mean(axis=(1, 3)).ravel()
    return Features(_unit(attributes.project()), _soft_normalise(layout - layout.mean()))


def _hue_degrees(rgb: Floats, high: Floats, low: Floats) -> NDArray[np.intp]:
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
    """Measure differences of neighbouring pixels in the centre, at full resolution."""
    x, y = image.width // 2, image.height // 2
    middle = image.crop((max(0, x - 96), max(0, y - 96), min(image.width, x + 96), min(image.height, y + 96)))
    steps = np.diff(np.asarray(middle.convert("L"), dtype=np.float32) / 255, axis=1)
    return float(np.tanh(6 * np.abs(steps).mean())) if steps.size else 0.0


# Sounds -----------------------------------------------------------------------------------------------------------

_FRAME_SAMPLES = 1000
_LINES_PER_BLOCK = 20
_HANN_WINDOW = np.hanning(_FRAME_SAMPLES).astype(np.float32)
_HERTZ = np.fft.rfftfreq(_FRAME_SAMPLES, 1 / WINDOWING.sample_rate)[: _FRAME_SAMPLES // 2]
_AUDIBLE = (_HERTZ > 40).astype(np.float32)
_PITCH_POSITION = np.clip(np.log2(np.maximum(_HERTZ, 1) / 100) / np.log2(45), 0, 1)
"""Logarithmic: 0 at 100 Hz and below, 1 at 4.5 kHz and above."""
_PITCH_DEGREES = np.rint(275 * _PITCH_POSITION).astype(np.intp)
_PITCH_BANDS = np.rint((DETAIL_DIM - 1) * _PITCH_POSITION).astype(np.intp)


def measure_audio(samples: NDArray[np.float32]) -> Features:
    """Return the features of a sound, from its level and the spectra of frames of 62.5 ms. *Shape:* (n,)

    Frames are weighted by loudness in decibels, not by energy, so that long quiet sounds count more than short bursts.
    """
    frames = _frames(samples)
    power = np.abs(np.fft.rfft(frames * _HANN_WINDOW, axis=1)[:, : _FRAME_SAMPLES // 2]) ** 2 * _AUDIBLE
    levels = _loudness(frames) + 1e-3
    power *= (levels / levels.sum() / (power.sum(axis=1) + 1e-9))[:, None]
    total = float(power.sum()) + 1e-12
    spectrum = np.sqrt(power.sum(axis=0))
    light = float(_loudness(samples)) if len(samples) else 0.0
    tonal = _tonality(power, total)
    attributes = VisualAttributes(
        hues=tonal * min(1.0, 4 * light) * _hue_bins(_PITCH_DEGREES, spectrum),  # near silence has no hue
        colour=tonal,
        light=light,
        rhythm=_rhythm(np.diff(_envelope(frames[: max(1, len(samples) // _FRAME_SAMPLES)]))),
        grain=(1 - tonal) * float(power[:, _HERTZ > 2000].sum()) / total,
    )
    bands = np.log(np.bincount(_PITCH_BANDS, spectrum, DETAIL_DIM) + 1e-3)
    return Features(_unit(attributes.project()), _soft_normalise(bands - bands.mean()))


def _frames(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    count = max(1, -(-len(samples) // _FRAME_SAMPLES))
    return np.pad(samples, (0, count * _FRAME_SAMPLES - len(samples))).reshape(count, _FRAME_SAMPLES)


def _loudness(samples: NDArray[np.float32]) -> Floats:
    """Map levels from -50 dB to full scale to 0 to 1. *Shape:* (..., n) to (...)"""
    mean_square = np.square(samples, dtype=np.float64).mean(axis=-1)
    return np.asarray(np.clip(1 + 10 * np.log10(mean_square + 1e-12) / 50, 0, 1))


def _tonality(power: Floats, total: float) -> float:
    """Return 0 for noise to 1 for tones, by the share of energy in single lines (noise 1/5, tones 1/2 and up)."""
    lines = power.reshape(len(power), -1, _LINES_PER_BLOCK).max(axis=2)
    return float(np.clip((lines.sum() / total - 0.24) / 0.26, 0, 1))


def _envelope(frames: Floats) -> Floats:
    level: Floats = np.sqrt(np.square(frames).mean(axis=1))
    return level / max(float(level.max()), 1e-2)


# Words ------------------------------------------------------------------------------------------------------------


def measure_text(text: str) -> Features:
    """Return the features of a text: its known words give the attributes, all words the detail."""
    words = [word for word in map(singular, re.findall(r"\w+", text.lower())) if word not in FILLERS]
    known = [_attributes_of_word(word).project() for word in words if word in VOCABULARY]
    words = words or [text]
    detail = _soft_normalise(np.sum([_word_signature(word) for word in words], axis=0))
    if not known:
        return Features(np.zeros(HUE_BINS + len(ATTRIBUTES)), detail)
    return Features(_unit(np.sum(known, axis=0)) * np.sqrt(len(known) / len(words)), detail)


def _attributes_of_word(word: str) -> VisualAttributes:
    """Return the attributes of a word of the vocabulary."""
    hues, *amounts = VOCABULARY[word]
    given: dict[str, Any] = {
        name: amount for name, amount in zip(ATTRIBUTES, amounts, strict=True) if amount is not None
    }
    if not hues:
        return VisualAttributes(**given)
    return VisualAttributes(hues=given["colour"] * _hue_bins(np.array(hues), np.ones(len(hues))), **given)


def _word_signature(word: str) -> Floats:
    """Return a direction for any word: the bits of its digest as signs. *Shape:* (DETAIL_DIM,)"""
    digest = np.frombuffer(hashlib.sha256(word.encode()).digest(), dtype=np.uint8)
    return np.where(np.unpackbits(digest)[:DETAIL_DIM], 1.0, -1.0)


# Shared by all modalities -----------------------------------------------------------------------------------------


def _hue_bins(degrees: NDArray[np.intp], weights: Floats) -> Floats:
    """Return the weighted mean of the soft bins of some degrees. *Shape:* (HUE_BINS,)"""
    share = np.bincount(degrees.ravel(), weights.ravel(), 360)
    spread: Floats = (share / (share.sum() + 1e-9)) @ _HUE_KERNEL
    return spread


def _rhythm(*steps: Floats) -> float:
    """Return how much neighbours differ: a few large steps count, many small ones do not."""
    squares = [float(np.square(np.maximum(np.abs(step) - 0.15, 0)).mean()) for step in steps if step.size]
    return float(np.tanh(3 * np.sqrt(np.mean(squares)))) if squares else 0.0


def _unit(vector: Floats) -> Floats:
    return vector / float(np.linalg.norm(vector) + 1e-9)


def _soft_normalise(vector: Floats) -> Floats:
    """Normalise to nearly unit length, but leave a near-zero vector near zero."""
    return vector / float(np.linalg.norm(vector) + 0.1)
