"""The drawing of an explanation: which part of a file matches the query, and how well the rest of it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from bindsearch.errors import UnsupportedMedia
from bindsearch.explain import drawing
from bindsearch.explain.drawing import Bar, TimeAxis
from bindsearch.explain.image_regions import relevance_map
from bindsearch.explain.spectrogram import Spectrogram
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Segment, Vectors

MAX_SHORT_SIDE = 720
"""Pixels of the shorter side of an image, at most."""
WIDTH = 1200
"""Pixels of drawings along an axis of time."""
LEFT, RIGHT, TOP = 64, 24, 22
"""Margins in pixels."""
STRIP, CURVE, AXIS, GAP = 240, 110, 40, 12
"""Heights in pixels: spectrogram, score curve, time axis, and the space between them."""
FILM = 96
"""Height in pixels of the row of video frames."""
MAX_FRAME_HEIGHT = 600
"""Pixels of the best frame of a video, at most."""
ZOOM_FROM_SECONDS = 60.0
"""Sounds longer than this are drawn twice: whole, and enlarged around the best moment."""
ZOOM_SECONDS = 20.0
"""The length of the enlarged part."""
MATCH_SHARE = 0.6
"""A moment matches if its score is at least this far on the way from the typical score to the best."""
FREQUENCIES = {100.0: "100 Hz", 300.0: "300 Hz", 1_000.0: "1 kHz", 3_000.0: "3 kHz", 10_000.0: "10 kHz"}


@dataclass(frozen=True, slots=True)
class TypicalScores:
    """How a sample of the library scores for the query, in one modality."""

    median: float
    spread: float
    """The standard deviation."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a drawing shows: a file, the scores of its segments, and which of them is the hit's."""

    path: Path
    modality: Modality
    """Of the whole file."""
    shown: Segment
    """The segment of the hit."""
    segments: Sequence[Segment]
    scores: Sequence[float]
    vector: Vectors
    """Of the query."""
    typical_queries: Vectors
    typical: Mapping[Modality, TypicalScores]

    def bars(self, modality: Modality) -> list[Bar]:
        """Return the segments of one modality that have a place in time."""
        return [
            Bar(segment.span.start, segment.span.end, score)
            for segment, score in zip(self.segments, self.scores, strict=True)
            if segment.modality == modality and segment.span.start is not None and segment.span.end is not None
        ]

    def place(self) -> int:
        """Return the place of the hit's segment among those of its modality."""
        own = [segment.id for segment in self.segments if segment.modality == self.shown.modality]
        return own.index(self.shown.id)


def draw(evidence: Evidence, space: Space) -> Image.Image:
    """Draw the evidence for a hit. Raises `MediaError` for a text, and if the file can no longer be read."""
    if evidence.modality == Modality.TEXT:
        raise UnsupportedMedia(f"{evidence.path} is a text, which cannot be drawn: --why shows its key words")
    if evidence.modality == Modality.IMAGE:
        return _draw_image(evidence, space)
    return _draw_sound(evidence, space) if evidence.modality == Modality.AUDIO else _draw_video(evidence, space)


def _draw_image(evidence: Evidence, space: Space) -> Image.Image:
    pieces = space.pieces(evidence.path, modality=Modality.IMAGE, side=MAX_SHORT_SIDE)
    piece = next(piece for place, piece in enumerate(pieces) if place == evidence.place())
    return _highlighted(piece, evidence, space)


def _highlighted(piece: Piece, evidence: Evidence, space: Space) -> Image.Image:
    assert isinstance(piece.content, Image.Image)
    picture = _enlarged(piece.content)
    others, modality = evidence.typical_queries, piece.modality
    relevance = relevance_map(picture, evidence.vector, space.embed_pieces, others=others, modality=modality)
    return drawing.highlighted(picture, relevance, min_contrast=evidence.typical[modality].spread)


def _enlarged(picture: Image.Image) -> Image.Image:
    """Enlarge a small image, so that the drawing can be recognised."""
    scale = MAX_SHORT_SIDE / 2 / min(picture.size)
    if scale <= 1:
        return picture
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _draw_sound(evidence: Evidence, space: Space) -> Image.Image:
    bars = evidence.bars(Modality.AUDIO)
    end = max(bar.end for bar in bars)
    whole, best = TimeAxis(0.0, end, LEFT, WIDTH - RIGHT), bars[evidence.place()]
    axes = [whole, _zoomed(whole, best)] if end > ZOOM_FROM_SECONDS else [whole]
    rate = space.spec.windowing.sample_rate
    spectrograms = [_spectrogram(each, rate) for each in axes]
    for piece in space.pieces(evidence.path, modality=Modality.AUDIO):
        _add_window(piece, spectrograms)
    block = STRIP + GAP + CURVE + AXIS
    canvas = _canvas(TOP + len(axes) * block + (len(axes) - 1) * 2 * TOP)
    for number, (each, spectrogram) in enumerate(zip(axes, spectrograms, strict=True)):
        top = TOP + number * (block + 2 * TOP)
        _strips(canvas, evidence, each, spectrogram, top=top, best=best)
        drawing.draw_time_axis(canvas, each, y=top + STRIP + GAP + CURVE)
    if len(axes) > 1:
        _draw_zoom_lines(canvas, *axes, top=TOP + block - TOP // 2, bottom=TOP + block + 2 * TOP - 5)
    return canvas


def _zoomed(whole: TimeAxis, best: Bar) -> TimeAxis:
    middle = (best.start + best.end) / 2
    start = min(max(whole.start, middle - ZOOM_SECONDS / 2), whole.end - ZOOM_SECONDS)
    return TimeAxis(start, start + ZOOM_SECONDS, LEFT, WIDTH - RIGHT)


def _spectrogram(axis: TimeAxis, rate: int) -> Spectrogram:
    return Spectrogram(rate, (axis.start, axis.end), columns=axis.right - axis.left, rows=STRIP)


def _add_window(piece: Piece, spectrograms: Sequence[Spectrogram]) -> None:
    if piece.modality == Modality.AUDIO and piece.span.start is not None:
        assert not isinstance(piece.content, str | Image.Image)
        for spectrogram in spectrograms:
            spectrogram.add(piece.span.start, piece.content)


def _strips(
    canvas: Image.Image, evidence: Evidence, axis: TimeAxis, spectrogram: Spectrogram, *, top: int, best: Bar | None
) -> None:
    """Draw a spectrogram, and the scores of the sound below it."""
    spectrogram.finish()
    strip = drawing.spectrogram_image(spectrogram.levels(), (axis.right - axis.left, STRIP))
    typical, bars = evidence.typical[Modality.AUDIO], evidence.bars(Modality.AUDIO)
    box = (axis.left, top, axis.right, top + STRIP)
    canvas.paste(drawing.dimmed_outside(strip, axis, _matching_spans(bars, typical)), box[:2])
    labels = [(spectrogram.row_of(hertz), label) for hertz, label in FREQUENCIES.items()]
    drawing.draw_frequency_axis(canvas, box, [(share, label) for share, label in labels if 0.02 < share < 0.98])
    _curve(canvas, evidence, axis, Modality.AUDIO, top=top + STRIP + GAP)
    if best is not None:
        drawing.draw_frame(canvas, axis, (best.start, best.end), top=top - 4, bottom=top + STRIP + GAP + CURVE)


def _matching_spans(bars: Sequence[Bar], typical: TypicalScores) -> list[tuple[float, float]]:
    """Return the spans of seconds that match, as `MATCH_SHARE` defines it."""
    best = max(bar.score for bar in bars)
    threshold = max(typical.median, best - max(best - typical.median, 0.0) * (1 - MATCH_SHARE))
    return [(bar.start, bar.end) for bar in bars if bar.score >= min(threshold, best)]


def _curve(canvas: Image.Image, evidence: Evidence, axis: TimeAxis, modality: Modality, *, top: int) -> None:
    typical, bars = evidence.typical[modality], evidence.bars(modality)
    known = [bar.score for bar in bars]
    low, high = min(*known, typical.median), max(*known, typical.median + typical.spread)
    span = (low - 0.08 * (high - low), high + 0.08 * (high - low))
    box = (axis.left, top, axis.right, top + CURVE)
    drawing.draw_curve(canvas, box, drawing.column_scores(bars, axis), span=span, typical=typical.median)


def _draw_zoom_lines(canvas: Image.Image, whole: TimeAxis, close: TimeAxis, *, top: int, bottom: int) -> None:
    """Connect the enlarged part with its place in the whole sound."""
    pen = ImageDraw.Draw(canvas)
    for time, x in ((close.start, close.left), (close.end, close.right)):
        pen.line((whole.x(time), top, x, bottom), fill=drawing.GUIDE_COLOUR, width=2)


def _draw_video(evidence: Evidence, space: Space) -> Image.Image:
    """Draw the best frame; below it, over time, the frames and their scores, and the sound and its scores."""
    frames, sounds = evidence.bars(Modality.VIDEO), evidence.bars(Modality.AUDIO)
    axis = TimeAxis(0.0, max(bar.end for bar in (*frames, *sounds)), LEFT, WIDTH - RIGHT)
    spectrogram = _spectrogram(axis, space.spec.windowing.sample_rate) if sounds else None
    film = _Film(axis, _best_frame(evidence, frames)) if frames else None
    for piece in space.pieces(evidence.path, side=MAX_SHORT_SIDE):
        if piece.modality == Modality.VIDEO and film is not None:
            film.add(piece)
        elif spectrogram is not None:
            _add_window(piece, [spectrogram])
    frame = _fitted(_highlighted(film.best, evidence, space)) if film and film.best else None
    return _composed(evidence, axis, frame, film, spectrogram)


def _best_frame(evidence: Evidence, frames: Sequence[Bar]) -> int:
    """Return the number of the frame to show: that of the hit, or the best one if the hit is a sound."""
    if evidence.shown.modality == Modality.VIDEO:
        return evidence.place()
    return max(range(len(frames)), key=lambda place: frames[place].score)


class _Film:
    """Keeps the best frame, and some small ones to be shown in a row."""

    def __init__(self, axis: TimeAxis, wanted: int) -> None:
        self.best: Piece | None = None
        self._axis, self._wanted, self._count = axis, wanted, 0
        self._small: list[Image.Image | None] = []

    def add(self, piece: Piece) -> None:
        """Add the next frame."""
        assert isinstance(piece.content, Image.Image)
        if self._count == self._wanted:
            self.best = piece
        self._count += 1
        if not self._small:
            width = max(24, round(FILM * piece.content.width / piece.content.height))
            self._small = [None] * max(1, (self._axis.right - self._axis.left) // width)
        start, end = piece.span.start or 0.0, piece.span.end or self._axis.end
        length = (self._axis.end - self._axis.start) / len(self._small)
        for place in range(len(self._small)):
            if start <= (place + 0.5) * length < end or (self._small[place] is None and start <= place * length < end):
                self._small[place] = piece.content.copy()
                self._small[place].thumbnail((400, FILM * 2))  # type: ignore[union-attr]

    def row(self) -> Image.Image:
        """Return the frames side by side, each at its time."""
        width = self._axis.right - self._axis.left
        row = Image.new("RGB", (width, FILM), drawing.BACKGROUND)
        edges = [round(width * place / len(self._small)) for place in range(len(self._small) + 1)]
        for left, right, small in zip(edges, edges[1:], self._small, strict=False):
            if small is not None:
                row.paste(_covering(small, (right - left - 2, FILM)), (left, 0))
        return row


def _covering(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale an image so that it covers a size, and crop the rest."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    scaled = picture.resize(
        (max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))),
        Image.Resampling.LANCZOS,
    )
    left, top = (scaled.width - size[0]) // 2, (scaled.height - size[1]) // 2
    return scaled.crop((left, top, left + size[0], top + size[1]))


def _fitted(picture: Image.Image) -> Image.Image:
    scale = min((WIDTH - LEFT - RIGHT) / picture.width, MAX_FRAME_HEIGHT / picture.height)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _composed(
    evidence: Evidence, axis: TimeAxis, frame: Image.Image | None, film: _Film | None, spectrogram: Spectrogram | None
) -> Image.Image:
    heights = list(_heights(frame, film, spectrogram))
    canvas = _canvas(TOP + sum(heights) + AXIS)
    top = TOP
    best = evidence.bars(evidence.shown.modality)[evidence.place()]
    if frame is not None:
        canvas.paste(frame, ((axis.left + axis.right - frame.width) // 2, top))
        top += frame.height + TOP
    if film is not None:
        row, typical = film.row(), evidence.typical[Modality.VIDEO]
        spans = _matching_spans(evidence.bars(Modality.VIDEO), typical)
        canvas.paste(drawing.dimmed_outside(row, axis, spans), (axis.left, top))
        _curve(canvas, evidence, axis, Modality.VIDEO, top=top + FILM + GAP)
        if evidence.shown.modality == Modality.VIDEO:
            drawing.draw_frame(canvas, axis, (best.start, best.end), top=top - 4, bottom=top + FILM + GAP + CURVE)
        top += FILM + GAP + CURVE + TOP
    if spectrogram is not None:
        framed = best if evidence.shown.modality == Modality.AUDIO else None
        _strips(canvas, evidence, axis, spectrogram, top=top, best=framed)
        top += STRIP + GAP + CURVE + TOP
    drawing.draw_time_axis(canvas, axis, y=top - TOP)
    return canvas


def _heights(frame: Image.Image | None, film: _Film | None, spectrogram: Spectrogram | None) -> Iterator[int]:
    if frame is not None:
        yield frame.height + TOP
    if film is not None:
        yield FILM + GAP + CURVE + TOP
    if spectrogram is not None:
        yield STRIP + GAP + CURVE + TOP


def _canvas(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, height), drawing.BACKGROUND)
