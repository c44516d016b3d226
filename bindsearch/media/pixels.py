"""Any mode of Pillow's, any size, any orientation: to an upright RGB picture of the size asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_RESIZABLE = frozenset({"L", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "RGBX"})


def shorter_side_at(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Scale a size down so that its shorter side is `side`; one that is smaller stays."""
    width, height = size
    shorter = min(width, height)
    if shorter <= side:
        return size
    return max(side, round(width * side / shorter)), max(side, round(height * side / shorter))


def resizable(image: Image.Image) -> Image.Image:
    """Return an image in a mode that can be filtered, with 8 bits a channel, and alpha where it is transparent."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        return image.convert("RGBA")
    if image.mode in _RESIZABLE:
        return image
    if image.mode in ("PA", "La", "RGBa"):
        return image.convert("LA" if image.mode == "La" else "RGBA")
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_in_8_bits(np.asarray(image)))
    if image.mode == "LAB":
        return image.getchannel(0)
    return image.convert("RGB")


def _in_8_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale grey values: 16-bit ones by their full range, fractions by 0 to 1, others by the range they have."""
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


def reduced(image: Image.Image, side: int) -> Image.Image:
    """Filter an image down so that its shorter side is `side`, if it is longer."""
    size = shorter_side_at(image.size, side)
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Turn an image as the EXIF data of its source says."""
    try:
        turn = _TURNS.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:  # EXIF data that cannot be parsed is no reason to refuse the picture
        turn = None
    return image if turn is None else image.transpose(turn)


def opaque(image: Image.Image) -> Image.Image:
    """Lay an image on white, and convert it to RGB.

    White, because most transparent pictures are drawings and logos made for pages; on black their ink is gone.
    """
    if image.mode in ("RGBA", "LA"):
        rgba = image.convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(rgba, mask=rgba.getchannel("A"))
        return page
    return image if image.mode == "RGB" else image.convert("RGB")
