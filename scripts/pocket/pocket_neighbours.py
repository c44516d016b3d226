"""Draws what sounds find among photos, in words: the photos themselves are not this project's to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

NAME, WIDE, HIGH, TOP, GAP = 150, 132, 34, 58, 4
"""Of the column of names, and of one photo's place, in pixels."""
PAPER, INK = (255, 255, 255), (30, 30, 30)
SHOWS, NOT = (205, 235, 218), (246, 228, 222)


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A photo that a sound found: what it shows in a word or two, and whether that is what is heard."""

    shows: str
    right: bool


def draw(rows: Sequence[tuple[str, Sequence[ScannedFile]]], title: str, file: Path) -> None:
    """Draw a row for each sound, nearest photo first."""
    count = max(len(found) for _, found in rows)
    picture = Image.new("RGB", (NAME + count * (WIDE + GAP) + GAP, TOP + len(rows) * (HIGH + GAP) + GAP), PAPER)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    pen.text((12, 8), title, fill=INK, font=ImageFont.load_default(14))
    pen.text((NAME - 10, TOP - 8), "heard", fill=INK, font=font, anchor="rs")
    for place in range(count):
        pen.text((NAME + place * (WIDE + GAP) + WIDE // 2, TOP - 8), f"{place + 1}", fill=INK, font=font, anchor="ms")
    for line, (heard, found) in enumerate(rows):
        top = TOP + line * (HIGH + GAP)
        pen.text((NAME - 10, top + HIGH // 2), heard, fill=INK, font=font, anchor="rm")
        for place, photo in enumerate(found):
            left = NAME + place * (WIDE + GAP)
            pen.rectangle((left, top, left + WIDE, top + HIGH), fill=SHOWS if photo.right else NOT)
            pen.text((left + WIDE // 2, top + HIGH // 2), _cut(photo.shows, font), fill=INK, font=font, anchor="mm")
    picture.save(file, optimize=True)


def _cut(words: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of the words as has room."""
    if font.getlength(words) <= WIDE - 8:
        return words
    while words and font.getlength(words + "…") > WIDE - 8:
        words = words[:-1]
    return words.rstrip() + "…"
