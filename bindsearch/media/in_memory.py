"""What programs hand over instead of a file: pictures and samples, as the pieces that a file of them would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, fromarray

from bindsearch.errors import UnsupportedMedia
from bindsearch.media.pixels import opaque, reduced, resizable, upright
from bindsearch.media.windows import WindowCutter
from bindsearch.types import Modality, Piece, Span, Windowing

InMemoryMedia: TypeAlias = Image | NDArray[np.generic]


def pieces_of(thing: InMemoryMedia, windowing: Windowing) -> Iterator[Piece]:
    """Cut what was handed over into pieces.

    A picture of Pillow's, or bytes of shape (height, width, 3); mono samples at the windowing's rate, as floats of
    shape (samples,). Raises `UnsupportedMedia` for any other array.
    """
    if isinstance(thing, Image):
        thing.load()
        picture = opaque(upright(reduced(resizable(thing), windowing.image_side), thing))
        yield Piece(Modality.IMAGE, picture)
    elif thing.ndim == 3 and thing.shape[2] == 3 and thing.dtype == np.uint8:
        yield from pieces_of(fromarray(np.ascontiguousarray(thing)), windowing)
    elif thing.ndim == 1 and thing.dtype.kind == "f":
        yield from _windows(thing.astype(np.float32), windowing)
    else:
        raise UnsupportedMedia(
            f"an array of {thing.dtype} with shape {thing.shape} is neither a picture (uint8, height x width x 3) nor "
            f"mono sound (floats at {windowing.sample_rate:,} Hz)"
        )


def _windows(samples: NDArray[np.float32], windowing: Windowing) -> Iterator[Piece]:
    rate = windowing.sample_rate
    windows = WindowCutter(max(1, round(windowing.window * rate)), max(1, round(windowing.hop * rate)))
    for given in (windows.push(samples), windows.finish()):
        for start, part in given:
            yield Piece(Modality.AUDIO, part, Span(start / rate, (start + part.size) / rate))
