"""A confusion matrix as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bindsearch.errors import BadQuery
from bindsearch.evaluation.tasks import Confusion

WIDEST, LARGEST, READABLE = 1200, 22, 8
"""Of the matrix and of its cells, in pixels; in smaller cells names have no room."""
MARGIN = 12
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
PAPER, INK, LINE = (255, 255, 255), (30, 30, 30), (225, 225, 225)
RIGHT, WRONG = (17, 120, 80), (200, 60, 40)
"""Full colours of the diagonal and of all else; a share of its row fades them."""


def draw(confusion: Confusion) -> Image.Image:
    """Draw truth by row and answer by column; a row without examples is left out of neither side, but empty."""
    count = len(confusion.labels)
    cell = max(1, min(LARGEST, WIDEST // count))
    named = cell >= READABLE
    font = ImageFont.load_default(size=max(8, cell * 0.7))
    room = int(max(font.getlength(label) for label in confusion.labels)) + MARGIN if named else MARGIN
    title = MARGIN * 3
    side = count * cell
    picture = Image.new("RGB", (room + side + MARGIN, title + room + side + MARGIN), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN, MARGIN // 2), _title(confusion), fill=INK, font=ImageFont.load_default(size=14))
    matrix = Image.fromarray(_colours(confusion)).resize((side, side), Image.Resampling.NEAREST)
    picture.paste(matrix, (room, title + room))
    if named:
        _name(picture, confusion.labels, (room, title + room), cell=cell, font=font)
    return picture


def save(confusion: Confusion, path: Path) -> None:
    """Write the picture. Raises `BadQuery` for a suffix that names no kind of picture, and `OSError`."""
    try:
        draw(confusion).save(path)
    except ValueError as error:
        raise BadQuery(f"{path}: {error}; call it something.png") from error


def _title(confusion: Confusion) -> str:
    right, total = int(np.trace(confusion.counts)), int(confusion.counts.sum())
    return f"{confusion.data}: {right} of {total} right. Row: what it is. Column: what it was taken for."


def _colours(confusion: Confusion) -> NDArray[np.uint8]:
    totals = np.maximum(1, confusion.counts.sum(axis=1, keepdims=True))
    share = np.sqrt(confusion.counts / totals)[..., None]  # rare mistakes stay visible
    full = np.where(np.eye(len(share), dtype=bool)[..., None], RIGHT, WRONG)
    colours: NDArray[np.uint8] = (np.asarray(PAPER) * (1 - share) + full * share).round().astype(np.uint8)
    return colours


def _name(picture: Image.Image, labels: tuple[str, ...], corner: tuple[int, int], *, cell: int, font: Font) -> None:
    """Write the labels before the rows and, turned, above the columns."""
    left, top = corner
    pen = ImageDraw.Draw(picture)
    for place, label in enumerate(labels):
        middle = top + place * cell + cell // 2
        pen.line((left, top + place * cell, left + len(labels) * cell, top + place * cell), fill=LINE)
        pen.line((left + place * cell, top, left + place * cell, top + len(labels) * cell), fill=LINE)
        pen.text((left - MARGIN // 2, middle), label, fill=INK, font=font, anchor="rm")
        turned = Image.new("RGB", (left, cell), PAPER)
        ImageDraw.Draw(turned).text((MARGIN // 2, cell // 2), label, fill=INK, font=font, anchor="lm")
        picture.paste(turned.transpose(Image.Transpose.ROTATE_90), (left + place * cell, top - left))
