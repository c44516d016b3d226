"""Log-mel clips for ImageBind's audio tower, in numpy, equal to those of Kaldi and the reference implementation.

A recording becomes clips of two seconds. The reference takes three, evenly spaced, of channel 0; the spaces here use
all of a recording, in adjacent windows. The features of one clip are computed in the same way in both.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

RATE = 16_000
CLIP_SECONDS = 2
REFERENCE_CLIPS = 3
"""Clips that the reference takes of every recording."""
CLIP_SAMPLES = CLIP_SECONDS * RATE
BANDS = 128
FRAMES = 204
"""Frames of a clip in the tower's input: the 198 of two seconds, padded."""
FRAME_SAMPLES, STEP_SAMPLES, FFT_SIZE = 400, 160, 512
MIN_HERTZ, MAX_HERTZ = 20.0, 8_000.0
PRE_EMPHASIS = 0.97
POWER_FLOOR = float(np.finfo(np.float32).eps)
MEAN, SCALE = -4.268, 9.138
ZERO_CROSSINGS, ROLLOFF = 6, 0.99
"""Of the resampler's kernel: zero crossings on each side, and its cutoff as a share of the lower Nyquist frequency."""


# One clip ---------------------------------------------------------------------------------------------------------


def log_mel(samples: Floats, *, bands: int = BANDS, frames: int = FRAMES) -> Floats:
    """Return the normalised log-mel frames, one every 10 ms, of mono sound at 16 kHz that the caller has centred.

    Padded with zeros before normalising, or cut, to `frames`. Raises `ValueError` for less than one frame of sound.
    *Shape:* (n,) to (1, bands, frames).
    """
    if len(samples) < FRAME_SAMPLES:
        raise ValueError(f"{len(samples)} samples are too few: one frame has {FRAME_SAMPLES}")
    mel = np.log(np.maximum(_power_spectrum(samples) @ _mel_filters(bands), POWER_FLOOR))[:frames]
    padded = np.pad(mel, ((0, frames - len(mel)), (0, 0)))
    return ((padded - MEAN) / SCALE).T[None].astype(np.float32)


def window_clip(samples: Floats) -> Floats:
    """Return the log-mel clip of one window of mono sound, which may be shorter than two seconds.

    *Shape:* (n,) to (1, 128, 204).
    """
    centred = samples - samples.mean(dtype=np.float64) if len(samples) else samples
    return log_mel(np.pad(centred, (0, max(0, FRAME_SAMPLES - len(centred)))).astype(np.float32))


def _power_spectrum(samples: Floats) -> Doubles:
    """Return the power spectrum of each frame, in float64. *Shape:* (n,) to (frames, 257)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::STEP_SAMPLES].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    previous = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectra = np.fft.rfft((frames - PRE_EMPHASIS * previous) * np.hanning(FRAME_SAMPLES), FFT_SIZE, axis=1)
    return np.abs(spectra) ** 2


@functools.cache
def _mel_filters(bands: int) -> Doubles:
    """Return triangular filters of equal width on the mel scale; the Nyquist bin has no weight.

    *Shape:* (257, bands).
    """
    edges = np.linspace(_mel(MIN_HERTZ), _mel(MAX_HERTZ), bands + 2)
    bins = _mel(np.arange(FFT_SIZE // 2) * RATE / FFT_SIZE)[:, None]
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(0, np.minimum(rise, fall)), ((0, 1), (0, 0)))


def _mel(hertz: float | Doubles) -> Doubles:
    return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)


# Clips of the reference implementation ----------------------------------------------------------------------------


def clip_times(
    samples: int, *, clips: int = REFERENCE_CLIPS, seconds: int = CLIP_SECONDS
) -> list[tuple[Fraction, Fraction]]:
    """Return start and end of the reference's clips in seconds; an end may lie beyond the end of the recording.

    The slack is rounded to float64 and then divided exactly, as in the reference: neither integer nor float arithmetic
    throughout gives the same samples.
    """
    slack = Fraction(max(samples / RATE - seconds, 0.0))
    starts = [slack * number / max(clips - 1, 1) for number in range(clips)]
    return [(start, start + seconds) for start in starts]


def clip_samples(samples: int, *, clips: int = REFERENCE_CLIPS, seconds: int = CLIP_SECONDS) -> list[tuple[int, int]]:
    """Return the first sample and the end (exclusive) of each of the reference's clips."""
    times = clip_times(samples, clips=clips, seconds=seconds)
    return [(int(start * RATE), min(int(end * RATE), samples)) for start, end in times]


def reference_clips(
    waveform: Floats,
    rate: int,
    *,
    clips: int = REFERENCE_CLIPS,
    seconds: int = CLIP_SECONDS,
    bands: int = BANDS,
    frames: int = FRAMES,
) -> Floats:
    """Return the clips that the reference makes of a recording.

    As in the reference, clips are centred over all channels and in place: where two overlap, the later one is centred
    again. The caller's samples are not changed. Raises `ValueError` for less than 25 ms of sound.
    *Shape:* (channels, n) to (clips, 1, bands, frames).
    """
    sound = resample(np.array(waveform, np.float32, ndmin=2), rate)
    slices = clip_samples(sound.shape[1], clips=clips, seconds=seconds)
    return np.stack([log_mel(_centred_in_place(sound[:, a:b]), bands=bands, frames=frames) for a, b in slices])


def _centred_in_place(clip: Floats) -> Floats:
    """Subtract the mean from all channels, and return channel 0."""
    clip -= clip.mean(dtype=np.float64).astype(np.float32)
    channel: Floats = clip[0]
    return channel


def resample(waveform: Floats, rate: int) -> Floats:
    """Resample sound to 16 kHz with a windowed sinc, as the reference's resampler does.

    *Shape:* (channels, n) to (channels, m).
    """
    if rate == RATE:
        return waveform
    divisor = math.gcd(rate, RATE)
    old, new = rate // divisor, RATE // divisor
    kernels, reach = _kernels(old, new)
    padded = np.pad(waveform, ((0, 0), (reach, reach + old)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1], axis=1)[:, ::old]
    length = math.ceil(new * waveform.shape[1] / old)
    return (windows @ kernels.T).reshape(len(waveform), -1)[:, :length]


@functools.lru_cache(maxsize=8)
def _kernels(old: int, new: int) -> tuple[Floats, int]:
    """Return one kernel per phase of the new samples relative to the old, and their reach in old samples."""
    cutoff = min(old, new) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * old / cutoff)
    phases = (np.arange(new)[:, None] / new).astype(np.float32)  # rounded to float32 as in the reference
    offsets = np.arange(-reach, reach + old) / old - phases
    crossings = np.clip(offsets * cutoff, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    taper = np.cos(crossings * np.pi / ZERO_CROSSINGS / 2) ** 2
    return (np.sinc(crossings) * taper * cutoff / old).astype(np.float32), reach
