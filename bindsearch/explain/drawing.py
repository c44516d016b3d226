"""Drawing primitives of explanations: highlighted images, spectrograms, score curves, axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from bindsearch.explain.image_regions import RelevanceMap
from bindsearch.explain.spectrogram import Levels

Colour = tuple[int, int, int]
Box = tuple[int, int, int, int]
BACKGROUND: Colour = (17, 19, 26)
AXIS_COLOUR: Colour = (166, 173, 189)
GUIDE_COLOUR: Colour = (52, 57, 70)
HIGHLIGHT_COLOUR: Colour = (255, 176, 46)
CURVE_COLOUR: Colour = (86, 204, 242)
_COLOUR_MAP = (
    *((9, 10, 20), (28, 20, 66), (76, 24, 116), (129, 38, 128), (180, 55, 121)),
    *((228, 82, 99), (251, 136, 96), (254, 194, 134), (252, 250, 200)),
)
"""From silence to the loudest sound."""
DIM_BRIGHTNESS = 0.42
"""Brightness of irrelevant places, as a share of the original."""


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """An axis of time: a stretch of seconds, drawn between two columns of pixels."""

    start: float
    end: float
    left: int
    right: int

    def x(self, seconds: float) -> float:
        """Return the column of a time."""
        return self.left + (seconds - self.start) / max(self.end - self.start, 1e-9) * (self.right - self.left)


@dataclass(frozen=True, slots=True)
class Bar:
    """A segment of a sound or video on the axis of time, with its score."""

    start: float
    end: float
    score: float


def highlighted(picture: Image.Image, relevance: RelevanceMap, *, min_contrast: float) -> Image.Image:
    """Brighten the relevant places of an image, and dim and desaturate the others.

    Full contrast needs scores that differ by at least `min_contrast`, so that noise is not shown as a difference.
    """
    share = _shares(relevance, min_contrast)
    original = np.asarray(picture, dtype=np.float32)
    grey = original @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    dim = (0.75 * grey[..., None] + 0.25 * original) * DIM_BRIGHTNESS
    tint = np.asarray(HIGHLIGHT_COLOUR, dtype=np.float32)
    bright = original + (tint - original) * (0.16 * share[..., None] ** 2)
    mixed = dim + (bright - dim) * _smoothstep(share)[..., None]
    image = Image.fromarray(np.clip(mixed, 0, 255).round().astype(np.uint8))
    return _outlined(image, share)


def _shares(relevance: RelevanceMap, min_contrast: float) -> NDArray[np.float32]:
    """Scale relevance to 0 (dim) to 1 (bright); everything is near 0.5 if scores differ little."""
    low, high = float(np.quantile(relevance, 0.1)), float(relevance.max())
    spread = max(high - low, min_contrast, 1e-9)
    middle = (low + high) / 2
    share: NDArray[np.float32] = np.clip((relevance - middle) / spread + 0.5, 0, 1).astype(np.float32)
    return share


def _smoothstep(share: NDArray[np.float32]) -> NDArray[np.float32]:
    smooth: NDArray[np.float32] = share * share * (3 - 2 * share)
    return smooth


def _outlined(picture: Image.Image, share: NDArray[np.float32], *, level: float = 0.72) -> Image.Image:
    """Outline the relevant places, unless all are relevant or none is."""
    inside = share >= level
    if not inside.any() or inside.all():
        return picture
    width = max(2.0, min(picture.size) / 220)
    slope = np.hypot(*np.gradient(share)) + 1e-6
    distance = np.abs(share - level) / slope
    line = np.clip(width / 2 + 0.5 - distance, 0, 1)
    mask = Image.fromarray((255 * line).astype(np.uint8))
    shadow = mask.filter(ImageFilter.GaussianBlur(width))
    dark = Image.composite(Image.new("RGB", picture.size, (0, 0, 0)), picture, shadow.point(lambda value: value // 2))
    return Image.composite(Image.new("RGB", picture.size, HIGHLIGHT_COLOUR), dark, mask)


def spectrogram_image(levels: Levels, size: tuple[int, int]) -> Image.Image:
    """Draw a spectrogram, with its first row at the bottom."""
    stops = np.linspace(0, 1, len(_COLOUR_MAP))
    channels = zip(*_COLOUR_MAP, strict=True)
    table = np.stack([np.interp(np.linspace(0, 1, 256), stops, channel) for channel in channels], axis=1)
    shown = (np.clip(levels, 0, 1)[::-1] ** 1.4 * 255).astype(np.uint8)
    painted = Image.fromarray(table.round().astype(np.uint8)[shown])
    return painted.resize(size, Image.Resampling.BILINEAR)


def dimmed_outside(picture: Image.Image, axis: TimeAxis, spans: Iterable[tuple[float, float]]) -> Image.Image:
    """Dim a strip along the axis of time, except for some spans of seconds."""
    lit = np.zeros(picture.width, dtype=np.uint8)
    for start, end in spans:
        left, right = axis.x(start) - axis.left, axis.x(end) - axis.left
        lit[max(0, math.floor(left)) : max(math.ceil(right), math.floor(left) + 1)] = 255
    mask = Image.fromarray(np.repeat(lit[None, :], picture.height, axis=0))
    dark = Image.blend(Image.new("RGB", picture.size, BACKGROUND), picture, 0.55)
    return Image.composite(picture, dark, mask)


def column_scores(bars: Sequence[Bar], axis: TimeAxis) -> NDArray[np.float64]:
    """Return the best score at each column; NaN where there is no segment."""
    best = np.full(axis.right - axis.left, -np.inf)
    for bar in bars:
        first = max(0, round(axis.x(bar.start)) - axis.left)
        last = max(round(axis.x(bar.end)) - axis.left, first + 1)
        np.maximum(best[first:last], bar.score, out=best[first:last])
    return np.where(np.isfinite(best), best, np.nan)


def draw_curve(
    canvas: Image.Image, box: Box, scores: NDArray[np.float64], *, span: tuple[float, float], typical: float
) -> None:
    """Draw scores over time, and the typical score of the library as a dashed line. `span` is the vertical range."""
    left, top, right, bottom = box
    low, high = span
    heights = bottom - (scores - low) / (high - low) * (bottom - top)
    level = bottom - (typical - low) / (high - low) * (bottom - top)
    scale = 4
    layer = Image.new("L", ((right - left) * scale, (bottom - top) * scale))
    pen = ImageDraw.Draw(layer)
    fill = Image.new("L", layer.size)
    filler = ImageDraw.Draw(fill)
    for run in _runs(heights):
        points = [((x + half) * scale, (heights[x] - top) * scale) for x in run for half in (0, 1)]
        filler.polygon([(points[0][0], layer.height), *points, (points[-1][0], layer.height)], fill=70)
        pen.line(points, fill=255, width=2 * scale, joint="curve")
    for mask, colour in ((fill, CURVE_COLOUR), (layer, CURVE_COLOUR)):
        small = mask.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        canvas.paste(Image.new("RGB", small.size, colour), (left, top), small)
    dashes = ImageDraw.Draw(canvas)
    for x in range(left, right, 10):
        dashes.line((x, level, min(x + 4, right), level), fill=AXIS_COLOUR, width=1)


def _runs(heights: NDArray[np.float64]) -> list[list[int]]:
    """Return the runs of adjacent columns that have scores."""
    known = np.flatnonzero(np.isfinite(heights))
    cuts = np.flatnonzero(np.diff(known) > 1) + 1
    return [part.tolist() for part in np.split(known, cuts) if part.size]


def draw_frame(canvas: Image.Image, axis: TimeAxis, span: tuple[float, float], *, top: int, bottom: int) -> None:
    """Draw a frame around a span of seconds."""
    left, right = axis.x(span[0]), axis.x(span[1])
    if right - left < 4:
        left, right = (left + right) / 2 - 2, (left + right) / 2 + 2
    left, right = max(left, axis.left), min(right, axis.right - 1)
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((left, top, right, bottom), radius=3, outline=HIGHLIGHT_COLOUR, width=2)


def draw_time_axis(canvas: Image.Image, axis: TimeAxis, *, y: int) -> None:
    """Draw an axis of times below `y`."""
    pen, font = ImageDraw.Draw(canvas), font_of_size(15)
    step = _step(axis.end - axis.start, (axis.right - axis.left) / 90)
    first = math.ceil(axis.start / step - 1e-9)
    for number in range(first, math.floor(axis.end / step + 1e-9) + 1):
        x = axis.x(number * step)
        pen.line((x, y + 2, x, y + 7), fill=AXIS_COLOUR, width=1)
        label = _clock(number * step, tenths=step < 1)
        half_width = pen.textlength(label, font=font) / 2
        pen.text(
            (min(max(x, half_width + 2), canvas.width - half_width - 2), y + 10),
            label,
            fill=AXIS_COLOUR,
            font=font,
            anchor="ma",
        )


def _clock(time: float, *, tenths: bool) -> str:
    whole, rest = divmod(round(time * 10), 10)
    hours, minutes, last = whole // 3600, whole // 60 % 60, whole % 60
    words = f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"
    return f"{words}.{rest}" if tenths else words


def _step(length: float, max_steps: float) -> float:
    """Return the smallest round number of seconds that divides a length into at most `max_steps` steps."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000):
        if length / step <= max_steps:
            return float(step)
    return 86400.0


def draw_frequency_axis(canvas: Image.Image, box: Box, labels: Iterable[tuple[float, str]]) -> None:
    """Write frequencies at the left of a spectrogram, each at its share of the height from below."""
    pen, font = ImageDraw.Draw(canvas), font_of_size(13)
    left, top, _, bottom = box
    for share, label in labels:
        y = bottom - share * (bottom - top)
        pen.line((left - 6, y, left - 2, y), fill=AXIS_COLOUR, width=1)
        pen.text((left - 10, y), label, fill=AXIS_COLOUR, font=font, anchor="rm")


def font_of_size(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font that comes with Pillow."""
    return ImageFont.load_default(size=size)
