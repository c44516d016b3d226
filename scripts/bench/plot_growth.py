"""Plot the rows of bench_growth.py: time, disk and memory against size, on logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PANEL_TITLES = {
    "ask_ms": "a query, ms",
    "first_ms": "the first query, ms",
    "open_ms": "open, ms",
    "build_s": "build, s",
    "add_1000_ms": "add 1,000, ms",
    "remove_1000_ms": "remove 1,000, ms",
    "file_mb": "on disk, MB",
    "rss_mb": "in memory, MB",
}
COLOURS = ("#1f5fa8", "#d1620f", "#2c8a4b", "#8a3f9e")
PANEL_WIDTH, PANEL_HEIGHT, PANELS_ACROSS = 360, 260, 4
"""Pixels, and panels side by side."""
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 34, 34
"""Margins of a panel, in pixels."""
TEXT_COLOUR, GRID_COLOUR = "#222222", "#d8d8d8"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis of whole decades, from one pixel position to another."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def of(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """Return a scale that holds some values above zero."""
        powers = [math.log10(value) for value in values]
        low = math.floor(min(powers))
        return cls(low, max(low + 1, math.ceil(max(powers))), start, end)

    def at(self, value: float) -> float:
        """Return the pixel position of a value."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def decades(self) -> list[float]:
        """The values of the grid lines."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def plot(rows: Rows, file: Path) -> None:
    """Draw a panel for each cost, with a line for each kind of index. Raises `ValueError` without rows."""
    if not rows:
        raise ValueError("there is nothing to plot: no rows")
    down = math.ceil(len(PANEL_TITLES) / PANELS_ACROSS)
    picture = Image.new("RGB", (PANELS_ACROSS * PANEL_WIDTH, down * PANEL_HEIGHT), "white")
    for place, column in enumerate(PANEL_TITLES):
        panel = Image.new("RGB", (PANEL_WIDTH, PANEL_HEIGHT), "white")
        _draw(ImageDraw.Draw(panel), rows, column, legend=place == 0)
        picture.paste(panel, (place % PANELS_ACROSS * PANEL_WIDTH, place // PANELS_ACROSS * PANEL_HEIGHT))
    picture.save(file, optimize=True)


def _draw(draw: ImageDraw.ImageDraw, rows: Rows, column: str, *, legend: bool) -> None:
    font = ImageFont.load_default(12)
    measured = [row for row in rows if row[column] > 0]  # a logarithmic axis has no place for zero
    draw.text((LEFT, 8), PANEL_TITLES[column], fill=TEXT_COLOUR, font=ImageFont.load_default(14))
    if not measured:
        return
    x = Scale.of((row["n"] for row in measured), LEFT, PANEL_WIDTH - RIGHT)
    y = Scale.of((row[column] for row in measured), PANEL_HEIGHT - BOTTOM, TOP)
    for value in x.decades:
        draw.line([(x.at(value), TOP), (x.at(value), PANEL_HEIGHT - BOTTOM)], fill=GRID_COLOUR)
        draw.text(
            (x.at(value), PANEL_HEIGHT - BOTTOM + 6), _short_number(value), fill=TEXT_COLOUR, font=font, anchor="ma"
        )
    for value in y.decades:
        draw.line([(LEFT, y.at(value)), (PANEL_WIDTH - RIGHT, y.at(value))], fill=GRID_COLOUR)
        draw.text((LEFT - 6, y.at(value)), _short_number(value), fill=TEXT_COLOUR, font=font, anchor="rm")
    for place, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        colour = COLOURS[place % len(COLOURS)]
        points = sorted((x.at(row["n"]), y.at(row[column])) for row in measured if row["kind"] == kind)
        draw.line(points, fill=colour, width=2)
        for across, up in points:
            draw.ellipse([across - 3, up - 3, across + 3, up + 3], fill=colour)
        if legend:
            draw.text((LEFT + 10, TOP + 6 + 16 * place), kind, fill=colour, font=font)


def _short_number(value: float) -> str:
    """Return a power of ten with a unit: 10 k, 1 M."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g}"
