"""Converts Pillow images of any mode, size and orientation to upright RGB images of a given size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_EXIF_ORIENTATION = 0x0112
_TRANSPOSE_OF_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESIZABLE_MODES = frozenset({"L", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "RGBX"})


def fit_shorter_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale a size down so that its shorter side is `side`; a smaller size stays as it is."""
    width, height = size
    shorter = min(width, height)
    if shorter <= side:
        return size
    return max(side, round(width * side / shorter)), max(side, round(height * side / shorter))


def to_resizable_mode(image: Image.Image) -> Image.Image:
    """Convert an image to a mode that can be filtered: 8 bits per channel, with alpha if it is transparent."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return image.convert("RGBA")
    if image.mode in _RESIZABLE_MODES:
        return image
    if image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.mode == "LAB":
        return image.getchannel(0)
    return image.convert("RGB")


def _to_8_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale grey values to 8 bits: 16-bit by full range, fractions from 0 to 1, others by their own range."""
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0.0).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    fractions = values.dtype.kind == "f" and low >= 0 and high <= 1
    if fractions:
        low, high = 0.0, 1.0
    elif values.dtype.kind != "f" and low >= 0 and high <= 65_535:
        low, high = 0.0, 65_535.0
    scale = 255 / (high - low) if high > low else 0.0
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(scale)
    grey: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
    return grey


def downscale(image: Image.Image, side: int) -> Image.Image:
    """Resample an image so that its shorter side is `side`; a smaller image stays as it is."""
    size = fit_shorter_side(image.size, side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def apply_orientation(image: Image.Image, source: Image.Image) -> Image.Image:
    """Rotate or flip an image by the EXIF orientation of its source."""
    try:
        transpose = _TRANSPOSE_OF_ORIENTATION.get(source.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # EXIF data that cannot be parsed is no reason to refuse the image
        transpose = None
    return image if transpose is None else image.transpose(transpose)


def on_white(image: Image.Image) -> Image.Image:
    """Put an image on a white background, and convert it to RGB.

    White, because most transparent images are drawings and logos made for web pages; on black their lines vanish.
    """
    if image.mode in ("RGBA", "LA"):
        rgba = image.convert("RGBA")
        background = Image.new("RGB", image.size, "white")
        background.paste(rgba, mask=rgba.getchannel("A"))
        return background
    return image if image.mode == "RGB" else image.convert("RGB")
