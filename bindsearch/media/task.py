"""The input of a decoder, and what it finds out about a file besides the pieces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from bindsearch.media.formats import Limits, MediaKind
from bindsearch.types import Modality, Windowing


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """One file to decode, and how."""

    file: BinaryIO
    kind: MediaKind
    windowing: Windowing
    wanted: frozenset[Modality]
    limits: Limits


@dataclass(slots=True)
class MediaFacts:
    """Facts about a file that its decoder fills in; valid when all pieces have been decoded."""

    duration: float | None = None
    """In seconds; None for still images and texts."""
    covered: float = 1.0
    """The share of the duration that lies in pieces."""
