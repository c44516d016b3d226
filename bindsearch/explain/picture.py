"""The picture of a reason: what of a hit answers the query, and how well the rest of it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from bindsearch.errors import UnsupportedMedia
from bindsearch.explain import drawing as paint
from bindsearch.explain.drawing import Bar, Times
from bindsearch.explain.image_regions import relevance_map
from bindsearch.explain.spectrogram import Spectrum
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Segment, Vectors

SIDE = 720
"""Pictures are looked at with a shorter side of at most so many pixels."""
WIDTH = 1200
LEFT, RIGHT, TOP = 64, 24, 22
STRIP, CURVE, AXIS, GAP = 240, 110, 40, 12
FILM = 96
TALLEST = 600
"""Of the best frame of a video."""
LONG = 60.0
"""From so many seconds on, a stretch around the best moment is shown closer as well."""
CLOSE = 20.0
"""Seconds that the closer look shows."""
NEARLY = 0.6
"""A moment matches that lies so far on the way from what is usual to the best."""
PITCHES = {100.0: "100 Hz", 300.0: "300 Hz", 1_000.0: "1 kHz", 3_000.0: "3 kHz", 10_000.0: "10 kHz"}


@dataclass(frozen=True, slots=True)
class Usual:
    """How ordinary vectors of a modality answer the query."""

    centre: float
    spread: float


@dataclass(frozen=True, slots=True)
class Reason:
    """All that a picture is made of: a file, the scores of its segments, and which of them is the hit's."""

    path: Path
    kind: Modality
    """Of the whole file."""
    shown: Segment
    segments: Sequence[Segment]
    scores: Sequence[float]
    vector: Vectors
    """Of the query."""
    others: Vectors
    """Of ordinary queries."""
    usual: Mapping[Modality, Usual]

    def bars(self, modality: Modality) -> list[Bar]:
        """Return what has a place in time, of one modality."""
        return [
            Bar(segment.span.start, segment.span.end, score)
            for segment, score in zip(self.segments, self.scores, strict=True)
            if segment.modality == modality and segment.span.start is not None and segment.span.end is not None
        ]

    def place(self) -> int:
        """Return the place of the hit's segment among those of its modality."""
        own = [segment.id for segment in self.segments if segment.modality == self.shown.modality]
        return own.index(self.shown.id)


def draw(reason: Reason, space: Space) -> Image.Image:
    """Draw a reason. Raises `MediaError` where the file cannot be read any more, or is a text."""
    if reason.kind == Modality.TEXT:
        raise UnsupportedMedia(f"{reason.path} is a text, which has no picture: its best words are told by --why")
    if reason.kind == Modality.IMAGE:
        return _seen(reason, space)
    return _heard(reason, space) if reason.kind == Modality.AUDIO else _filmed(reason, space)


def _seen(reason: Reason, space: Space) -> Image.Image:
    pieces = space.pieces(reason.path, modality=Modality.IMAGE, side=SIDE)
    piece = next(piece for place, piece in enumerate(pieces) if place == reason.place())
    return _warmed(piece, reason, space)


def _warmed(piece: Piece, reason: Reason, space: Space) -> Image.Image:
    assert isinstance(piece.content, Image.Image)
    picture = _enlarged(piece.content)
    heat = relevance_map(picture, reason.vector, space.embed_pieces, others=reason.others, modality=piece.modality)
    return paint.warmed(picture, heat, least=reason.usual[piece.modality].spread)


def _enlarged(picture: Image.Image) -> Image.Image:
    """Make a small picture large enough to be looked at."""
    scale = SIDE / 2 / min(picture.size)
    if scale <= 1:
        return picture
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _heard(reason: Reason, space: Space) -> Image.Image:
    bars = reason.bars(Modality.AUDIO)
    end = max(bar.end for bar in bars)
    whole, best = Times(0.0, end, LEFT, WIDTH - RIGHT), bars[reason.place()]
    times = [whole, _closer(whole, best)] if end > LONG else [whole]
    rate = space.spec.windowing.sample_rate
    spectra = [_spectrum(each, rate) for each in times]
    for piece in space.pieces(reason.path, modality=Modality.AUDIO):
        _take(piece, spectra)
    block = STRIP + GAP + CURVE + AXIS
    canvas = _canvas(TOP + len(times) * block + (len(times) - 1) * 2 * TOP)
    for number, (each, spectrum) in enumerate(zip(times, spectra, strict=True)):
        top = TOP + number * (block + 2 * TOP)
        _strips(canvas, reason, each, spectrum, top=top, best=best)
        paint.seconds(canvas, each, y=top + STRIP + GAP + CURVE)
    if len(times) > 1:
        _lens(canvas, *times, top=TOP + block - TOP // 2, bottom=TOP + block + 2 * TOP - 5)
    return canvas


def _closer(whole: Times, best: Bar) -> Times:
    middle = (best.start + best.end) / 2
    start = min(max(whole.start, middle - CLOSE / 2), whole.end - CLOSE)
    return Times(start, start + CLOSE, LEFT, WIDTH - RIGHT)


def _spectrum(times: Times, rate: int) -> Spectrum:
    return Spectrum(rate, (times.start, times.end), columns=times.right - times.left, rows=STRIP)


def _take(piece: Piece, spectra: Sequence[Spectrum]) -> None:
    if piece.modality == Modality.AUDIO and piece.span.start is not None:
        assert not isinstance(piece.content, str | Image.Image)
        for spectrum in spectra:
            spectrum.take(piece.span.start, piece.content)


def _strips(
    canvas: Image.Image, reason: Reason, times: Times, spectrum: Spectrum, *, top: int, best: Bar | None
) -> None:
    """Draw a spectrogram, and under it the score of what is heard."""
    spectrum.finish()
    strip = paint.flames(spectrum.levels(), (times.right - times.left, STRIP))
    usual, bars = reason.usual[Modality.AUDIO], reason.bars(Modality.AUDIO)
    box = (times.left, top, times.right, top + STRIP)
    canvas.paste(paint.dimmed(strip, times, _matching(bars, usual)), box[:2])
    shares = [(spectrum.row_of(hertz), words) for hertz, words in PITCHES.items()]
    paint.pitches(canvas, box, [(share, words) for share, words in shares if 0.02 < share < 0.98])
    _curve(canvas, reason, times, Modality.AUDIO, top=top + STRIP + GAP)
    if best is not None:
        paint.bracket(canvas, times, (best.start, best.end), top=top - 4, bottom=top + STRIP + GAP + CURVE)


def _matching(bars: Sequence[Bar], usual: Usual) -> list[tuple[float, float]]:
    """Return the stretches of time that answer nearly as well as the best does."""
    best = max(bar.score for bar in bars)
    enough = max(usual.centre, best - max(best - usual.centre, 0.0) * (1 - NEARLY))
    return [(bar.start, bar.end) for bar in bars if bar.score >= min(enough, best)]


def _curve(canvas: Image.Image, reason: Reason, times: Times, modality: Modality, *, top: int) -> None:
    usual, bars = reason.usual[modality], reason.bars(modality)
    known = [bar.score for bar in bars]
    low, high = min(*known, usual.centre), max(*known, usual.centre + usual.spread)
    span = (low - 0.08 * (high - low), high + 0.08 * (high - low))
    box = (times.left, top, times.right, top + CURVE)
    paint.curve(canvas, box, paint.columns_of(bars, times), span=span, usual=usual.centre)


def _lens(canvas: Image.Image, whole: Times, close: Times, *, top: int, bottom: int) -> None:
    """Tie the closer look to where it lies in the whole."""
    pen = ImageDraw.Draw(canvas)
    for time, x in ((close.start, close.left), (close.end, close.right)):
        pen.line((whole.x(time), top, x, bottom), fill=paint.FAINT, width=2)


def _filmed(reason: Reason, space: Space) -> Image.Image:
    """Draw the best frame, then, along the time, the film, its score, and what is heard and its score."""
    seen, heard = reason.bars(Modality.VIDEO), reason.bars(Modality.AUDIO)
    times = Times(0.0, max(bar.end for bar in (*seen, *heard)), LEFT, WIDTH - RIGHT)
    spectrum = _spectrum(times, space.spec.windowing.sample_rate) if heard else None
    film = _Film(times, _best_frame(reason, seen)) if seen else None
    for piece in space.pieces(reason.path, side=SIDE):
        if piece.modality == Modality.VIDEO and film is not None:
            film.take(piece)
        elif spectrum is not None:
            _take(piece, [spectrum])
    frame = _fitted(_warmed(film.best, reason, space)) if film and film.best else None
    return _composed(reason, times, frame, film, spectrum)


def _best_frame(reason: Reason, seen: Sequence[Bar]) -> int:
    """Return the number of the frame that is shown: the hit's, or the best one if the hit is a sound."""
    if reason.shown.modality == Modality.VIDEO:
        return reason.place()
    return max(range(len(seen)), key=lambda place: seen[place].score)


class _Film:
    """Keeps the best frame, and a few others to be shown in a row."""

    def __init__(self, times: Times, wanted: int) -> None:
        self.best: Piece | None = None
        self._times, self._wanted, self._count = times, wanted, 0
        self._small: list[Image.Image | None] = []

    def take(self, piece: Piece) -> None:
        """Take in the next frame."""
        assert isinstance(piece.content, Image.Image)
        if self._count == self._wanted:
            self.best = piece
        self._count += 1
        if not self._small:
            width = max(24, round(FILM * piece.content.width / piece.content.height))
            self._small = [None] * max(1, (self._times.right - self._times.left) // width)
        start, end = piece.span.start or 0.0, piece.span.end or self._times.end
        length = (self._times.end - self._times.start) / len(self._small)
        for place in range(len(self._small)):
            if start <= (place + 0.5) * length < end or (self._small[place] is None and start <= place * length < end):
                self._small[place] = piece.content.copy()
                self._small[place].thumbnail((400, FILM * 2))  # type: ignore[union-attr]

    def row(self) -> Image.Image:
        """Return the frames side by side, each at its time."""
        width = self._times.right - self._times.left
        row = Image.new("RGB", (width, FILM), paint.PAPER)
        edges = [round(width * place / len(self._small)) for place in range(len(self._small) + 1)]
        for left, right, small in zip(edges, edges[1:], self._small, strict=False):
            if small is not None:
                row.paste(_covering(small, (right - left - 2, FILM)), (left, 0))
        return row


def _covering(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Scale a picture so that it covers a size, and cut off what sticks out."""
    scale = max(size[0] / picture.width, size[1] / picture.height)
    scaled = picture.resize(
        (max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))),
        Image.Resampling.LANCZOS,
    )
    left, top = (scaled.width - size[0]) // 2, (scaled.height - size[1]) // 2
    return scaled.crop((left, top, left + size[0], top + size[1]))


def _fitted(picture: Image.Image) -> Image.Image:
    scale = min((WIDTH - LEFT - RIGHT) / picture.width, TALLEST / picture.height)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)


def _composed(
    reason: Reason, times: Times, frame: Image.Image | None, film: _Film | None, spectrum: Spectrum | None
) -> Image.Image:
    heights = list(_heights(frame, film, spectrum))
    canvas = _canvas(TOP + sum(heights) + AXIS)
    top = TOP
    best = reason.bars(reason.shown.modality)[reason.place()]
    if frame is not None:
        canvas.paste(frame, ((times.left + times.right - frame.width) // 2, top))
        top += frame.height + TOP
    if film is not None:
        row, usual = film.row(), reason.usual[Modality.VIDEO]
        canvas.paste(paint.dimmed(row, times, _matching(reason.bars(Modality.VIDEO), usual)), (times.left, top))
        _curve(canvas, reason, times, Modality.VIDEO, top=top + FILM + GAP)
        if reason.shown.modality == Modality.VIDEO:
            paint.bracket(canvas, times, (best.start, best.end), top=top - 4, bottom=top + FILM + GAP + CURVE)
        top += FILM + GAP + CURVE + TOP
    if spectrum is not None:
        heard = best if reason.shown.modality == Modality.AUDIO else None
        _strips(canvas, reason, times, spectrum, top=top, best=heard)
        top += STRIP + GAP + CURVE + TOP
    paint.seconds(canvas, times, y=top - TOP)
    return canvas


def _heights(frame: Image.Image | None, film: _Film | None, spectrum: Spectrum | None) -> Iterator[int]:
    if frame is not None:
        yield frame.height + TOP
    if film is not None:
        yield FILM + GAP + CURVE + TOP
    if spectrum is not None:
        yield STRIP + GAP + CURVE + TOP


def _canvas(height: int) -> Image.Image:
    return Image.new("RGB", (WIDTH, height), paint.PAPER)
