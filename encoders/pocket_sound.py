"""What the sound tower of the pocket space looks at: a log-mel spectrogram, with numpy alone."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

RATE = 16_000
WINDOW = 2 * RATE
FRAME, STEP = 400, 160
POINTS = 512
BANDS = 64
LOWEST, HIGHEST = 50.0, 7_800.0
FRAMES = WINDOW // STEP


def spectrogram(samples: Floats) -> Floats:
    """Turn mono sound at 16 kHz into centred log-mel frames of 10 ms.

    A window that is not full is repeated until it is, so that the tower never hears silence that was not recorded.

    *Shape:* (n,) to (200, 64).
    """
    full = np.resize(samples, WINDOW) if len(samples) else np.zeros(WINDOW, np.float32)
    padded = np.pad(full.astype(np.float32), (0, FRAME - STEP))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME)[::STEP][:FRAMES]
    power = np.abs(np.fft.rfft(frames * _taper(), POINTS, axis=1)) ** 2
    mel = np.log(power @ _bands() + 1e-6)
    return ((mel + 4.0) / 4.0).astype(np.float32)  # type: ignore[no-any-return]


@functools.cache
def _taper() -> Floats:
    return np.hanning(FRAME).astype(np.float32)


@functools.cache
def _bands() -> Floats:
    """Triangles that are equally wide on the mel scale. *Shape:* (257, 64)."""
    edges = _hertz(np.linspace(_mel(LOWEST), _mel(HIGHEST), BANDS + 2))
    lines = np.fft.rfftfreq(POINTS, 1 / RATE)[:, None]
    rise = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = 700 * (10 ** (mel / 2595) - 1)
    return found
