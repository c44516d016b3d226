"""Draw what was expected against what was observed, both by decades, as `trial_expect.py` finds it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

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
TITLE = "Unrelated questions: share of those that have a hit at this expect"

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """The expectations of the first hits of many unrelated questions, in one library."""

    name: str
    values: Values


def plot(series: Sequence[Series], file: Path, *, factor: float) -> None:
    """Draw, for each library, the share of questions that have a hit at an expectation, against that expectation.

    The line of honesty is 1 - exp(-expectation); up to `factor` off it, either way, is shaded.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    chart = Chart(ImageDraw.Draw(picture))
    expectations = np.geomspace(LOW, HIGH, POINTS)
    honest = 1 - np.exp(-expectations)
    chart.band(expectations, (honest / factor).clip(LEAST, 1), (honest * factor).clip(LEAST, 1))
    chart.frame()
    chart.line(expectations, honest, IDEAL)
    coloured = list(zip((*COLOURS, *MORE), series, strict=False))
    for colour, each in coloured:
        observed = np.searchsorted(np.sort(each.values), expectations, side="right") / len(each.values)
        chart.line(expectations, observed, colour)
    chart.legend(coloured)
    small = picture.resize((WIDTH // FINE, HEIGHT // FINE), Image.Resampling.LANCZOS)
    small.quantize(128).save(file, optimize=True)


class Chart:
    """Shares against expectations, both by decades."""

    def __init__(self, pen: ImageDraw.ImageDraw) -> None:
        self._pen = pen
        self._across = Scale(-3, 1, LEFT, WIDTH - RIGHT)
        self._up = Scale(-3, 0, HEIGHT - BOTTOM, TOP)
        self._small, self._large = ImageFont.load_default(SIZE), ImageFont.load_default(LARGE)

    def band(self, expectations: Values, lower: Values, upper: Values) -> None:
        """Shade what lies between two lines."""
        outline = [*self._points(expectations, upper), *reversed(self._points(expectations, lower))]
        self._pen.polygon(outline, fill=BAND)

    def line(self, expectations: Values, shares: Values, colour: str) -> None:
        """Draw a line as far as it is not below what is drawn."""
        shown = shares >= LEAST
        points = self._points(expectations[shown], shares[shown])
        if len(points) > 1:
            self._pen.line(points, colour, 2 * HAIR, joint="curve")

    def _points(self, expectations: Values, shares: Values) -> list[tuple[float, float]]:
        pairs = zip(expectations.tolist(), shares.tolist(), strict=True)
        return [(self._across.at(value), self._up.at(share)) for value, share in pairs]

    def frame(self) -> None:
        """Draw the decades, with their numbers, and say what is what."""
        bottom, top, left, right = HEIGHT - BOTTOM, TOP, LEFT, WIDTH - RIGHT
        for value in self._across.decades:
            place = self._across.at(value)
            self._pen.line([(place, top), (place, bottom)], PALE, HAIR)
            self._write((place, bottom + 8 * HAIR), f"{value:g}", "ma")
        for value in self._up.decades:
            place = self._up.at(value)
            self._pen.line([(left, place), (right, place)], PALE, HAIR)
            self._write((left - 10 * HAIR, place), f"{value:.1%}".replace(".0%", "%"), "rm")
        self._pen.rectangle([left, top, right, bottom], outline=INK, width=HAIR)
        self._write(((left + right) / 2, HEIGHT - 22 * HAIR), "expect of the first hit, as it is shown", "mm")
        self._pen.text((left, 14 * HAIR), TITLE, INK, self._large, anchor="la")
        self._write((left, 38 * HAIR), "green line: what the word promises; shaded: up to three times off", "la")

    def legend(self, coloured: Sequence[tuple[str, Series]]) -> None:
        """Name the lines, and say how often each library claims what is rare."""
        height, gap = 22 * HAIR, 12 * HAIR
        left, top = WIDTH - RIGHT - 260 * HAIR, HEIGHT - BOTTOM - 20 * HAIR - height * len(coloured)
        box = [left - gap, top - gap, WIDTH - RIGHT - gap, top + height * len(coloured)]
        self._pen.rectangle(box, fill="white", outline=PALE, width=HAIR)
        for row, (colour, each) in enumerate(coloured):
            middle = top + height * row + 6 * HAIR
            self._pen.line([(left, middle), (left + 26 * HAIR, middle)], colour, 3 * HAIR)
            share = float((each.values <= 0.01).mean())
            self._write((left + 36 * HAIR, middle), f"{each.name}: {share:.1%} at 0.01", "lm")

    def _write(self, place: tuple[float, float], text: str, anchor: str) -> None:
        self._pen.text(place, text, INK, self._small, anchor=anchor)
