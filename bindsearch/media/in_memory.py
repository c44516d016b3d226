"""Cuts images and samples in memory into the same pieces that a file of them would give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, fromarray

from bindsearch.errors import UnsupportedMedia
from bindsearch.media.pixels import apply_orientation, downscale, on_white, to_resizable_mode
from bindsearch.media.windows import WindowCutter
from bindsearch.types import Modality, Piece, Span, Windowing

InMemoryMedia: TypeAlias = Image | NDArray[np.generic]


def pieces_of(media: InMemoryMedia, windowing: Windowing) -> Iterator[Piece]:
    """Cut media in memory into pieces.

    Accepts a Pillow image, an array of bytes of shape (height, width, 3), or an array of floats of shape (samples,):
    mono sound at the windowing's sample rate. Raises `UnsupportedMedia` for any other array.
    """
    if isinstance(media, Image):
        media.load()
        resized = downscale(to_resizable_mode(media), windowing.image_side)
        yield Piece(Modality.IMAGE, on_white(apply_orientation(resized, media)))
    elif media.ndim == 3 and media.shape[2] == 3 and media.dtype == np.uint8:
        yield from pieces_of(fromarray(np.ascontiguousarray(media)), windowing)
    elif media.ndim == 1 and media.dtype.kind == "f":
        yield from _windows(media.astype(np.float32), windowing)
    else:
        raise UnsupportedMedia(
            f"an array of {media.dtype} with shape {media.shape} is neither a picture (uint8, height x width x 3) nor "
            f"mono sound (floats at {windowing.sample_rate:,} Hz)"
        )


def _windows(samples: NDArray[np.float32], windowing: Windowing) -> Iterator[Piece]:
    rate = windowing.sample_rate
    cutter = WindowCutter.of(windowing)
    for windows in (cutter.push(samples), cutter.finish()):
        for start, part in windows:
            yield Piece(Modality.AUDIO, part, Span(start / rate, (start + part.size) / rate))
