"""Draw what was expected against what was observed, both by decades, as `trial_expect.py` finds it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from plot_growth import COLOURS, INK, PALE, Scale

FINE = 3
"""It is drawn so many times larger, and made smaller: lines are smooth then."""
WIDTH, HEIGHT = FINE * 820, FINE * 640
LEFT, RIGHT, TOP, BOTTOM = FINE * 92, FINE * 28, FINE * 62, FINE * 74
LOW, HIGH = 1e-3, 10.0
"""Expectations that are drawn..."""
LEAST = 1e-3
"""...and the smallest share, of a thousand questions."""
POINTS = 240
BAND, IDEAL = "#e8f1e6", "#7d9a76"
SIZE, LARGE, HAIR = FINE * 15, FINE * 18, FINE
MORE = ("#b3263a", "#5c6670")


@dataclass(frozen=True, slots=True)
class Series:
    """The expectations of the first hits of many unrelated questions, in one library."""

    name: str
    values: NDArray[np.float64]


def plot(series: Sequence[Series], file: Path, *, factor: float) -> None:
    """Draw, for each library, the share of questions that have a hit at an expectation, against that expectation.

    The line of honesty is 1 - exp(-expectation); up to `factor` off it, either way, is shaded.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    across = Scale(-3, 1, LEFT, WIDTH - RIGHT)
    up = Scale(-3, 0, HEIGHT - BOTTOM, TOP)
    expectations = np.geomspace(LOW, HIGH, POINTS)
    honest = 1 - np.exp(-expectations)
    _band(pen, across, up, expectations, honest, factor)
    _frame(pen, across, up)
    _line(pen, across, up, expectations, honest, IDEAL, 2 * HAIR)
    for colour, each in zip((*COLOURS, *MORE), series, strict=False):
        observed = np.searchsorted(np.sort(each.values), expectations, side="right") / len(each.values)
        _line(pen, across, up, expectations, observed, colour, 2 * HAIR)
    _legend(pen, series)
    small = picture.resize((WIDTH // FINE, HEIGHT // FINE), Image.Resampling.LANCZOS)
    small.quantize(128).save(file, optimize=True)


def _band(
    pen: ImageDraw.ImageDraw,
    across: Scale,
    up: Scale,
    expectations: NDArray[np.float64],
    honest: NDArray[np.float64],
    factor: float,
) -> None:
    places = [across.at(value) for value in expectations]
    upper = [up.at(min(1.0, value * factor)) for value in honest]
    lower = [up.at(max(LEAST, value / factor)) for value in honest]
    pen.polygon([*zip(places, upper, strict=True), *reversed([*zip(places, lower, strict=True)])], fill=BAND)


def _frame(pen: ImageDraw.ImageDraw, across: Scale, up: Scale) -> None:
    small, large = ImageFont.load_default(SIZE), ImageFont.load_default(LARGE)
    bottom, top, left, right = HEIGHT - BOTTOM, TOP, LEFT, WIDTH - RIGHT
    for value in across.decades:
        pen.line([(across.at(value), top), (across.at(value), bottom)], PALE, HAIR)
        pen.text((across.at(value), bottom + 8 * HAIR), f"{value:g}", INK, small, anchor="ma")
    for value in up.decades:
        pen.line([(left, up.at(value)), (right, up.at(value))], PALE, HAIR)
        pen.text((left - 10 * HAIR, up.at(value)), f"{value:.1%}".replace(".0%", "%"), INK, small, anchor="rm")
    pen.rectangle([left, top, right, bottom], outline=INK, width=HAIR)
    pen.text(
        ((left + right) / 2, HEIGHT - 22 * HAIR), "expect of the first hit, as it is shown", INK, small, anchor="mm"
    )
    pen.text(
        (left, 14 * HAIR), "Unrelated questions: share of those that have a hit at this expect", INK, large, anchor="la"
    )
    pen.text(
        (left, 38 * HAIR), "green line: what the word promises; shaded: up to three times off", INK, small, anchor="la"
    )


def _line(
    pen: ImageDraw.ImageDraw,
    across: Scale,
    up: Scale,
    expectations: NDArray[np.float64],
    observed: NDArray[np.float64],
    colour: str,
    width: int,
) -> None:
    points = [
        (across.at(value), up.at(share))
        for value, share in zip(expectations.tolist(), observed.tolist(), strict=True)
        if share >= LEAST and not math.isclose(share, 0)
    ]
    if len(points) > 1:
        pen.line(points, colour, width, joint="curve")


def _legend(pen: ImageDraw.ImageDraw, series: Sequence[Series]) -> None:
    small = ImageFont.load_default(SIZE)
    height, gap = 22 * HAIR, 12 * HAIR
    left, top = WIDTH - RIGHT - 260 * HAIR, HEIGHT - BOTTOM - 20 * HAIR - height * len(series)
    box = [left - gap, top - gap, WIDTH - RIGHT - gap, top + height * len(series)]
    pen.rectangle(box, fill="white", outline=PALE, width=HAIR)
    for row, (colour, each) in enumerate(zip((*COLOURS, *MORE), series, strict=False)):
        middle = top + height * row + 6 * HAIR
        pen.line([(left, middle), (left + 26 * HAIR, middle)], colour, 3 * HAIR)
        share = float((each.values <= 0.01).mean())
        pen.text((left + 36 * HAIR, middle), f"{each.name}: {share:.1%} at 0.01", INK, small, anchor="lm")
