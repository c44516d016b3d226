"""The log-mel spectrogram that the pocket space's audio tower takes, in numpy.

It is YAMNet's: the tower was distilled from that model, and teacher and student need the same input.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 16_000
WINDOW_SAMPLES = 2 * RATE
FRAME_SAMPLES, STEP_SAMPLES = 400, 160
FFT_SIZE = 512
BANDS = 64
MIN_HERTZ, MAX_HERTZ = 125.0, 7_500.0
FRAMES = WINDOW_SAMPLES // STEP_SAMPLES
LOG_OFFSET = 1e-3
"""Added to every band, so that silence has a logarithm."""


def spectrogram(samples: Floats) -> Floats:
    """Return the normalised log-mel frames, one every 10 ms, of one window of mono sound at 16 kHz.

    A short window is repeated until it is full, so that the tower's input never has silence that was not recorded.

    *Shape:* (n,) to (200, 64).
    """
    full = np.resize(samples, WINDOW_SAMPLES) if len(samples) else np.zeros(WINDOW_SAMPLES, np.float32)
    return normalise(log_mel(np.pad(full.astype(np.float32), (0, FRAME_SAMPLES - STEP_SAMPLES))))


def log_mel(samples: Floats) -> Floats:
    """Return the logarithm of 64 mel bands every 10 ms. *Shape:* (n,) to ((n - 240) // 160, 64)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::STEP_SAMPLES]
    magnitudes = np.abs(np.fft.rfft(frames * _hann_window(), FFT_SIZE, axis=1)).astype(np.float32)
    logarithms: Floats = np.log(magnitudes @ _mel_filters() + np.float32(LOG_OFFSET))
    return logarithms


def normalise(frames: Floats) -> Floats:
    """Scale log-mel values to about zero mean and unit variance."""
    return (frames + np.float32(2)) / np.float32(2)


@functools.cache
def _hann_window() -> Floats:
    return np.hanning(FRAME_SAMPLES + 1)[:-1].astype(np.float32)


@functools.cache
def _mel_filters() -> Floats:
    """Return triangular filters of equal width on the mel scale. *Shape:* (257, 64)."""
    lowest, highest = float(_mel(np.float64(MIN_HERTZ))), float(_mel(np.float64(MAX_HERTZ)))
    edges = np.linspace(lowest, highest, BANDS + 2)
    bins = _mel(np.arange(FFT_SIZE // 2 + 1) * np.float64(RATE / FFT_SIZE))[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bands: Floats = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
    return bands


def _mel(hertz: Any) -> Any:
    return 1127 * np.log1p(hertz / 700)
