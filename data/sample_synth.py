"""The building blocks of the sample sounds: tones, noise, envelopes, and writing them to a file.

A sound is an array of floats at `RATE`. *Shape:* (samples,)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RATE = 24_000
CODECS = {
    ".wav": ("pcm_s16le", None),
    ".flac": ("flac", None),
    ".mp3": ("libmp3lame", 64_000),
    ".ogg": ("libopus", 40_000),
    ".m4a": ("aac", 64_000),
}
"""Suffix of a file -> its codec and bit rate."""
REPEATABLE = {"fflags": "+bitexact"}
"""Options of a container without random identifiers and dates."""


def clock(seconds: float) -> Floats:
    """Return the times of the samples."""
    return np.arange(round(seconds * RATE)) / RATE


def tone(pitch: Floats | float, seconds: float, *, partials: Sequence[float] = (1.0,)) -> Floats:
    """Return a tone of a pitch in Hz, which may glide; `partials` are the levels of its harmonics."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch, clock(seconds).shape)) / RATE
    voices = [level * np.sin(number * phase) for number, level in enumerate(partials, start=1)]
    return np.asarray(np.sum(voices, axis=0) / sum(partials))


def noise(rng: Generator, seconds: float, *, low: float = 20.0, high: float = 12_000.0) -> Floats:
    """Return noise between two pitches in Hz, with soft edges; its loudest sample is 1."""
    white = np.fft.rfft(rng.standard_normal(round(seconds * RATE)))
    pitch = np.maximum(np.fft.rfftfreq(round(seconds * RATE), 1 / RATE), 1.0)
    edges = 1 / (1 + (low / pitch) ** 4) / (1 + (pitch / high) ** 4)
    hiss = np.fft.irfft(white * edges, round(seconds * RATE))
    return np.asarray(hiss / np.abs(hiss).max())


def swell(rng: Generator, seconds: float, *, every: float, least: float = 0.3) -> Floats:
    """Return an envelope that rises and falls at random between `least` and 1, like gusts and waves."""
    points = np.arange(-1, seconds / every + 2) * every
    return np.interp(clock(seconds), points, rng.uniform(least, 1, len(points)))


def struck(seconds: float, *, attack: float = 0.005, decay: float = 0.3) -> Floats:
    """Return an envelope that rises at once and decays."""
    time = clock(seconds)
    envelope: Floats = np.minimum(time / attack, 1) * np.exp(-time / decay)
    return envelope


def arched(seconds: float, *, edge: float = 0.02) -> Floats:
    """Return an envelope that stays at 1 except for soft edges."""
    time = clock(seconds)
    envelope: Floats = np.minimum(time, seconds - time) / edge
    return np.clip(envelope, 0, 1)


def placed(seconds: float, *sounds: tuple[float, Floats]) -> Floats:
    """Mix sounds that start at given times into one of a given length."""
    mixed = np.zeros(round(seconds * RATE))
    for start, sound in sounds:
        first = round(start * RATE)
        overlap = mixed[first : first + len(sound)]
        overlap += sound[: len(overlap)]
    return mixed


def write_sound(path: Path, sound: Floats) -> None:
    """Write a sound in the format of the path's suffix."""
    codec, bit_rate = CODECS[path.suffix]
    with av.open(str(path), "w", options=REPEATABLE) as container:
        add_sound(container, sound_stream(container, codec, bit_rate=bit_rate), sound)


def sound_stream(container: OutputContainer, codec: str, *, bit_rate: int | None = None) -> AudioStream:
    """Open a stream of mono sound in a container."""
    stream = cast(AudioStream, container.add_stream(codec, rate=RATE, layout="mono"))
    if bit_rate is not None:
        stream.bit_rate = bit_rate
    return stream


def add_sound(container: OutputContainer, stream: AudioStream, sound: Floats) -> None:
    """Encode a sound into a stream of a container."""
    samples = np.round(np.clip(sound, -1, 1) * 32_767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
    frame.sample_rate = RATE
    frame.pts = 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
