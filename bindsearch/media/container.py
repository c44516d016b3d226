"""Opens FFmpeg's containers so that they read this one file only, guess nothing, and print nothing."""

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
"""None of these opens a second file, accepts arbitrary bytes, or is a playlist."""
_MAX_PACKET_SECONDS = 0.1
"""No packet of sound is longer, where it matters."""
_FORMATS_OF_GUESSED_LENGTH = frozenset(
    {"wav", "mp3", "aac", "ac3", "eac3", "amr", "ogg", "mpeg", "mpegvideo", "mpegts"}
)
"""FFmpeg derives the length of these from the size or the last time stamp, so it says nothing about what is missing."""
_CHECKSUMMED_CODECS = frozenset({"flac", "alac", "tta", "wavpack", "ape"})
"""Lossless codecs: their own checksums tell damage from harmless oddities, so that every error they report counts."""
_MAX_SEEKS_TO_OPEN = 100_000
"""An MP4 followed by a HEIF makes FFmpeg seek in an endless loop while it opens the file."""
_OPENING_BUFFER_BYTES = 1 << 18


class _FileWithoutName:
    """What FFmpeg gets of a file: its bytes, but no name that it could guess from or open neighbouring files by."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.tell = file.tell
        self.seeks_left: float = _MAX_SEEKS_TO_OPEN

    def read(self, size: int) -> bytes:
        """Read; nothing more once the seeks are used up."""
        return self._file.read(size) if self.seeks_left > 0 else b""

    def seek(self, offset: int, whence: int = 0) -> int:
        """Seek; a negative number, as FFmpeg expects it, for an invalid position, to which damaged files lead."""
        self.seeks_left -= 1
        try:
            return self._file.seek(offset, whence) if self.seeks_left > 0 else -errno.EINVAL
        except (OSError, ValueError, OverflowError):
            return -errno.EINVAL


@contextmanager
def open_container(file: BinaryIO, name: str | None, limits: Limits) -> Iterator[InputContainer]:
    """Open a file with the demuxer of this name, or with whichever recognises it. Raises `UnreadableMedia`."""
    import av

    options = {
        "format_whitelist": DEMUXERS,
        "protocol_whitelist": "",
        "max_pixels": str(limits.max_video_pixels),
        "err_detect": "crccheck",
    }
    file.seek(0)
    reader = _FileWithoutName(file)
    with report_damage("damaged: it cannot be opened as sound or video"):
        container = av.open(
            reader, "r", format=name, options=options, buffer_size=_OPENING_BUFFER_BYTES, metadata_errors="replace"
        )
    with container:
        if reader.seeks_left <= 0:
            raise UnreadableMedia("damaged: its index loops endlessly")
        reader.seeks_left = math.inf
        _configure_streams(container)
        yield container


def _configure_streams(container: InputContainer) -> None:
    for stream in (*container.streams.audio, *container.streams.video):
        if stream.codec_context is not None:
            stream.codec_context.thread_count = 1
            if stream.codec_context.name in _CHECKSUMMED_CODECS:
                stream.codec_context.options = {"err_detect": "crccheck+explode"}


@contextmanager
def report_damage(what: str) -> Iterator[None]:
    """Turn FFmpeg's errors into `UnreadableMedia`, with its reason after `what`; errors of the file system pass."""
    import av

    try:
        yield
    except av.FFmpegError as error:
        reason = error.strerror or "invalid data"
        raise UnreadableMedia(f"{what} (FFmpeg: {reason})") from error
    except (ValueError, RuntimeError, MemoryError, OverflowError) as error:
        raise UnreadableMedia(f"{what} ({type(error).__name__}: {error})") from error


def main_video(container: InputContainer) -> VideoStream | None:
    """Return the largest video stream that can be decoded; cover art is not one."""
    from av.stream import Disposition

    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context is not None and stream.width and not stream.disposition & Disposition.attached_pic
    ]
    return max(moving, key=lambda stream: stream.width * stream.height, default=None)


def main_audio(container: InputContainer) -> AudioStream | None:
    """Return the audio stream that a player would choose, if any can be decoded."""
    from av.stream import Disposition

    decodable = [stream for stream in container.streams.audio if stream.codec_context is not None]
    return max(decodable, key=lambda stream: bool(stream.disposition & Disposition.default), default=None)


class LengthMonitor:
    """Watches the packets of a file, to check at the end whether it was as long as it declares."""

    def __init__(self, container: InputContainer, name: str) -> None:
        self._start = (container.start_time or 0) / 1_000_000
        declared = None if name in _FORMATS_OF_GUESSED_LENGTH else container.duration
        self._declared = declared / 1_000_000 if declared and declared > 0 else 0.0
        self.end = 0.0
        """Where the last packet so far ends, in seconds."""

    def watch(self, packets: Iterator[Packet]) -> Iterator[Packet]:
        """Pass packets through. Raises `UnreadableMedia` if one cannot be read."""
        while True:
            try:
                with report_damage(f"damaged at {self.end:.1f} s: the rest of the file cannot be read"):
                    packet = next(packets)
            except (StopIteration, IndexError):
                # PyAV raises IndexError at streams that begin in the middle of a file: treated as the end, too.
                return
            except UnreadableMedia:
                if 0 < self._declared <= self.end + _MAX_PACKET_SECONDS:
                    return  # tags and other data after the end
                raise
            shown = packet.pts if packet.pts is not None else packet.dts
            if shown is not None and packet.time_base:
                self.end = max(self.end, float((shown + (packet.duration or 0)) * packet.time_base) - self._start)
            yield packet

    def check(self) -> None:
        """Raise `UnreadableMedia` if a substantial part of the declared length is missing."""
        check_length(self._declared, self.end)


def check_length(declared: float, found: float) -> None:
    """Raise `UnreadableMedia` if substantially less was found than declared, both in seconds."""
    if declared - found > max(0.25, 0.02 * declared):
        raise UnreadableMedia(f"truncated: it should last {declared:.1f} s, but ends at {found:.1f} s")
