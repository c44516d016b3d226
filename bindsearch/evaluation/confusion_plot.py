"""Draws a confusion matrix as an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bindsearch.errors import BadQuery
from bindsearch.evaluation.tasks import Confusion

MAX_MATRIX_PIXELS, MAX_CELL_PIXELS, MIN_LABELLED_CELL_PIXELS = 1200, 22, 8
"""Smaller cells have no room for labels."""
MARGIN_PIXELS = 12
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
BACKGROUND, INK, LINE = (255, 255, 255), (30, 30, 30), (225, 225, 225)
CORRECT, WRONG = (17, 120, 80), (200, 60, 40)
"""Colours of the diagonal and of the other cells, for a share of 1 of their row; smaller shares are paler."""


def draw(confusion: Confusion) -> Image.Image:
    """Draw the true labels as rows and the predicted ones as columns; the row of a label without examples is empty."""
    count = len(confusion.labels)
    cell = max(1, min(MAX_CELL_PIXELS, MAX_MATRIX_PIXELS // count))
    named = cell >= MIN_LABELLED_CELL_PIXELS
    font = ImageFont.load_default(size=max(8, cell * 0.7))
    label_width = (
        int(max(font.getlength(label) for label in confusion.labels)) + MARGIN_PIXELS if named else MARGIN_PIXELS
    )
    title = MARGIN_PIXELS * 3
    side = count * cell
    picture = Image.new(
        "RGB", (label_width + side + MARGIN_PIXELS, title + label_width + side + MARGIN_PIXELS), BACKGROUND
    )
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN_PIXELS, MARGIN_PIXELS // 2), _title(confusion), fill=INK, font=ImageFont.load_default(size=14))
    matrix = Image.fromarray(_colours(confusion)).resize((side, side), Image.Resampling.NEAREST)
    picture.paste(matrix, (label_width, title + label_width))
    if named:
        _draw_labels(picture, confusion.labels, (label_width, title + label_width), cell=cell, font=font)
    return picture


def save(confusion: Confusion, path: Path) -> None:
    """Write the plot. Raises `BadQuery` if the suffix is of no image format, and `OSError`."""
    try:
        draw(confusion).save(path)
    except ValueError as error:
        raise BadQuery(f"{path}: {error}; use a name that ends with .png") from error


def _title(confusion: Confusion) -> str:
    correct, total = int(np.trace(confusion.counts)), int(confusion.counts.sum())
    return f"{confusion.data}: {correct} of {total} correct. Rows: true labels. Columns: predicted labels."


def _colours(confusion: Confusion) -> NDArray[np.uint8]:
    totals = np.maximum(1, confusion.counts.sum(axis=1, keepdims=True))
    share = np.sqrt(confusion.counts / totals)[..., None]  # the square root keeps rare mistakes visible
    full = np.where(np.eye(len(share), dtype=bool)[..., None], CORRECT, WRONG)
    colours: NDArray[np.uint8] = (np.asarray(BACKGROUND) * (1 - share) + full * share).round().astype(np.uint8)
    return colours


def _draw_labels(
    picture: Image.Image, labels: tuple[str, ...], corner: tuple[int, int], *, cell: int, font: Font
) -> None:
    """Write the labels left of the rows and, rotated, above the columns."""
    left, top = corner
    pen = ImageDraw.Draw(picture)
    for place, label in enumerate(labels):
        middle = top + place * cell + cell // 2
        pen.line((left, top + place * cell, left + len(labels) * cell, top + place * cell), fill=LINE)
        pen.line((left + place * cell, top, left + place * cell, top + len(labels) * cell), fill=LINE)
        pen.text((left - MARGIN_PIXELS // 2, middle), label, fill=INK, font=font, anchor="rm")
        rotated = Image.new("RGB", (left, cell), BACKGROUND)
        ImageDraw.Draw(rotated).text((MARGIN_PIXELS // 2, cell // 2), label, fill=INK, font=font, anchor="lm")
        picture.paste(rotated.transpose(Image.Transpose.ROTATE_90), (left + place * cell, top - left))
