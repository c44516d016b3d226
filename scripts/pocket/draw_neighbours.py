"""Draw a table of the photos that sounds find, in words: the photos may not be published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

NAME_WIDTH, CELL_WIDTH, CELL_HEIGHT, TOP, GAP = 150, 132, 34, 58, 4
"""Pixels: the column of names, the cell of a photo, the title, the space between cells."""
PAPER, INK = (255, 255, 255), (30, 30, 30)
RELEVANT_COLOUR, IRRELEVANT_COLOUR = (205, 235, 218), (246, 228, 222)


@dataclass(frozen=True, slots=True)
class FoundPhoto:
    """A photo that a sound found: what it shows, in a word or two, and whether that is what makes the sound."""

    caption: str
    relevant: bool


def draw(rows: Sequence[tuple[str, Sequence[FoundPhoto]]], title: str, file: Path) -> None:
    """Draw a row for each sound, nearest photo first."""
    count = max(len(found) for _, found in rows)
    width, height = NAME_WIDTH + count * (CELL_WIDTH + GAP) + GAP, TOP + len(rows) * (CELL_HEIGHT + GAP) + GAP
    image = Image.new("RGB", (width, height), PAPER)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.text((12, 8), title, fill=INK, font=ImageFont.load_default(14))
    pen.text((NAME_WIDTH - 10, TOP - 8), "sound of", fill=INK, font=font, anchor="rs")
    for column in range(count):
        centre = NAME_WIDTH + column * (CELL_WIDTH + GAP) + CELL_WIDTH // 2
        pen.text((centre, TOP - 8), f"{column + 1}", fill=INK, font=font, anchor="ms")
    for row, (name, found) in enumerate(rows):
        top = TOP + row * (CELL_HEIGHT + GAP)
        middle = top + CELL_HEIGHT // 2
        pen.text((NAME_WIDTH - 10, middle), name, fill=INK, font=font, anchor="rm")
        for column, photo in enumerate(found):
            left = NAME_WIDTH + column * (CELL_WIDTH + GAP)
            fill = RELEVANT_COLOUR if photo.relevant else IRRELEVANT_COLOUR
            pen.rectangle((left, top, left + CELL_WIDTH, top + CELL_HEIGHT), fill=fill)
            caption = _shorten(photo.caption, font)
            pen.text((left + CELL_WIDTH // 2, middle), caption, fill=INK, font=font, anchor="mm")
    image.save(file, optimize=True)


def _shorten(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut words to the width of a cell."""
    if font.getlength(words) <= CELL_WIDTH - 8:
        return words
    while words and font.getlength(words + "…") > CELL_WIDTH - 8:
        words = words[:-1]
    return words.rstrip() + "…"
