"""Decodes sound of any rate, channel layout and container into windows of mono samples that cover all of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bindsearch.errors import UnreadableMedia
from bindsearch.media.container import LengthMonitor, check_length, main_audio, open_container, report_damage
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.media.truncation import check_complete, mp3_frames
from bindsearch.media.windows import Resampler, Samples, WindowCutter
from bindsearch.types import Modality, Piece, Span, Windowing

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream

    from bindsearch.media.container import Packet

_MAX_GAP_SECONDS = 0.5
"""A longer gap in the time stamps starts a new stretch of sound; windows never bridge it."""
_BATCH_SAMPLES = 1 << 15
"""Samples that are collected before they are resampled: frames of a thousand are too small to be fast."""
_PLAUSIBLE_RATES = range(1000, 1_000_001)
_SILENCE_AND_FULL_SCALE = {
    "u1": (128, 128),
    "i2": (0, 1 << 15),
    "i4": (0, 1 << 31),
    "i8": (0, 1 << 63),
    "f4": (0, 1),
    "f8": (0, 1),
}
"""By sample type: the value of silence, and the distance from it to full scale."""
_CODECS_WITHOUT_CONTAINER = frozenset({"mp1float", "mp2float", "mp3float", "mp3", "mp2", "aac", "ac3", "eac3"})
"""Their streams may have tags and other data before the first frame and after the last one."""
_MAX_AMPLITUDE = 1e6
"""Of float samples, whose full scale is 1. Larger values are no sound."""


def decode_audio(task: DecodeTask, facts: MediaFacts) -> Iterator[Piece]:
    """Decode a recording into windows of sound. Raises `UnreadableMedia`."""
    check_complete(task.file, task.kind.format)
    if Modality.AUDIO not in task.wanted:
        return
    frames = mp3_frames(task.file) if task.kind.format == "mp3" else 0
    with open_container(task.file, task.kind.format, task.limits) as container:
        stream = main_audio(container)
        if stream is None:
            raise UnreadableMedia("its sound has a codec that cannot be decoded")
        monitor = LengthMonitor(container, task.kind.format)
        track = AudioTrack(stream, task.windowing, origin=None)
        for packet in monitor.watch(container.demux()):
            if packet.stream_index == stream.index:
                yield from track.feed(packet)
        yield from track.finish()
        track.check_not_empty()
        monitor.check()
        if task.kind.format == "flac" and stream.duration:
            check_sample_count(stream.duration, track.samples)
        check_length(frames * (1152 if track.rate >= 32_000 else 576) / max(track.rate, 1), track.decoded_seconds)
        facts.duration, facts.covered = track.end, track.covered


def check_sample_count(declared: int, found: int) -> None:
    """Raise `UnreadableMedia` if samples are missing, for formats that declare their exact number."""
    if found < declared:
        raise UnreadableMedia(f"damaged or truncated: {declared - found:,} of {declared:,} samples are missing")


class AudioTrack:
    """Turns the packets of one stream into windows of mono sound.

    Time zero is `origin` on the container's clock, or the first sample if it is None.
    """

    def __init__(self, stream: AudioStream, windowing: Windowing, *, origin: float | None) -> None:
        self._codec = stream.codec_context.name
        self._stream = stream
        self._windowing = windowing
        self._origin = origin
        self._error: UnreadableMedia | None = None
        """Of a packet that could not be decoded, and that may be a tag before or after the sound."""
        self._batch: list[Samples] = []
        self._batch_samples = 0
        self._begin_stretch(0.0)
        self._expected_time: float | None = None
        """When the next frame starts if there is no gap; None before the first frame with a time stamp."""
        self._covered_seconds = 0.0
        self.rate = 0
        self.samples = 0
        self.decoded_seconds = 0.0
        self.end = 0.0
        """Where the sound ends, in seconds."""

    @property
    def covered(self) -> float:
        """The share of the time up to the end that lies in windows."""
        return min(1.0, self._covered_seconds / self.end) if self.end else 1.0

    def feed(self, packet: Packet) -> Iterator[Piece]:
        """Decode a packet and yield the windows that it completes."""
        for frame in self._decode(packet):
            yield from self._add_frame(frame)

    def finish(self) -> Iterator[Piece]:
        """Yield the remaining windows."""
        yield from self._end_stretch()

    def check_not_empty(self) -> None:
        """Raise `UnreadableMedia` if there was no sound at all."""
        if self._error and not self.samples:
            raise self._error
        if not self.samples:
            raise UnreadableMedia("holds no sound")

    def _decode(self, packet: Packet) -> list[AudioFrame]:
        """Decode a packet.

        In streams without a container, an error is damage only if frames come before and after it; otherwise it is
        caused by tags.
        """
        try:
            with report_damage(f"damaged at {self.decoded_seconds:.1f} s: its sound cannot be decoded"):
                frames = self._stream.decode(packet)
        except UnreadableMedia as error:
            if self._codec not in _CODECS_WITHOUT_CONTAINER:
                raise
            self._error = error
            return []
        if frames and self._error:
            if self.samples:
                raise self._error
            self._error = None
        return frames

    def _add_frame(self, frame: AudioFrame) -> Iterator[Piece]:
        mono = downmix(frame)
        rate = frame.sample_rate
        if rate not in _PLAUSIBLE_RATES:
            raise UnreadableMedia(f"damaged: a sample rate of {rate} Hz")
        if not mono.size:
            return
        if not np.abs(mono).max() <= _MAX_AMPLITUDE:
            raise UnreadableMedia(f"damaged at {self.decoded_seconds:.1f} s: invalid sample values")
        if rate != self.rate:
            yield from self._resample_batch()
            self.rate = rate
        yield from self._follow_clock(frame)
        self.samples += mono.size
        self.decoded_seconds += mono.size / rate
        if self._expected_time is not None:
            self._expected_time += mono.size / rate
        self._batch.append(mono)
        self._batch_samples += mono.size
        if self._batch_samples >= _BATCH_SAMPLES:
            yield from self._resample_batch()

    def _follow_clock(self, frame: AudioFrame) -> Iterator[Piece]:
        """Begin a new stretch of sound where the time stamps jump forward."""
        if frame.time is None:
            return
        if self._origin is None:
            self._origin = frame.time
        now = frame.time - self._origin
        if self._expected_time is None:
            self._begin_stretch(max(0.0, now))
        elif now - self._expected_time > _MAX_GAP_SECONDS:
            yield from self._end_stretch()
            self._begin_stretch(now)
        elif abs(now - self._expected_time) < _MAX_GAP_SECONDS:
            return
        self._expected_time = now

    def _begin_stretch(self, start: float) -> None:
        self._start = start
        self._resampler = Resampler(self._windowing.sample_rate)
        self._cutter = WindowCutter.of(self._windowing)

    def _end_stretch(self) -> Iterator[Piece]:
        yield from self._resample_batch()
        yield from self._pieces(self._cutter.push(self._resampler.flush()))
        yield from self._pieces(self._cutter.finish())
        rate = self._windowing.sample_rate
        self._covered_seconds += self._cutter.covered / rate
        if self._cutter.total:
            self.end = max(self.end, self._start + self._cutter.total / rate)

    def _resample_batch(self) -> Iterator[Piece]:
        if self._batch:
            mono = np.concatenate(self._batch)
            self._batch, self._batch_samples = [], 0
            yield from self._pieces(self._cutter.push(self._resampler.push(mono, self.rate)))

    def _pieces(self, windows: Iterator[tuple[int, Samples]]) -> Iterator[Piece]:
        rate = self._windowing.sample_rate
        for start, samples in windows:
            span = Span(self._start + start / rate, self._start + (start + samples.size) / rate)
            yield Piece(Modality.AUDIO, samples, span)


def downmix(frame: AudioFrame) -> Samples:
    """Return the mean of all channels of a frame, full scale 1. FFmpeg's own downmix would drop the LFE channel."""
    raw = frame.to_ndarray()
    if not frame.format.is_planar:
        raw = raw.reshape(-1, frame.layout.nb_channels).T
    silence, full_scale = _SILENCE_AND_FULL_SCALE[raw.dtype.str[1:]]
    mean = raw[0] if len(raw) == 1 else raw.mean(axis=0, dtype=np.float64)
    mono: Samples = ((mean - silence) / full_scale).astype(np.float32)
    return mono
