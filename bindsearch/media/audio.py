"""Sound: any rate, any channels, any container, as windows of mono samples that cover all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bindsearch.errors import UnreadableMedia
from bindsearch.media.container import LengthMonitor, check_length, damage, main_audio, open_container
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.media.truncation import check_complete, mp3_frames
from bindsearch.media.windows import Resampler, Samples, WindowCutter
from bindsearch.types import Modality, Piece, Span, Windowing

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream

    from bindsearch.media.container import Packet

_GAP = 0.5
"""Seconds without sound, by the time stamps, after which sound goes on as a new run: windows never bridge it."""
_BATCH = 1 << 15
"""Samples that are gathered before they are resampled: frames of a thousand are too small to be quick."""
_RATES = range(1000, 1_000_001)
_SCALES = {"u1": (128, 128), "i2": (0, 1 << 15), "i4": (0, 1 << 31), "i8": (0, 1 << 63), "f4": (0, 1), "f8": (0, 1)}
"""Of samples, by their type: which value is silence, and how far from it full scale lies."""
_JUNK_AT_ENDS = frozenset({"mp1float", "mp2float", "mp3float", "mp3", "mp2", "aac", "ac3", "eac3"})
_LOUDEST = 1e6
"""Of float samples, where full scale is 1. More than this is no sound."""


def decode_audio(task: DecodeTask, told: MediaFacts) -> Iterator[Piece]:
    """Decode a recording into windows of sound. Raises `UnreadableMedia`."""
    check_complete(task.file, task.kind.format)
    if Modality.AUDIO not in task.wanted:
        return
    frames = mp3_frames(task.file) if task.kind.format == "mp3" else 0
    with open_container(task.file, task.kind.format, task.limits) as container:
        stream = main_audio(container)
        if stream is None:
            raise UnreadableMedia("its sound is coded in a way that cannot be decoded")
        reach = LengthMonitor(container, task.kind.format)
        track = AudioTrack(stream, task.windowing, origin=None)
        for packet in reach.watch(container.demux()):
            if packet.stream_index == stream.index:
                yield from track.feed(packet)
        yield from track.finish()
        track.check_not_empty()
        reach.check()
        if task.kind.format == "flac" and stream.duration:
            check_sample_count(stream.duration, track.samples)
        check_length(frames * (1152 if track.rate >= 32_000 else 576) / max(track.rate, 1), track.heard)
        told.duration, told.covered = track.end, track.covered


def check_sample_count(declared: int, found: int) -> None:
    """Raise `UnreadableMedia` unless exactly as many samples were found as declared, for formats that count them."""
    if found < declared:
        raise UnreadableMedia(f"damaged or truncated: {declared - found:,} of {declared:,} samples are missing")


class AudioTrack:
    """Packets of one stream in, windows of mono sound out.

    Time zero is `origin` on the clock of the container, or the first sample where it is None.
    """

    def __init__(self, stream: AudioStream, windowing: Windowing, *, origin: float | None) -> None:
        self._name = stream.codec_context.name
        self._stream = stream
        self._spec = windowing
        self._origin = origin
        self._failed: UnreadableMedia | None = None
        self._batch: list[Samples] = []
        self._gathered = 0
        self._begin_run(0.0)
        self._expected: float | None = None
        self._covered = 0.0
        self.rate = 0
        self.samples = 0
        self.heard = 0.0
        """Seconds of sound that were decoded."""
        self.end = 0.0
        """Where the sound ends, in seconds."""

    @property
    def covered(self) -> float:
        """The share of the time up to the end that lies in windows."""
        return min(1.0, self._covered / self.end) if self.end else 1.0

    def feed(self, packet: Packet) -> Iterator[Piece]:
        """Decode a packet and give the windows that it completes."""
        for frame in self._decoded(packet):
            yield from self._take(frame)

    def finish(self) -> Iterator[Piece]:
        """Return what is left."""
        yield from self._end_run()

    def check_not_empty(self) -> None:
        """Raise `UnreadableMedia` if there was no sound at all."""
        if self._failed and not self.samples:
            raise self._failed
        if not self.samples:
            raise UnreadableMedia("holds no sound")

    def _decoded(self, packet: Packet) -> list[AudioFrame]:
        """Decode a packet.

        In streams without a container an error is damage only between frames: before and behind them are tags.
        """
        try:
            with damage(f"damaged at {self.heard:.1f} s: its sound cannot be decoded"):
                frames = self._stream.decode(packet)
        except UnreadableMedia as error:
            if self._name not in _JUNK_AT_ENDS:
                raise
            self._failed = error
            return []
        if frames and self._failed:
            if self.samples:
                raise self._failed
            self._failed = None
        return frames

    def _take(self, frame: AudioFrame) -> Iterator[Piece]:
        mono = downmix(frame)
        rate = frame.sample_rate
        if rate not in _RATES:
            raise UnreadableMedia(f"damaged: a sample rate of {rate} Hz")
        if not mono.size:
            return
        if not np.abs(mono).max() <= _LOUDEST:
            raise UnreadableMedia(f"damaged at {self.heard:.1f} s: samples that are not numbers")
        if rate != self.rate:
            yield from self._drain()
            self.rate = rate
        yield from self._follow_clock(frame)
        self.samples += mono.size
        self.heard += mono.size / rate
        if self._expected is not None:
            self._expected += mono.size / rate
        self._batch.append(mono)
        self._gathered += mono.size
        if self._gathered >= _BATCH:
            yield from self._drain()

    def _follow_clock(self, frame: AudioFrame) -> Iterator[Piece]:
        """Begin a new run of sound where the time stamps jump forward."""
        if frame.time is None:
            return
        if self._origin is None:
            self._origin = frame.time
        now = frame.time - self._origin
        if self._expected is None:
            self._begin_run(max(0.0, now))
        elif now - self._expected > _GAP:
            yield from self._end_run()
            self._begin_run(now)
        elif abs(now - self._expected) < _GAP:
            return
        self._expected = now

    def _begin_run(self, start: float) -> None:
        rate = self._spec.sample_rate
        self._start = start
        self._resampler = Resampler(rate)
        self._windows = WindowCutter(max(1, round(self._spec.window * rate)), max(1, round(self._spec.hop * rate)))

    def _end_run(self) -> Iterator[Piece]:
        yield from self._drain()
        yield from self._pieces(self._windows.push(self._resampler.flush()))
        yield from self._pieces(self._windows.finish())
        rate = self._spec.sample_rate
        self._covered += self._windows.covered / rate
        if self._windows.total:
            self.end = max(self.end, self._start + self._windows.total / rate)

    def _drain(self) -> Iterator[Piece]:
        if self._batch:
            mono = np.concatenate(self._batch)
            self._batch, self._gathered = [], 0
            yield from self._pieces(self._windows.push(self._resampler.push(mono, self.rate)))

    def _pieces(self, windows: Iterator[tuple[int, Samples]]) -> Iterator[Piece]:
        rate = self._spec.sample_rate
        for start, samples in windows:
            span = Span(self._start + start / rate, self._start + (start + samples.size) / rate)
            yield Piece(Modality.AUDIO, samples, span)


def downmix(frame: AudioFrame) -> Samples:
    """Return the mean over all channels of a frame, full scale 1. FFmpeg's own mix would leave out the low one."""
    raw = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    zero, full = _SCALES[raw.dtype.str[1:]]
    mean = raw[0] if len(raw) == 1 else raw.mean(axis=0, dtype=np.float64)
    mono: Samples = ((mean - zero) / full).astype(np.float32)
    return mono
