"""Identifies and decodes a file in one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bindsearch.media import Decoding, decode, identify
from bindsearch.types import Modality, Piece, Windowing

ALL_MODALITIES = frozenset(Modality)
DEFAULT_WINDOWING = Windowing()


def open_decoding(
    path: Path, windowing: Windowing = DEFAULT_WINDOWING, *, wanted: frozenset[Modality] = ALL_MODALITIES
) -> Decoding:
    kind = identify(path)
    assert kind is not None
    return decode(path, kind, windowing, wanted=wanted)


def pieces(
    path: Path, windowing: Windowing = DEFAULT_WINDOWING, *, wanted: frozenset[Modality] = ALL_MODALITIES
) -> list[Piece]:
    with open_decoding(path, windowing, wanted=wanted) as decoding:
        return list(decoding)


def spans(found: list[Piece]) -> list[tuple[float | None, float | None]]:
    return [(piece.span.start, piece.span.end) for piece in found]


def of_modality(found: list[Piece], modality: Modality) -> list[Piece]:
    return [piece for piece in found if piece.modality == modality]


def loudest_hertz(samples: NDArray[np.float32], rate: int = 16_000) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
