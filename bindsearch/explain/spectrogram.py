"""The spectrogram of a sound of any length, summed up as its windows come by: memory is that of the picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bindsearch.media.windows import Samples

Levels = NDArray[np.float64]

FRAME = 0.064
"""Seconds of sound that are looked at together, at least."""
LOWEST = 50.0
"""Hz, of the lowest row."""
RANGE = 65.0
"""Decibels from the loudest to what is shown as silence."""


class Spectrum:
    """Loudness by pitch (rows, the lowest first, evenly spaced as one hears them) and time (columns)."""

    def __init__(self, rate: int, span: tuple[float, float], *, columns: int, rows: int) -> None:
        self.rate, self.span = rate, span
        self.columns = columns
        self._size = 1 << round(np.log2(rate * FRAME))
        self._column = (span[1] - span[0]) / columns
        self._hop = int(np.clip(rate * self._column, self._size // 8, self._size))
        self._taper = np.hanning(self._size).astype(np.float32)
        self._bands = _bands(rate, self._size, rows)
        self._power = np.zeros((rows, columns))
        self._heard = np.zeros(columns, dtype=bool)
        self._kept: Samples = np.empty(0, dtype=np.float32)
        self._next = 0
        """Where the first of the kept samples lies, counted from the beginning of the sound."""

    def take(self, start: float, samples: Samples) -> None:
        """Take in a window; what an overlapping one has brought already is passed over."""
        first = round(start * self.rate)
        reached = self._next + self._kept.size
        if first > reached + 1:
            self.finish()
            self._kept, self._next = samples, first
        else:
            self._kept = np.concatenate([self._kept, samples[max(0, reached - first) :]])
        if (count := (self._kept.size - self._size) // self._hop + 1) > 0:
            self._look(count)
            self._kept = self._kept[count * self._hop :]
            self._next += count * self._hop

    def finish(self) -> None:
        """Look at what is left, which is less than a frame."""
        if self._kept.size:
            self._kept = np.pad(self._kept, (0, max(0, self._size - self._kept.size)))
            self._look(1)
        self._kept = np.empty(0, dtype=np.float32)

    def _look(self, count: int) -> None:
        """Add the frames that begin in the kept samples; of several in one column the loudest counts."""
        frames = np.lib.stride_tricks.sliding_window_view(self._kept, self._size)[:: self._hop][:count]
        middles = (self._next + self._hop * np.arange(count) + self._size / 2) / self.rate
        places = np.floor((middles - self.span[0]) / self._column).astype(int)
        inside = (places >= 0) & (places < self.columns)
        if not inside.any():
            return
        power = np.abs(np.fft.rfft(frames[inside] * self._taper, axis=1)) ** 2 @ self._bands
        np.maximum.at(self._power.T, places[inside], power)
        self._heard[places[inside]] = True

    def levels(self) -> Levels:
        """Return levels from 0 (silence) to 1 (the loudest). *Shape:* (rows, columns)"""
        power = self._filled()
        decibels = 10 * np.log10(power + 1e-12)
        top = max(float(decibels.max()), -50.0)
        shown: Levels = np.clip(1 + (decibels - top) / RANGE, 0, 1)
        return shown

    def _filled(self) -> Levels:
        """Let columns between two frames show what is between them."""
        known = np.flatnonzero(self._heard)
        if not known.size or known.size == self.columns:
            return self._power
        longest = max(1.0, 2 * self._hop / self.rate / self._column)
        filled = self._power.copy()
        for place in np.flatnonzero(~self._heard):
            near = known[np.abs(known - place).argmin()]
            if abs(near - place) <= longest + self._size / self.rate / self._column:
                filled[:, place] = self._power[:, near]
        return filled

    def row_of(self, hertz: float) -> float:
        """Return where a pitch lies among the rows, as a share of the height from below."""
        return float(np.log(hertz / LOWEST) / np.log(self.rate / 2 / LOWEST))


def _bands(rate: int, size: int, rows: int) -> Levels:
    """Spread the lines of a spectrum over rows of equal musical width. *Shape:* (size // 2 + 1, rows)"""
    lines = np.fft.rfftfreq(size, 1 / rate)
    edges = np.geomspace(LOWEST, rate / 2, rows + 1)
    middles = np.sqrt(edges[1:] * edges[:-1])
    width = np.maximum(np.diff(edges), rate / size)
    bands: Levels = np.clip(1 - np.abs(lines[:, None] - middles) / width, 0, None)
    bands /= np.maximum(bands.sum(axis=0), 1e-9)
    return bands
