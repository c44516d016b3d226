"""Draw what growth costs, from the rows that bench_growth.py writes: time and room against size, both by decades."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

PANELS = {
    "ask_ms": "a question, ms",
    "first_ms": "the first question, ms",
    "open_ms": "open, ms",
    "build_s": "build, s",
    "add_1000_ms": "add 1,000, ms",
    "remove_1000_ms": "remove 1,000, ms",
    "file_mb": "on disk, MB",
    "rss_mb": "in memory, MB",
}
COLOURS = ("#1f5fa8", "#d1620f", "#2c8a4b", "#8a3f9e")
WIDTH, HEIGHT, ACROSS = 360, 260, 4
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 34, 34
INK, PALE = "#222222", "#d8d8d8"

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Scale:
    """Values by decades, from pixel to pixel."""

    low: int
    high: int
    start: float
    end: float

    @classmethod
    def of(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """Return a scale of whole decades that holds some values above zero."""
        powers = [math.log10(value) for value in values]
        low = math.floor(min(powers))
        return cls(low, max(low + 1, math.ceil(max(powers))), start, end)

    def at(self, value: float) -> float:
        """Return where a value lies."""
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    @property
    def decades(self) -> list[float]:
        """The values at which lines are drawn."""
        return [10.0**power for power in range(self.low, self.high + 1)]


def plot(rows: Rows, file: Path) -> None:
    """Draw a panel for each cost, with a line for each kind of index. Raises `ValueError` where there are no rows."""
    if not rows:
        raise ValueError("there is nothing to plot: no rows")
    down = math.ceil(len(PANELS) / ACROSS)
    picture = Image.new("RGB", (ACROSS * WIDTH, down * HEIGHT), "white")
    for place, column in enumerate(PANELS):
        panel = Image.new("RGB", (WIDTH, HEIGHT), "white")
        _draw(ImageDraw.Draw(panel), rows, column, legend=place == 0)
        picture.paste(panel, (place % ACROSS * WIDTH, place // ACROSS * HEIGHT))
    picture.save(file, optimize=True)


def _draw(draw: ImageDraw.ImageDraw, rows: Rows, column: str, *, legend: bool) -> None:
    font = ImageFont.load_default(12)
    measured = [row for row in rows if row[column] > 0]  # what rounds to nothing has no place among decades
    draw.text((LEFT, 8), PANELS[column], fill=INK, font=ImageFont.load_default(14))
    if not measured:
        return
    x = Scale.of((row["n"] for row in measured), LEFT, WIDTH - RIGHT)
    y = Scale.of((row[column] for row in measured), HEIGHT - BOTTOM, TOP)
    for value in x.decades:
        draw.line([(x.at(value), TOP), (x.at(value), HEIGHT - BOTTOM)], fill=PALE)
        draw.text((x.at(value), HEIGHT - BOTTOM + 6), _told(value), fill=INK, font=font, anchor="ma")
    for value in y.decades:
        draw.line([(LEFT, y.at(value)), (WIDTH - RIGHT, y.at(value))], fill=PALE)
        draw.text((LEFT - 6, y.at(value)), _told(value), fill=INK, font=font, anchor="rm")
    for place, kind in enumerate(dict.fromkeys(row["kind"] for row in rows)):
        colour = COLOURS[place % len(COLOURS)]
        points = sorted((x.at(row["n"]), y.at(row[column])) for row in measured if row["kind"] == kind)
        draw.line(points, fill=colour, width=2)
        for across, up in points:
            draw.ellipse([across - 3, up - 3, across + 3, up + 3], fill=colour)
        if legend:
            draw.text((LEFT + 10, TOP + 6 + 16 * place), kind, fill=colour, font=font)


def _told(value: float) -> str:
    """Say a power of ten shortly."""
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g}"
