"""Resamples a stream of mono sound to one rate and cuts it into windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Windowing

Samples = NDArray[np.float32]
_EMPTY: Samples = np.empty(0, dtype=np.float32)


class Resampler:
    """Converts mono sound to one rate; the rate of the input may change along the way."""

    def __init__(self, rate: int) -> None:
        self._output_rate = rate
        self._input_rate = rate
        self._stream: Any = None

    def push(self, mono: Samples, rate: int) -> Samples:
        """Take samples, and return those that are ready."""
        before = self.flush() if rate != self._input_rate else _EMPTY
        self._input_rate = rate
        if rate == self._output_rate:
            return np.concatenate([before, mono])
        if self._stream is None:
            import soxr

            self._stream = soxr.ResampleStream(rate, self._output_rate, 1, dtype="float32", quality="HQ")
        return np.concatenate([before, self._stream.resample_chunk(mono)])

    def flush(self) -> Samples:
        """Return the remaining samples, and reset the resampler."""
        if self._stream is None:
            return _EMPTY
        rest: Samples = self._stream.resample_chunk(_EMPTY, last=True)
        self._stream = None
        return rest


class WindowCutter:
    """Cuts a stream into windows of one length. The last window ends with the stream, so that it is full."""

    def __init__(self, window: int, hop: int) -> None:
        """`window` and `hop` in samples."""
        self._window, self._hop = window, hop
        self._buffer = _EMPTY
        self._chunks: list[Samples] = []
        """Samples that follow the buffer, not yet joined to it."""
        self._next_start = 0
        """Where the next window starts, in samples from the beginning."""
        self.total = 0
        self.covered = 0
        """Samples that lie in the windows returned so far."""
        self._covered_to = 0

    @classmethod
    def of(cls, windowing: Windowing) -> Self:
        """Cut as a space's windowing says, at its sample rate."""
        rate = windowing.sample_rate
        return cls(max(1, round(windowing.window * rate)), max(1, round(windowing.hop * rate)))

    def push(self, samples: Samples) -> Iterator[tuple[int, Samples]]:
        """Yield start and samples of the windows that these samples complete."""
        if samples.size:
            self._chunks.append(samples)
            self.total += samples.size
        while self._next_start + self._window <= self.total:
            yield self._cut(self._next_start, self._window)
            self._next_start += self._hop

    def finish(self) -> Iterator[tuple[int, Samples]]:
        """Yield the last window if the end is not covered yet; it is shorter if the stream is shorter than a window."""
        if self.total > self._covered_to:
            start = max(0, self.total - self._window)
            yield self._cut(start, self.total - start)

    def _cut(self, start: int, length: int) -> tuple[int, Samples]:
        if self._chunks:
            self._buffer = np.concatenate([self._buffer, *self._chunks])
            self._chunks = []
        first = self.total - self._buffer.size
        samples = self._buffer[start - first : start - first + length].copy()
        self.covered += start + length - max(start, self._covered_to)
        self._covered_to = start + length
        # The last window may start before the next regular one: keep enough samples for either.
        keep_from = min(start + self._hop, self.total - self._window)
        self._buffer = self._buffer[max(0, keep_from - first) :]
        return start, samples
