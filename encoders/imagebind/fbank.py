"""What ImageBind's audio tower looks at: log-mel clips, by numpy alone, as Kaldi and the reference make them.

A recording becomes clips of two seconds. The reference hears three of them, evenly spread, of channel 0; the spaces
here hear all of a recording, in windows that lie side by side. What one clip looks like is the same in both.
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
"""That the reference takes of every recording."""
CLIP_SAMPLES = CLIP_SECONDS * RATE
BANDS = 128
FRAMES = 204
"""Of a clip, as the tower takes it: 198 that two seconds give, and nothing."""
FRAME_SAMPLES, STEP_SAMPLES, FFT_SIZE = 400, 160, 512
MIN_HERTZ, MAX_HERTZ = 20.0, 8_000.0
PRE_EMPHASIS = 0.97
POWER_FLOOR = float(np.finfo(np.float32).eps)
MEAN, SCALE = -4.268, 9.138
ZERO_CROSSINGS, ROLLOFF = 6, 0.99
"""Of the resampler's kernel: zero crossings on each side, and where its band ends."""


# One clip ---------------------------------------------------------------------------------------------------------


def log_mel(samples: Floats, *, bands: int = BANDS, frames: int = FRAMES) -> Floats:
    """Turn mono sound at 16 kHz, centred by the caller, into normalised log-mel frames of 10 ms.

    What is missing to `frames` is filled with zeros before normalising; what is too much is cut. Raises `ValueError`
    for less than a frame of sound. *Shape:* (n,) to (1, bands, frames).
    """
    if len(samples) < FRAME_SAMPLES:
        raise ValueError(f"{len(samples)} samples are less than a frame of {FRAME_SAMPLES}")
    mel = np.log(np.maximum(_power_spectrum(samples) @ _mel_filters(bands), POWER_FLOOR))[:frames]
    filled = np.pad(mel, ((0, frames - len(mel)), (0, 0)))
    return ((filled - MEAN) / SCALE).T[None].astype(np.float32)


def window_clip(samples: Floats) -> Floats:
    """Make the clip of one window of mono sound, which is short only if the recording is.

    *Shape:* (n,) to (1, 128, 204).
    """
    centred = samples - samples.mean(dtype=np.float64) if len(samples) else samples
    return log_mel(np.pad(centred, (0, max(0, FRAME_SAMPLES - len(centred)))).astype(np.float32))


def _power_spectrum(samples: Floats) -> Doubles:
    """Return the power spectrum of each frame, in float64. *Shape:* (n,) to (frames, 257)."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME_SAMPLES)[::STEP_SAMPLES].astype(np.float64)
    frames -= frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectra = np.fft.rfft((frames - PRE_EMPHASIS * before) * np.hanning(FRAME_SAMPLES), FFT_SIZE, axis=1)
    return np.abs(spectra) ** 2


@functools.cache
def _mel_filters(bands: int) -> Doubles:
    """Triangles that are equally wide, and straight, on the mel scale; the last line counts nowhere.

    *Shape:* (257, bands).
    """
    edges = np.linspace(_mel(MIN_HERTZ), _mel(MAX_HERTZ), bands + 2)
    lines = _mel(np.arange(FFT_SIZE // 2) * RATE / FFT_SIZE)[:, None]
    rise = (lines - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - lines) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(0, np.minimum(rise, fall)), ((0, 1), (0, 0)))


def _mel(hertz: float | Doubles) -> Doubles:
    return 1127 * np.log1p(np.asarray(hertz, np.float64) / 700)


# As the reference does it -----------------------------------------------------------------------------------------


def clip_times(
    samples: int, *, clips: int = REFERENCE_CLIPS, seconds: int = CLIP_SECONDS
) -> list[tuple[Fraction, Fraction]]:
    """Return start and end of the reference's clips, in seconds; an end may lie behind that of the recording.

    The slack is rounded to float64 and then divided exactly, as in the reference: neither whole numbers nor floats all
    the way give the same samples.
    """
    slack = Fraction(max(samples / RATE - seconds, 0.0))
    starts = [slack * at / max(clips - 1, 1) for at in range(clips)]
    return [(start, start + seconds) for start in starts]


def clip_samples(samples: int, *, clips: int = REFERENCE_CLIPS, seconds: int = CLIP_SECONDS) -> list[tuple[int, int]]:
    """Return the first sample of each of the reference's clips, and the one behind its last."""
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
    """Make the clips that the reference hears of a recording.

    Centring is over all channels and in place, as there: where clips overlap, a later one sees what an earlier one
    left. The caller's samples are not touched. Raises `ValueError` for less than 25 ms.
    *Shape:* (channels, n) to (clips, 1, bands, frames).
    """
    sound = resample(np.array(waveform, np.float32, ndmin=2), rate)
    slices = clip_samples(sound.shape[1], clips=clips, seconds=seconds)
    return np.stack([log_mel(_centred_in_place(sound[:, a:b]), bands=bands, frames=frames) for a, b in slices])


def _centred_in_place(stretch: Floats) -> Floats:
    stretch -= stretch.mean(dtype=np.float64).astype(np.float32)
    channel: Floats = stretch[0]
    return channel


def resample(waveform: Floats, rate: int) -> Floats:
    """Bring sound to 16 kHz by a windowed sinc, as the reference's resampler does.

    *Shape:* (channels, n) to (channels, m).
    """
    if rate == RATE:
        return waveform
    shared = math.gcd(rate, RATE)
    old, new = rate // shared, RATE // shared
    kernels, reach = _kernels(old, new)
    padded = np.pad(waveform, ((0, 0), (reach, reach + old)))
    stretches = np.lib.stride_tricks.sliding_window_view(padded, kernels.shape[1], axis=1)[:, ::old]
    length = math.ceil(new * waveform.shape[1] / old)
    return (stretches @ kernels.T).reshape(len(waveform), -1)[:, :length]


@functools.lru_cache(maxsize=8)
def _kernels(old: int, new: int) -> tuple[Floats, int]:
    """Return one kernel for each of the new samples that fall on a period of the old, and how far they reach."""
    band = min(old, new) * ROLLOFF
    reach = math.ceil(ZERO_CROSSINGS * old / band)
    phases = (np.arange(new)[:, None] / new).astype(np.float32)  # the reference rounds them too
    offsets = np.arange(-reach, reach + old) / old - phases
    places = np.clip(offsets * band, -ZERO_CROSSINGS, ZERO_CROSSINGS)
    taper = np.cos(places * np.pi / ZERO_CROSSINGS / 2) ** 2
    return (np.sinc(places) * taper * band / old).astype(np.float32), reach
