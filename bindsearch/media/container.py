"""FFmpeg's containers, opened so that they read this one file, guess nothing, and say nothing."""

from __future__ import annotations

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from bindsearch.errors import UnreadableMedia
from bindsearch.media.formats import Limits

if TYPE_CHECKING:
    from typing import Any

    from av import AudioStream, Packet as AnyPacket, VideoStream
    from av.container import InputContainer

    Packet = AnyPacket[Any]

DEMUXERS = (
    "wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr,ape,wv,tta,mpc,mpc8,dsf,voc,"
    "ogg,mov,matroska,avi,asf,flv,mpeg,mpegvideo,mpegts"
)
"""None of these opens a second file, takes arbitrary bytes, or is a playlist."""

_FRAME = 0.1
"""Seconds. No packet of sound is longer, where it matters."""
_GUESSED_LENGTH = frozenset({"wav", "mp3", "aac", "ac3", "eac3", "amr", "ogg", "mpeg", "mpegvideo", "mpegts"})
"""FFmpeg derives the length of these from the size or the last time stamp: it says nothing about what is missing."""


_CHECKED = frozenset({"flac", "alac", "tta", "wavpack", "ape"})
"""Lossless codecs: their own checksums tell damage from oddities, so their word is final."""


_MOST_SEEKS = 100_000
"""While a file is opened. MP4 followed by HEIF sends FFmpeg in circles for ever."""


class _Reader:
    """What FFmpeg sees of a file: its bytes, but no name that it could guess from or open neighbours by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell
        self.seeks_left: float = _MOST_SEEKS

    def read(self, size: int) -> bytes:
        """Read on; nothing any more once the seeks are used up."""
        return self._file.read(size) if self.seeks_left > 0 else b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move, or give a negative number, FFmpeg's sign for a place that cannot be: damaged files lead there."""
        self.seeks_left -= 1
        try:
            return self._file.seek(offset, whence) if self.seeks_left > 0 else -errno.EINVAL
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


@contextmanager
def open_container(file: BinaryIO, name: str | None, limits: Limits) -> Iterator[InputContainer]:
    """Open a file with the demuxer of a name, or with whichever recognises it. Raises `UnreadableMedia`."""
    import av

    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "",
        "max_pixels": str(limits.max_video_pixels),
        "err_detect": "crccheck",
    }
    file.seek(0)
    reader = _Reader(file)
    with damage("damaged: it cannot be opened as sound or video"):
        container = av.open(reader, "r", format=name, options=options, buffer_size=1 << 18, metadata_errors="replace")
    with container:
        if reader.seeks_left <= 0:
            raise UnreadableMedia("damaged: its index leads in circles")
        reader.seeks_left = math.inf
        for stream in (*container.streams.audio, *container.streams.video):
            if stream.codec_context is not None:
                stream.codec_context.thread_count = 1
                if stream.codec_context.name in _CHECKED:
                    stream.codec_context.options = {"err_detect": "crccheck+explode"}
        yield container


@contextmanager
def damage(where: str) -> Iterator[None]:
    """Turn FFmpeg's errors into `UnreadableMedia`, its words behind ours; those of the file system pass through."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        reason = error.strerror or "invalid data"
        raise UnreadableMedia(f"{where} (FFmpeg: {reason})") from error
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise UnreadableMedia(f"{where} ({type(error).__name__}: {error})") from error


def main_video(container: InputContainer) -> VideoStream | None:
    """Return the largest moving picture that can be decoded; cover art does not move."""
    from av.stream import Disposition

    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and stream.width and not stream.disposition & Disposition.attached_pic
    ]
    return max(moving, key=lambda stream: stream.width * stream.height, default=None)


def main_audio(container: InputContainer) -> AudioStream | None:
    """Return the sound track that a player would choose, if any can be decoded."""
    from av.stream import Disposition

    sounding = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return max(sounding, key=lambda stream: bool(stream.disposition & Disposition.default), default=None)


class LengthMonitor:
    """Watches packets go by, to tell at the end whether the file was as long as it says."""

    def __init__(self, container: InputContainer, name: str) -> None:
        self._start = (container.start_time or 0) / 1_000_000
        declared = None if name in _GUESSED_LENGTH else container.duration
        self._declared = declared / 1_000_000 if declared and declared > 0 else 0.0
        self.end = 0.0

    def watch(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Pass packets through. Raises `UnreadableMedia` where one cannot be read."""
        while True:
            try:
                with damage(f"damaged at {self.end:.1f} s: the file cannot be read on"):
                    packet = next(packets)
            except (StopIteration, IndexError):
                # PyAV has an IndexError when it comes to streams that began in mid-file: the end, too.
                return
            except UnreadableMedia:
                if 0 < self._declared <= self.end + _FRAME:
                    return  # tags and other junk behind the end
                raise
            when = packet.pts if packet.pts is not None else packet.dts
            if when is not None and packet.time_base:
                self.end = max(self.end, float((when + (packet.duration or 0)) * packet.time_base) - self._start)
            yield packet

    def check(self) -> None:
        """Raise `UnreadableMedia` when a clear part of what the container declares did not come."""
        check_length(self._declared, self.end)


def check_length(declared: float, found: float) -> None:
    """Raise `UnreadableMedia` when clearly less was found than declared, both in seconds."""
    if declared - found > max(0.25, 0.02 * declared):
        raise UnreadableMedia(f"truncated: it should last {declared:.1f} s, but ends at {found:.1f} s")
