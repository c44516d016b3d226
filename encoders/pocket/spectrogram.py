"""What the sound tower of the pocket space looks at: a log-mel spectrogram, with numpy alone.

It is YAMNet's: the tower learnt to hear from that model, and both must be shown the same.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 16_000
WINDOW = 2 * RATE
FRAME, STEP = 400, 160
POINTS = 512
BANDS = 64
LOWEST, HIGHEST = 125.0, 7_500.0
FRAMES = WINDOW // STEP
FLOOR = 1e-3
"""Added to every band, so that silence has a logarithm."""


def spectrogram(samples: Floats) -> Floats:
    """Turn one window of mono sound at 16 kHz into centred log-mel frames of 10 ms.

    A window that is not full is repeated until it is, so that the tower never hears silence that was not recorded.

    *Shape:* (n,) to (200, 64).
    """
    full = np.resize(samples, WINDOW) if len(samples) else np.zeros(WINDOW, np.float32)
    return centred(log_mel(np.pad(full.astype(np.float32), (0, FRAME - STEP))))


def log_mel(samples: Floats) -> Floats:
    """Return the logarithm of 64 bands of every 10 ms. *Shape:* (n,) to ((n - 240) // 160, 64)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::STEP]
    loud = np.abs(np.fft.rfft(frames * _taper(), POINTS, axis=1)).astype(np.float32)
    logarithms: Floats = np.log(loud @ _bands() + np.float32(FLOOR))
    return logarithms


def centred(frames: Floats) -> Floats:
    """Bring logarithms to about 0 and 1."""
    return (frames + np.float32(2)) / np.float32(2)


@functools.cache
def _taper() -> Floats:
    return np.hanning(FRAME + 1)[:-1].astype(np.float32)


@functools.cache
def _bands() -> Floats:
    """Triangles that are equally wide on the mel scale. *Shape:* (257, 64)."""
    lowest, highest = float(_mel(np.float64(LOWEST))), float(_mel(np.float64(HIGHEST)))
    edges = np.linspace(lowest, highest, BANDS + 2)
    lines = _mel(np.arange(POINTS // 2 + 1) * np.float64(RATE / POINTS))[:, None]
    rise = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    bands: Floats = np.maximum(0, np.minimum(rise, fall)).astype(np.float32)
    return bands


def _mel(hertz: Any) -> Any:
    return 1127 * np.log1p(hertz / 700)
