"""The spectrogram of a sound of any length, computed window by window: it needs the memory of the picture only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bindsearch.media.windows import Samples

Levels = NDArray[np.float64]

FRAME_SECONDS = 0.064
"""Length of a frame of the Fourier transform, before it is rounded to a power of two in samples."""
MIN_FREQUENCY_HZ = 50.0
"""Of the first row."""
DYNAMIC_RANGE_DB = 65.0
"""From the loudest sound to what is shown as silence."""


class Spectrogram:
    """Power by frequency (rows on a logarithmic scale, the lowest first) and time (columns)."""

    def __init__(self, rate: int, span: tuple[float, float], *, columns: int, rows: int) -> None:
        self.rate, self.span = rate, span
        self.columns = columns
        self._size = 1 << round(np.log2(rate * FRAME_SECONDS))
        self._column = (span[1] - span[0]) / columns
        self._hop = int(np.clip(rate * self._column, self._size // 8, self._size))
        self._window = np.hanning(self._size).astype(np.float32)
        self._bands = _bands(rate, self._size, rows)
        self._power = np.zeros((rows, columns))
        self._has_frame = np.zeros(columns, dtype=bool)
        self._pending: Samples = np.empty(0, dtype=np.float32)
        self._next = 0
        """The place of the first pending sample, counted from the beginning of the sound."""

    def add(self, start: float, samples: Samples) -> None:
        """Add a window; samples that an earlier, overlapping window had are skipped."""
        first = round(start * self.rate)
        reached = self._next + self._pending.size
        if first > reached + 1:
            self.finish()
            self._pending, self._next = samples, first
        else:
            self._pending = np.concatenate([self._pending, samples[max(0, reached - first) :]])
        if (count := (self._pending.size - self._size) // self._hop + 1) > 0:
            self._add_frames(count)
            self._pending = self._pending[count * self._hop :]
            self._next += count * self._hop

    def finish(self) -> None:
        """Process the remaining samples, which are less than a frame."""
        if self._pending.size:
            self._pending = np.pad(self._pending, (0, max(0, self._size - self._pending.size)))
            self._add_frames(1)
        self._pending = np.empty(0, dtype=np.float32)

    def _add_frames(self, count: int) -> None:
        """Add the frames that begin in the pending samples; of several in one column the loudest counts."""
        frames = np.lib.stride_tricks.sliding_window_view(self._pending, self._size)[:: self._hop][:count]
        middles = (self._next + self._hop * np.arange(count) + self._size / 2) / self.rate
        places = np.floor((middles - self.span[0]) / self._column).astype(int)
        inside = (places >= 0) & (places < self.columns)
        if not inside.any():
            return
        power = np.abs(np.fft.rfft(frames[inside] * self._window, axis=1)) ** 2 @ self._bands
        np.maximum.at(self._power.T, places[inside], power)
        self._has_frame[places[inside]] = True

    def levels(self) -> Levels:
        """Return levels from 0 (silence) to 1 (the loudest). *Shape:* (rows, columns)"""
        power = self._filled()
        decibels = 10 * np.log10(power + 1e-12)
        top = max(float(decibels.max()), -50.0)
        shown: Levels = np.clip(1 + (decibels - top) / DYNAMIC_RANGE_DB, 0, 1)
        return shown

    def _filled(self) -> Levels:
        """Fill columns between two frames, where frames are wider apart than columns, with the nearest frame."""
        known = np.flatnonzero(self._has_frame)
        if not known.size or known.size == self.columns:
            return self._power
        longest = max(1.0, 2 * self._hop / self.rate / self._column)
        filled = self._power.copy()
        for place in np.flatnonzero(~self._has_frame):
            near = known[np.abs(known - place).argmin()]
            if abs(near - place) <= longest + self._size / self.rate / self._column:
                filled[:, place] = self._power[:, near]
        return filled

    def row_of(self, hertz: float) -> float:
        """Return the place of a frequency among the rows, as a share of the height from below."""
        return float(np.log(hertz / MIN_FREQUENCY_HZ) / np.log(self.rate / 2 / MIN_FREQUENCY_HZ))


def _bands(rate: int, size: int, rows: int) -> Levels:
    """Return weights that sum up the bins of a spectrum into rows of equal musical width.

    *Shape:* (size // 2 + 1, rows)
    """
    lines = np.fft.rfftfreq(size, 1 / rate)
    edges = np.geomspace(MIN_FREQUENCY_HZ, rate / 2, rows + 1)
    middles = np.sqrt(edges[1:] * edges[:-1])
    width = np.maximum(np.diff(edges), rate / size)
    bands: Levels = np.clip(1 - np.abs(lines[:, None] - middles) / width, 0, None)
    bands /= np.maximum(bands.sum(axis=0), 1e-9)
    return bands
