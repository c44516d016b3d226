"""A stream of samples, whatever its rate, as windows of mono sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
_NONE: Samples = np.empty(0, dtype=np.float32)


class Resampler:
    """Mono sound at any rate, which may change on the way, to sound at one rate."""

    def __init__(self, rate: int) -> None:
        self._to = rate
        self._from = rate
        self._stream: Any = None

    def push(self, mono: Samples, rate: int) -> Samples:
        """Return what is ready after these samples."""
        before = self.flush() if rate != self._from else _NONE
        self._from = rate
        if rate == self._to:
            return np.concatenate([before, mono])
        if self._stream is None:
            import soxr

            self._stream = soxr.ResampleStream(rate, self._to, 1, dtype="float32", quality="HQ")
        return np.concatenate([before, self._stream.resample_chunk(mono)])

    def flush(self) -> Samples:
        """Return what is left, and begin anew."""
        if self._stream is None:
            return _NONE
        rest: Samples = self._stream.resample_chunk(_NONE, last=True)
        self._stream = None
        return rest


class WindowCutter:
    """Cuts a stream into windows of one length; the last one lies flush with the end, so that it is full."""

    def __init__(self, window: int, hop: int) -> None:
        self._window, self._hop = window, hop
        self._kept = _NONE
        self._chunks: list[Samples] = []
        self._next = 0
        """Where the next window starts, in samples from the beginning."""
        self.total = 0
        self.covered = 0
        """Samples that lie in the windows given so far."""
        self._covered_to = 0

    def push(self, samples: Samples) -> Iterator[tuple[int, Samples]]:
        """Return start and samples of the windows that these samples complete."""
        if samples.size:
            self._chunks.append(samples)
            self.total += samples.size
        while self._next + self._window <= self.total:
            yield self._give(self._next, self._window)
            self._next += self._hop

    def finish(self) -> Iterator[tuple[int, Samples]]:
        """Return the last window, where the end is not covered yet; all there is, if that is less than a window."""
        if self.total > self._covered_to:
            start = max(0, self.total - self._window)
            yield self._give(start, self.total - start)

    def _give(self, start: int, length: int) -> tuple[int, Samples]:
        if self._chunks:
            self._kept = np.concatenate([self._kept, *self._chunks])
            self._chunks = []
        first = self.total - self._kept.size
        given = self._kept[start - first : start - first + length].copy()
        self.covered += start + length - max(start, self._covered_to)
        self._covered_to = start + length
        # The flush window at the end may begin before the next regular one: keep enough for either.
        keep_from = min(start + self._hop, self.total - self._window)
        self._kept = self._kept[max(0, keep_from - first) :]
        return start, given
