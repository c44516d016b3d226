"""Plot observed against expected shares of hits on logarithmic axes, for evalue_calibration.py."""

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

from plot_growth import COLOURS, GRID_COLOUR, TEXT_COLOUR, Scale

SUPERSAMPLING = 3
"""The plot is drawn this many times larger and then reduced, for smooth lines."""
WIDTH, HEIGHT = SUPERSAMPLING * 820, SUPERSAMPLING * 640
LEFT, RIGHT, TOP, BOTTOM = SUPERSAMPLING * 92, SUPERSAMPLING * 28, SUPERSAMPLING * 62, SUPERSAMPLING * 74
MIN_EVALUE, MAX_EVALUE = 1e-3, 10.0
"""Range of the horizontal axis."""
MIN_SHARE = 1e-3
"""Lower end of the vertical axis: one of a thousand queries."""
POINTS = 240
BAND_COLOUR, IDEAL_COLOUR = "#e8f1e6", "#7d9a76"
FONT_SIZE, TITLE_SIZE, PIXEL = SUPERSAMPLING * 15, SUPERSAMPLING * 18, SUPERSAMPLING
EXTRA_COLOURS = ("#b3263a", "#5c6670")
TITLE = "Unrelated queries: share with a hit at this E-value"

Values: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """The E-values of the first hits of many unrelated queries, in one library."""

    name: str
    values: Values


def plot(series: Sequence[Series], file: Path, *, factor: float) -> None:
    """Plot the share of queries with a hit at an E-value against that E-value, a line for each library.

    The ideal line is 1 - exp(-E-value); deviations of up to `factor`, either way, are shaded.
    """
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    chart = Chart(ImageDraw.Draw(picture))
    evalues = np.geomspace(MIN_EVALUE, MAX_EVALUE, POINTS)
    ideal = 1 - np.exp(-evalues)
    chart.band(evalues, (ideal / factor).clip(MIN_SHARE, 1), (ideal * factor).clip(MIN_SHARE, 1))
    chart.frame()
    chart.line(evalues, ideal, IDEAL_COLOUR)
    coloured = list(zip((*COLOURS, *EXTRA_COLOURS), series, strict=False))
    for colour, each in coloured:
        observed = np.searchsorted(np.sort(each.values), evalues, side="right") / len(each.values)
        chart.line(evalues, observed, colour)
    chart.legend(coloured)
    small = picture.resize((WIDTH // SUPERSAMPLING, HEIGHT // SUPERSAMPLING), Image.Resampling.LANCZOS)
    small.quantize(128).save(file, optimize=True)


class Chart:
    """Shares against E-values, both axes logarithmic."""

    def __init__(self, pen: ImageDraw.ImageDraw) -> None:
        self._pen = pen
        self._across = Scale(-3, 1, LEFT, WIDTH - RIGHT)
        self._up = Scale(-3, 0, HEIGHT - BOTTOM, TOP)
        self._font, self._title_font = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(TITLE_SIZE)

    def band(self, evalues: Values, lower: Values, upper: Values) -> None:
        """Shade the area between two lines."""
        outline = [*self._points(evalues, upper), *reversed(self._points(evalues, lower))]
        self._pen.polygon(outline, fill=BAND_COLOUR)

    def line(self, evalues: Values, shares: Values, colour: str) -> None:
        """Draw the part of a line that lies within the vertical axis."""
        shown = shares >= MIN_SHARE
        points = self._points(evalues[shown], shares[shown])
        if len(points) > 1:
            self._pen.line(points, colour, 2 * PIXEL, joint="curve")

    def _points(self, evalues: Values, shares: Values) -> list[tuple[float, float]]:
        pairs = zip(evalues.tolist(), shares.tolist(), strict=True)
        return [(self._across.at(value), self._up.at(share)) for value, share in pairs]

    def frame(self) -> None:
        """Draw grid, axis labels and title."""
        bottom, top, left, right = HEIGHT - BOTTOM, TOP, LEFT, WIDTH - RIGHT
        for value in self._across.decades:
            place = self._across.at(value)
            self._pen.line([(place, top), (place, bottom)], GRID_COLOUR, PIXEL)
            self._write((place, bottom + 8 * PIXEL), f"{value:g}", "ma")
        for value in self._up.decades:
            place = self._up.at(value)
            self._pen.line([(left, place), (right, place)], GRID_COLOUR, PIXEL)
            self._write((left - 10 * PIXEL, place), f"{value:.1%}".replace(".0%", "%"), "rm")
        self._pen.rectangle([left, top, right, bottom], outline=TEXT_COLOUR, width=PIXEL)
        self._write(((left + right) / 2, HEIGHT - 22 * PIXEL), "E-value (expect) of the first hit", "mm")
        self._pen.text((left, 14 * PIXEL), TITLE, TEXT_COLOUR, self._title_font, anchor="la")
        self._write((left, 38 * PIXEL), "green line: ideal; shaded: within a factor of three", "la")

    def legend(self, coloured: Sequence[tuple[str, Series]]) -> None:
        """Name the lines, with the share of hits at 0.01 of each library."""
        height, gap = 22 * PIXEL, 12 * PIXEL
        left, top = WIDTH - RIGHT - 260 * PIXEL, HEIGHT - BOTTOM - 20 * PIXEL - height * len(coloured)
        box = [left - gap, top - gap, WIDTH - RIGHT - gap, top + height * len(coloured)]
        self._pen.rectangle(box, fill="white", outline=GRID_COLOUR, width=PIXEL)
        for row, (colour, each) in enumerate(coloured):
            middle = top + height * row + 6 * PIXEL
            self._pen.line([(left, middle), (left + 26 * PIXEL, middle)], colour, 3 * PIXEL)
            share = float((each.values <= 0.01).mean())
            self._write((left + 36 * PIXEL, middle), f"{each.name}: {share:.1%} at 0.01", "lm")

    def _write(self, place: tuple[float, float], text: str, anchor: str) -> None:
        self._pen.text(place, text, TEXT_COLOUR, self._font, anchor=anchor)
