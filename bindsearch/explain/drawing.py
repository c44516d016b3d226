"""How reasons are painted: heat over a picture, a spectrogram, a score over time, an axis of seconds."""

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
PAPER: Colour = (17, 19, 26)
INK: Colour = (166, 173, 189)
FAINT: Colour = (52, 57, 70)
WARM: Colour = (255, 176, 46)
COOL: Colour = (86, 204, 242)
_FLAMES = (
    *((9, 10, 20), (28, 20, 66), (76, 24, 116), (129, 38, 128), (180, 55, 121)),
    *((228, 82, 99), (251, 136, 96), (254, 194, 134), (252, 250, 200)),
)
"""From silence to the loudest."""
COLD = 0.42
"""How bright a place without heat stays."""


@dataclass(frozen=True, slots=True)
class Times:
    """A stretch of time that lies between two columns of a picture."""

    start: float
    end: float
    left: int
    right: int

    def x(self, seconds: float) -> float:
        """Return where a time lies."""
        return self.left + (seconds - self.start) / max(self.end - self.start, 1e-9) * (self.right - self.left)


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a sound or video on the axis of time, and its score."""

    start: float
    end: float
    score: float


def warmed(picture: Image.Image, heat: RelevanceMap, *, least: float) -> Image.Image:
    """Let the hot places of a picture shine, and take light and colour from the cold ones.

    A difference of `least` between hot and cold is the smallest that shows in full: what is alike stays alike.
    """
    share = _shares(heat, least)
    seen = np.asarray(picture, dtype=np.float32)
    grey = seen @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    cold = (0.75 * grey[..., None] + 0.25 * seen) * COLD
    glow = np.asarray(WARM, dtype=np.float32)
    hot = seen + (glow - seen) * (0.16 * share[..., None] ** 2)
    mixed = cold + (hot - cold) * _eased(share)[..., None]
    painted = Image.fromarray(np.clip(mixed, 0, 255).round().astype(np.uint8))
    return _outlined(painted, share)


def _shares(heat: RelevanceMap, least: float) -> NDArray[np.float32]:
    """Bring heat to 0 (cold) to 1 (hottest); where little differs, everything is lukewarm."""
    low, high = float(np.quantile(heat, 0.1)), float(heat.max())
    spread = max(high - low, least, 1e-9)
    middle = (low + high) / 2
    share: NDArray[np.float32] = np.clip((heat - middle) / spread + 0.5, 0, 1).astype(np.float32)
    return share


def _eased(share: NDArray[np.float32]) -> NDArray[np.float32]:
    eased: NDArray[np.float32] = share * share * (3 - 2 * share)
    return eased


def _outlined(picture: Image.Image, share: NDArray[np.float32], *, level: float = 0.72) -> Image.Image:
    """Draw a line around the places that are hot, unless all are or none is."""
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
    return Image.composite(Image.new("RGB", picture.size, WARM), dark, mask)


def flames(levels: Levels, size: tuple[int, int]) -> Image.Image:
    """Paint a spectrogram, its lowest row at the bottom."""
    stops = np.linspace(0, 1, len(_FLAMES))
    table = np.stack([np.interp(np.linspace(0, 1, 256), stops, part) for part in zip(*_FLAMES, strict=True)], axis=1)
    shown = (np.clip(levels, 0, 1)[::-1] ** 1.4 * 255).astype(np.uint8)
    painted = Image.fromarray(table.round().astype(np.uint8)[shown])
    return painted.resize(size, Image.Resampling.BILINEAR)


def dimmed(picture: Image.Image, times: Times, spans: Iterable[tuple[float, float]]) -> Image.Image:
    """Take light from all of a strip but some stretches of time."""
    lit = np.zeros(picture.width, dtype=np.uint8)
    for start, end in spans:
        left, right = times.x(start) - times.left, times.x(end) - times.left
        lit[max(0, math.floor(left)) : max(math.ceil(right), math.floor(left) + 1)] = 255
    mask = Image.fromarray(np.repeat(lit[None, :], picture.height, axis=0))
    dark = Image.blend(Image.new("RGB", picture.size, PAPER), picture, 0.55)
    return Image.composite(picture, dark, mask)


def columns_of(bars: Sequence[Bar], times: Times) -> NDArray[np.float64]:
    """Return the best score at each column; none (NaN) where there is no piece."""
    best = np.full(times.right - times.left, -np.inf)
    for bar in bars:
        first = max(0, round(times.x(bar.start)) - times.left)
        last = max(round(times.x(bar.end)) - times.left, first + 1)
        np.maximum(best[first:last], bar.score, out=best[first:last])
    return np.where(np.isfinite(best), best, np.nan)


def curve(
    canvas: Image.Image, box: Box, scores: NDArray[np.float64], *, span: tuple[float, float], usual: float
) -> None:
    """Draw a score over time, between two scores, and what is usual in the library as a dashed line."""
    left, top, right, bottom = box
    low, high = span
    heights = bottom - (scores - low) / (high - low) * (bottom - top)
    level = bottom - (usual - low) / (high - low) * (bottom - top)
    scale = 4
    layer = Image.new("L", ((right - left) * scale, (bottom - top) * scale))
    pen = ImageDraw.Draw(layer)
    fill = Image.new("L", layer.size)
    filler = ImageDraw.Draw(fill)
    for run in _runs(heights):
        points = [((x + half) * scale, (heights[x] - top) * scale) for x in run for half in (0, 1)]
        filler.polygon([(points[0][0], layer.height), *points, (points[-1][0], layer.height)], fill=70)
        pen.line(points, fill=255, width=2 * scale, joint="curve")
    for mask, colour in ((fill, COOL), (layer, COOL)):
        small = mask.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        canvas.paste(Image.new("RGB", small.size, colour), (left, top), small)
    dashes = ImageDraw.Draw(canvas)
    for x in range(left, right, 10):
        dashes.line((x, level, min(x + 4, right), level), fill=INK, width=1)


def _runs(heights: NDArray[np.float64]) -> list[list[int]]:
    """Return the stretches of columns in which there are scores."""
    known = np.flatnonzero(np.isfinite(heights))
    cuts = np.flatnonzero(np.diff(known) > 1) + 1
    return [part.tolist() for part in np.split(known, cuts) if part.size]


def bracket(canvas: Image.Image, times: Times, span: tuple[float, float], *, top: int, bottom: int) -> None:
    """Mark a stretch of time from top to bottom."""
    left, right = times.x(span[0]), times.x(span[1])
    if right - left < 4:
        left, right = (left + right) / 2 - 2, (left + right) / 2 + 2
    left, right = max(left, times.left), min(right, times.right - 1)
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((left, top, right, bottom), radius=3, outline=WARM, width=2)


def seconds(canvas: Image.Image, times: Times, *, y: int) -> None:
    """Write an axis of times below `y`."""
    pen, font = ImageDraw.Draw(canvas), letters(15)
    step = _step(times.end - times.start, (times.right - times.left) / 90)
    first = math.ceil(times.start / step - 1e-9)
    for number in range(first, math.floor(times.end / step + 1e-9) + 1):
        x = times.x(number * step)
        pen.line((x, y + 2, x, y + 7), fill=INK, width=1)
        words = _clock(number * step, tenths=step < 1)
        room = pen.textlength(words, font=font) / 2
        pen.text((min(max(x, room + 2), canvas.width - room - 2), y + 10), words, fill=INK, font=font, anchor="ma")


def _clock(time: float, *, tenths: bool) -> str:
    whole, rest = divmod(round(time * 10), 10)
    hours, minutes, last = whole // 3600, whole // 60 % 60, whole % 60
    words = f"{hours}:{minutes:02d}:{last:02d}" if hours else f"{minutes}:{last:02d}"
    return f"{words}.{rest}" if tenths else words


def _step(length: float, most: float) -> float:
    """Return a round number of seconds of which at most so many fit in."""
    for step in (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 36000):
        if length / step <= most:
            return float(step)
    return 86400.0


def pitches(canvas: Image.Image, box: Box, places: Iterable[tuple[float, str]]) -> None:
    """Write pitches at the left of a spectrogram, each at its share of the height from below."""
    pen, font = ImageDraw.Draw(canvas), letters(13)
    left, top, _, bottom = box
    for share, words in places:
        y = bottom - share * (bottom - top)
        pen.line((left - 6, y, left - 2, y), fill=INK, width=1)
        pen.text((left - 10, y), words, fill=INK, font=font, anchor="rm")


def letters(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the letters that come with Pillow."""
    return ImageFont.load_default(size=size)
