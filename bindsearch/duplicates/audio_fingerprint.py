"""Fingerprints of sounds: they recognise copies after re-encoding, a change of gain, and trimming.

A fingerprint is a table of signs: for each frame and band, whether the level difference between neighbouring bands
rises or falls over time. Gain has no influence on it. Two sounds are compared at all time shifts at once, by a
cross-correlation with the FFT. At the best shift, the signs of copies agree; those of unrelated sounds agree as often
as random ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from bindsearch.duplicates.copy_match import CopyMatch
from bindsearch.types import Windowing

Samples = NDArray[np.float32]
AudioFingerprint = NDArray[np.int8]
"""1, -1, or 0 where the difference is too small to have a sign. *Shape:* (frames, BANDS)"""

SAMPLE_RATE, FRAME_SAMPLES, HOP_SAMPLES = 16_000, 4096, 512
LAG_FRAMES = 4
"""A sign is the direction of a change over this many frames."""
BANDS = 24
MIN_HERTZ, MAX_HERTZ = 150.0, 7000.0
WINDOWING = Windowing(sample_rate=SAMPLE_RATE, window=10.0, hop=5.0)
"""Longer sounds are compared window by window; the overlap puts any 5 s of them completely into one window."""
SILENCE_SHARE = 1e-3
"""A frame is silent if its amplitude is below this share of the loudest frame's."""
MIN_DIFFERENCE_SHARE = 0.15
"""A difference below this share of its frame's mean difference has no sign."""
MIN_AGREEMENT = 0.42
"""Agreement of signs at the best shift: 1 is perfect, 0 is chance. Chosen on training sounds."""
MIN_SIGNIFICANCE = 10.0
"""Of the agreement times the square root of the number of signs compared: few signs prove little."""
MIN_OVERLAP_SHARE = 0.4
"""At least this share of the shorter sound's signs must lie in the overlap of the two."""
_FFT_FRAMES = 1024
_BLOCK_SOUNDS = 256


def fingerprint(samples: Samples) -> AudioFingerprint:
    """Return the fingerprint of at most one window of sound. *Shape:* (frames, BANDS)"""
    padded = np.pad(samples, (0, max(0, FRAME_SAMPLES + LAG_FRAMES * HOP_SAMPLES - len(samples))))
    starts = np.arange(0, len(padded) - FRAME_SAMPLES + 1, HOP_SAMPLES)
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[starts]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME_SAMPLES).astype(np.float32), axis=1)) ** 2
    bands = np.sqrt(power @ _filters().T)
    slopes = np.diff(np.sqrt(bands), axis=1)
    changes = slopes[LAG_FRAMES:] - slopes[:-LAG_FRAMES]
    loudness = np.maximum(bands[LAG_FRAMES:].sum(axis=1), bands[:-LAG_FRAMES].sum(axis=1))
    sizes = np.abs(changes)
    is_audible = (loudness > SILENCE_SHARE * max(loudness.max(), 1e-9))[:, None]
    has_sign = (sizes > MIN_DIFFERENCE_SHARE * sizes.mean(axis=1, keepdims=True)) & is_audible
    signs: AudioFingerprint = (np.sign(changes) * has_sign).astype(np.int8)
    return signs


def find_copies(ours: Sequence[AudioFingerprint], theirs: Sequence[AudioFingerprint]) -> Iterator[CopyMatch]:
    """Yield which of ours are copies of which of theirs."""
    for start in range(0, len(ours), _BLOCK_SOUNDS):
        one = _Correlator(ours[start : start + _BLOCK_SOUNDS])
        for other_start in range(0, len(theirs), _BLOCK_SOUNDS):
            other = _Correlator(theirs[other_start : other_start + _BLOCK_SOUNDS])
            for row, column, agreement in _agreeing_pairs(one, other):
                yield CopyMatch(start + row, other_start + column, agreement)


class _Correlator:
    """The Fourier transforms of some fingerprints, and of the numbers of their signs."""

    def __init__(self, fingerprints: Sequence[AudioFingerprint]) -> None:
        padded = np.zeros((len(fingerprints), _FFT_FRAMES, BANDS), np.float32)
        for row, signs in enumerate(fingerprints):
            padded[row, : len(signs)] = signs[: _FFT_FRAMES // 2]
        self.signs = np.fft.rfft(padded, axis=1).astype(np.complex64).transpose(1, 0, 2)
        counts = np.abs(padded).sum(axis=2)
        self.counts = np.fft.rfft(counts, axis=1).astype(np.complex64)
        self.active = np.fft.rfft((counts > 0).astype(np.float32), axis=1).astype(np.complex64)
        self.total = counts.sum(axis=1)


def _agreeing_pairs(one: _Correlator, other: _Correlator) -> Iterator[tuple[int, int, float]]:
    """Compare all pairs at all shifts, and yield those that agree well enough at their best shift."""
    products = np.matmul(one.signs, other.signs.conj().transpose(0, 2, 1)).transpose(1, 2, 0)
    for row in range(len(one.total)):
        agreed = np.fft.irfft(products[row], n=_FFT_FRAMES, axis=1)
        mine = np.fft.irfft(one.counts[row] * other.active.conj(), n=_FFT_FRAMES, axis=1)
        yours = np.fft.irfft(one.active[row] * other.counts.conj(), n=_FFT_FRAMES, axis=1)
        compared = np.sqrt(np.maximum(mine, 1.0) * np.maximum(yours, 1.0))
        fewer = np.minimum(one.total[row], other.total)[:, None]
        overlaps = (np.minimum(mine, yours) >= MIN_OVERLAP_SHARE * fewer) & (fewer > 0)
        share = np.where(overlaps, agreed / compared, 0.0)
        share = np.where(share * np.sqrt(compared) >= MIN_SIGNIFICANCE, share, 0.0)
        best = share.max(axis=1)
        for column in np.flatnonzero(best >= MIN_AGREEMENT).tolist():
            yield row, column, float(best[column])


@cache
def _filters() -> NDArray[np.float32]:
    """Return a bank of band filters of equal width in pitch. *Shape:* (BANDS + 1, FRAME_SAMPLES // 2 + 1)"""
    edges = np.geomspace(MIN_HERTZ, MAX_HERTZ, BANDS + 2)
    hertz = np.fft.rfftfreq(FRAME_SAMPLES, 1 / SAMPLE_RATE)
    inside = (hertz[None, :] >= edges[:-1, None]) & (hertz[None, :] < edges[1:, None])
    return inside.astype(np.float32)
