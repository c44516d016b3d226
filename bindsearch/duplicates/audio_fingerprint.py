"""Fingerprints of sounds: copies are found after re-encoding, a change of gain, and trimming.

A sound is a table of signs: by frame and band, whether the difference between neighbouring bands rises or falls. Gain
has no part in it. Two sounds are slid over each other (all shifts at once, by Fourier's transform); at the best
shift, the signs of a copy agree, and those of other sounds are as good as tossed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Windowing

Samples = NDArray[np.float32]
Signs = NDArray[np.int8]
"""1, -1, or 0 where there is next to nothing. *Shape:* (frames, BANDS)"""

RATE, FRAME, HOP = 16_000, 4096, 512
LAG = 4
"""Frames between which a band rises or falls."""
BANDS = 24
LOWEST, HIGHEST = 150.0, 7000.0
PIECE = Windowing(sample_rate=RATE, window=10.0, hop=5.0)
"""Longer sounds are compared piece by piece, so that any 5 s of them lie whole in one."""
QUIET = 1e-3
"""Amplitude under which, as a share of the loudest frame's, a frame is silent."""
FAINT = 0.15
"""A difference under this share of its frame's mean one has no sign."""
SURE = 0.42
"""Agreement of signs at the best shift: 1 is all, 0 is chance. Chosen on training sounds."""
SIGNIFICANT = 10.0
"""The same, times the square root of the signs compared: little that agrees says little."""
SHARED = 0.4
"""Of the shorter sound's signs, so many must lie where the two overlap."""
_LENGTH = 1024
_BLOCK = 256


def signs(samples: Samples) -> Signs:
    """Return the table of signs of at most one piece. *Shape:* (frames, BANDS)"""
    padded = np.pad(samples, (0, max(0, FRAME + LAG * HOP - len(samples))))
    starts = np.arange(0, len(padded) - FRAME + 1, HOP)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[starts]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)) ** 2
    bands = np.sqrt(power @ _filters().T)
    levels = np.sqrt(bands)
    slopes = np.diff(levels, axis=1)
    rises = slopes[LAG:] - slopes[:-LAG]
    loud = np.maximum(bands[LAG:].sum(axis=1), bands[:-LAG].sum(axis=1))
    sizes = np.abs(rises)
    heard = (sizes > FAINT * sizes.mean(axis=1, keepdims=True)) & (loud > QUIET * max(loud.max(), 1e-9))[:, None]
    table: Signs = (np.sign(rises) * heard).astype(np.int8)
    return table


def matches(ours: Sequence[Signs], theirs: Sequence[Signs]) -> Iterator[tuple[int, int, float]]:
    """Return which of ours is a copy of which of theirs, and how well their signs agree."""
    for start in range(0, len(ours), _BLOCK):
        one = _Slid(ours[start : start + _BLOCK])
        for other_start in range(0, len(theirs), _BLOCK):
            other = _Slid(theirs[other_start : other_start + _BLOCK])
            for row, column, agreed in _met(one, other):
                yield start + row, other_start + column, agreed


class _Slid:
    """Tables of signs, and of where they have any, ready to be slid over others."""

    def __init__(self, tables: Sequence[Signs]) -> None:
        padded = np.zeros((len(tables), _LENGTH, BANDS), np.float32)
        for row, table in enumerate(tables):
            padded[row, : len(table)] = table[: _LENGTH // 2]
        self.signs = np.fft.rfft(padded, axis=1).astype(np.complex64).transpose(1, 0, 2)
        counts = np.abs(padded).sum(axis=2)
        self.counts = np.fft.rfft(counts, axis=1).astype(np.complex64)
        self.active = np.fft.rfft((counts > 0).astype(np.float32), axis=1).astype(np.complex64)
        self.total = counts.sum(axis=1)


def _met(one: _Slid, other: _Slid) -> Iterator[tuple[int, int, float]]:
    """Slide all over all; give the pairs that agree well enough at some shift."""
    together = np.matmul(one.signs, other.signs.conj().transpose(0, 2, 1)).transpose(1, 2, 0)
    for row in range(len(one.total)):
        agreed = np.fft.irfft(together[row], n=_LENGTH, axis=1)
        mine = np.fft.irfft(one.counts[row] * other.active.conj(), n=_LENGTH, axis=1)
        yours = np.fft.irfft(one.active[row] * other.counts.conj(), n=_LENGTH, axis=1)
        shared = np.sqrt(np.maximum(mine, 1.0) * np.maximum(yours, 1.0))
        fewer = np.minimum(one.total[row], other.total)[:, None]
        enough = (np.minimum(mine, yours) >= SHARED * fewer) & (fewer > 0)
        share = np.where(enough, agreed / shared, 0.0)
        share = np.where(share * np.sqrt(shared) >= SIGNIFICANT, share, 0.0)
        best = share.max(axis=1)
        for column in np.flatnonzero(best >= SURE).tolist():
            yield row, column, float(best[column])


@cache
def _filters() -> NDArray[np.float32]:
    """Return bands of equal width in pitch. *Shape:* (BANDS + 1, FRAME // 2 + 1)"""
    edges = np.geomspace(LOWEST, HIGHEST, BANDS + 2)
    hertz = np.fft.rfftfreq(FRAME, 1 / RATE)
    inside = (hertz[None, :] >= edges[:-1, None]) & (hertz[None, :] < edges[1:, None])
    return inside.astype(np.float32)
