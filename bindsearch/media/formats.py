"""The supported media formats, the file name suffixes that claim them, and the limits of decoding."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from bindsearch.errors import UnreadableMedia
from bindsearch.types import Modality


@dataclass(frozen=True, slots=True)
class MediaKind:
    """What a file holds, by its content."""

    modality: Modality
    format: str
    """The name of what opens it: a Pillow plugin, an FFmpeg demuxer, or a kind of text."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a file may be to be decoded; beyond these limits decoding raises `MediaTooLarge`."""

    max_pixels: int = 200_000_000
    """Of an image, or of one frame of an animation."""
    max_video_pixels: int = 40_000_000
    """Of one frame of a video: decoders hold a dozen frames at once. 8K has 33 million pixels."""
    max_sequence_pixels: int = 10_000_000_000
    """Of all frames of an animation, or all pages of a document, together."""
    max_pages: int = 1000
    max_text_bytes: int = 64 << 20


DEFAULT_LIMITS = Limits()

SUFFIXES = {
    Modality.IMAGE: frozenset(
        ".jpg .jpeg .jpe .jfif .png .apng .gif .webp .tif .tiff .bmp .dib .heic .heif .hif .avif .jp2 .j2k .jpx "
        ".ico .tga .pcx .ppm .pgm .pbm .pnm .qoi .psd .dds .icns".split()
    ),
    Modality.AUDIO: frozenset(
        ".wav .wave .w64 .flac .mp3 .mp2 .ogg .oga .opus .spx .m4a .m4b .aac .aif .aiff .aifc .au .caf .wma .mka "
        ".ac3 .eac3 .amr .ape .wv .tta .mpc .dsf .voc".split()
    ),
    Modality.VIDEO: frozenset(
        ".mp4 .m4v .mov .qt .mkv .webm .avi .wmv .asf .flv .3gp .3g2 .mpg .mpeg .ogv .m2ts .vob".split()
    ),
    Modality.TEXT: frozenset(".txt .md .markdown .srt .vtt .html .htm".split()),
}
"""Suffixes that claim a modality. A few that other formats use more often (.ts, .mts) are left to the content."""

CAMERA_RAW = frozenset(".dng .cr2 .cr3 .nef .nrw .arw .orf .rw2 .pef .srw .raf .rwl .3fr .iiq".split())
"""Ignored: their content looks like TIFF or MP4, but Pillow could read nothing but a thumbnail."""

CONTAINER_MODALITIES = frozenset({Modality.AUDIO, Modality.VIDEO})
"""One family: containers hold either, and their names say little about which."""

MODALITY_NAMES = {Modality.IMAGE: "a picture", Modality.AUDIO: "sound", Modality.VIDEO: "video", Modality.TEXT: "text"}


def claimed_modality(path: Path) -> Modality | None:
    """Return the modality that a file's suffix claims, if any."""
    suffix = path.suffix.lower()
    return next((modality for modality, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def same_family(one: Modality, other: Modality) -> bool:
    """Whether a file whose name claims one modality may hold the other."""
    return one == other or {one, other} <= CONTAINER_MODALITIES


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading, without ever blocking on a pipe. Raises `OSError`, `UnreadableMedia`."""
    file = _BoundedReader(FileIO(path, "rb", opener=_open_without_blocking))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnreadableMedia("not a regular file")
    return file


class _BoundedReader(BufferedReader):
    """Allocates no more than what is left of the file, whatever length a damaged header declares."""

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, os.fstat(self.fileno()).st_size - self.tell())
        return super().read(left if size is None or not 0 <= size <= left else size)


def _open_without_blocking(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
