"""What a decoder is given, and what it finds out about the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from bindsearch.media.formats import Limits, MediaKind
from bindsearch.types import Modality, Windowing


@dataclass(frozen=True, slots=True)
class DecodeTask:
    """What a decoder is asked to do."""

    file: BinaryIO
    kind: MediaKind
    windowing: Windowing
    wanted: frozenset[Modality]
    limits: Limits


@dataclass(slots=True)
class MediaFacts:
    """What a decoder finds out on its way."""

    duration: float | None = None
    covered: float = 1.0
