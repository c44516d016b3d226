"""The brushes of the sample pictures: gradients, smooth noise, glows, ridges, shapes.

A painting is an array of floats from 0 to 1. *Shape:* (3, height, width). Positions are fractions of the canvas.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFilter

Floats = NDArray[Any]
"""Of 32 bits, because paintings are large. A cover, the opacity of paint from 0 to 1, may also hold bools."""
Point = tuple[float, float]
WIDTH, HEIGHT = 480, 320
OVERSAMPLING = 2
"""Paintings are larger than the pictures by this factor, so that edges come out soft."""
SIZE = (WIDTH * OVERSAMPLING, HEIGHT * OVERSAMPLING)
X, Y = np.meshgrid(np.linspace(0, 1, SIZE[0], dtype=np.float32), np.linspace(0, 1, SIZE[1], dtype=np.float32))
ASPECT = WIDTH / HEIGHT


def rgb(colour: str) -> Floats:
    """Return the RGB components of a colour in Pillow's notation. *Shape:* (3, 1, 1)"""
    return np.array(ImageColor.getrgb(colour)[:3], dtype=np.float32).reshape(3, 1, 1) / 255


def plain(colour: str) -> Floats:
    """Paint everything in one colour."""
    return np.tile(rgb(colour), Y.shape)


def gradient(*stops: tuple[float, str]) -> Floats:
    """Paint a vertical gradient through colours at given heights."""
    heights = [height for height, _ in stops]
    parts = np.stack([rgb(colour).ravel() for _, colour in stops], axis=1)
    columns = np.array([np.interp(Y[:, 0], heights, part) for part in parts], dtype=np.float32)
    return np.repeat(columns[:, :, None], SIZE[0], axis=2)


def over(painting: Floats, colour: str | Floats, cover: Floats) -> Floats:
    """Blend a colour or another painting over a painting, with the opacity `cover` of each pixel."""
    paint = rgb(colour) if isinstance(colour, str) else colour
    return np.asarray(painting + (paint - painting) * np.clip(cover, 0, 1))


def glow(painting: Floats, at: Point, colour: str, *, radius: float, strength: float = 1.0) -> Floats:
    """Add light around a position."""
    distance = np.hypot((X - at[0]) * ASPECT, Y - at[1]) / radius
    light = strength * np.exp(-(distance**2)) * rgb(colour)
    return np.asarray(1 - (1 - painting) * (1 - np.clip(light, 0, 1)))


def disc(at: Point, radius: float) -> Floats:
    """Return the cover of a disc with a slightly soft edge."""
    distance = np.hypot((X - at[0]) * ASPECT, Y - at[1])
    return np.asarray(np.clip((radius - distance) * HEIGHT * OVERSAMPLING / 2 + 0.5, 0, 1))


def clouds(rng: Generator, *, cells: Point = (3, 2), octaves: int = 5) -> Floats:
    """Return smooth noise from 0 to 1: `cells` across and down, with finer octaves added."""
    total: Floats = np.zeros_like(Y)
    for octave in range(octaves):
        shape = (round(cells[1] * 2**octave) + 2, round(cells[0] * 2**octave) + 2)
        coarse = Image.fromarray(rng.random(shape).astype(np.float32))
        total += np.asarray(coarse.resize(SIZE, Image.Resampling.BICUBIC)) / 2**octave
    total -= total.min()
    return np.asarray(total / total.max())


def ridge(rng: Generator, *, base: float, height: float, peaks: float = 3, roughness: float = 0.5) -> Floats:
    """Return the cover of the land below a random skyline."""
    places = np.linspace(0, 1, SIZE[0])
    line = np.zeros(SIZE[0])
    for octave in range(6):
        count = round(peaks * 2**octave) + 2
        line += np.interp(places, np.linspace(0, 1, count), rng.random(count)) * roughness**octave
    line = (line - line.min()) / np.ptp(line)
    land: Floats = (Y - (base - height * line)) * HEIGHT * OVERSAMPLING / 2
    return np.clip(land.astype(np.float32), 0, 1)


def polygons(shapes: Iterable[Sequence[Point]]) -> Floats:
    """Return the cover of some polygons."""
    mask = Image.new("L", SIZE, 0)
    pen = ImageDraw.Draw(mask)
    for shape in shapes:
        pen.polygon(_pixels(*shape), fill=255)
    return np.asarray(mask, dtype=np.float32) / 255


def drawn(lines: Iterable[Sequence[Point]], *, width: int) -> Floats:
    """Return the cover of some lines; `width` is in pixels of the painting."""
    mask = Image.new("L", SIZE, 0)
    pen = ImageDraw.Draw(mask)
    for line in lines:
        pen.line(_pixels(*line), fill=255, width=width)
    return np.asarray(mask, dtype=np.float32) / 255


def painted(painting: Floats, shapes: Iterable[tuple[str, Sequence[Point]]]) -> Floats:
    """Paint polygons over each other, each in its colour."""
    image = _image(painting)
    pen = ImageDraw.Draw(image)
    for colour, outline in shapes:
        pen.polygon(_pixels(*outline), fill=colour)
    return np.moveaxis(np.asarray(image, dtype=np.float32) / 255, 2, 0)


def circle(at: Point, radius: float) -> list[Point]:
    """Return the outline of a disc."""
    angles = np.arange(24) * np.pi / 12
    return [(at[0] + radius * np.cos(angle) / ASPECT, at[1] + radius * np.sin(angle)) for angle in angles]


def petals(at: Point, length: float, *, count: int, width: float = 0.35, turn: float = 0.0) -> list[list[Point]]:
    """Return the outlines of a blossom's petals; `width` is that of a petal, as a share of its length."""
    along = np.linspace(0, 2 * np.pi, 25)
    radial, across = (1 - np.cos(along)) / 2, np.sin(along) * width / 2
    outlines = []
    for angle in turn + np.arange(count) * 2 * np.pi / count:
        x = (radial * np.cos(angle) - across * np.sin(angle)) * length / ASPECT + at[0]
        y = (radial * np.sin(angle) + across * np.cos(angle)) * length + at[1]
        outlines.append(list(zip(x.tolist(), y.tolist(), strict=True)))
    return outlines


def blurred(cover: Floats, radius: float) -> Floats:
    """Blur a cover; `radius` is in pixels of the finished picture."""
    image = Image.fromarray((np.clip(cover, 0, 1) * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius * OVERSAMPLING)), dtype=np.float32) / 255


def finished(painting: Floats, rng: Generator | None = None, *, speckle: float = 0.012) -> Image.Image:
    """Return the finished picture, with a little camera noise if `rng` is given."""
    small = _image(painting).resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    if rng is None:
        return small
    noisy = np.asarray(small) / 255 + speckle * rng.standard_normal((HEIGHT, WIDTH, 1))
    return Image.fromarray((np.clip(noisy, 0, 1) * 255).astype(np.uint8))


def _image(painting: Floats) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray((np.clip(painting, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)))


def _pixels(*points: Point) -> list[Point]:
    return [(x * SIZE[0], y * SIZE[1]) for x, y in points]
