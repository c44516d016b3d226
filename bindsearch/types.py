"""The words of bindsearch as types: modality, space, piece, segment, item, hit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


Vectors = NDArray[np.float32]
"""*Shape:* (n, dim), or (dim,) where one vector is meant."""
Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Modality(StrEnum):
    """What kind of thing an item or a segment is."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Windowing:
    """How a space wants media cut into pieces; part of its fingerprint."""

    sample_rate: int = 16_000
    """Of the mono sound that `Piece.content` holds, in Hz."""
    window: float = 2.0
    """Length of a window of sound, in seconds."""
    hop: float = 2.0
    """From the start of one window of sound to the next, in seconds."""
    frame_every: float = 2.0
    """One frame of a video or animation is taken from every stretch of this many seconds."""
    image_side: int = 512
    """Pictures are decoded so that their shorter side is at least this long, where the original's is."""
    passage: int = 600
    """A passage of text has at most this many characters."""


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """One shared embedding space: what it is called, what it takes, and what identifies its vectors."""

    name: str
    dim: int
    modalities: frozenset[Modality]
    licence: str
    """Of the weights, as an SPDX name where there is one."""
    fingerprint: str
    """Of weights, preprocessing and windowing: vectors of different fingerprints never meet."""
    summary: str
    """How the space was aligned, in one sentence."""
    windowing: Windowing = field(default_factory=Windowing)
    temperature: float = 0.05
    """Divides cosines before a softmax over labels: what the towers were trained with, never fitted to test data."""
    commercial: bool = True
    """Whether the licence of the weights allows commercial use."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where in its item a segment lies. Times in seconds; offsets in characters of the decoded text."""

    start: float | None = None
    end: float | None = None
    offset: int | None = None
    length: int | None = None


WHOLE = Span()


@dataclass(frozen=True, slots=True)
class Piece:
    """Decoded media of one segment, as the media room gives it and an encoder takes it.

    `content` is, by modality: image and video, a PIL image in mode RGB; audio, mono float32 samples at the
    windowing's rate, at most one window long and shorter only if the whole recording is; text, a `str`.
    """

    modality: Modality
    content: Image | NDArray[np.float32] | str
    span: Span = WHOLE


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of an item that has one vector."""

    id: int
    modality: Modality
    span: Span = WHOLE
    text: str = ""
    """The beginning of a passage of text; empty for other modalities."""


@dataclass(frozen=True, slots=True)
class Item:
    """One content, at one or more paths (none while its files are gone)."""

    id: int
    hash: str
    modality: Modality
    size: int
    duration: float | None
    """In seconds, of sounds, videos and animations."""
    segments: Sequence[Segment]
    paths: Sequence[Path] = ()
