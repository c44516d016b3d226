"""Detects truncated files by the lengths that their chunks and pages declare, which decoders often ignore."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from bindsearch.errors import UnreadableMedia

_TOLERANCE_BYTES = 64
"""Writers disagree on padding; 64 bytes of sound are a millisecond."""
_MIN_UNKNOWN_SIZE = 0x7FFF_0000
"""Streaming writers cannot fill in the size afterwards, and declare one between this and 2^32."""
_MAX_CHUNKS = 10_000
_MAX_TRAILING_BYTES = 65_536
"""This many bytes after the end may be a tag or padding. No page of Ogg is longer."""


def check_complete(file: BinaryIO, name: str) -> None:
    """Raise `UnreadableMedia` if a file is truncated. `name` is that of its demuxer."""
    checks: dict[str, Callable[[BinaryIO, int], None]] = {
        "wav": _check_riff,
        "avi": _check_riff,
        "aiff": _check_aiff,
        "au": _check_au,
        "caf": _check_caf,
        "w64": _check_w64,
        "asf": _check_asf,
        "mp4": _check_boxes,
        "mov": _check_boxes,
        "matroska": _check_matroska,
        "ogg": check_ogg,
    }
    if name in checks:
        checks[name](file, os.fstat(file.fileno()).st_size)


def mp3_frames(file: BinaryIO) -> int:
    """Return the number of frames that an MP3's Xing header declares, 0 if it has none."""
    file.seek(0)
    head = file.read(10)
    start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))
    file.seek(start if head[:3] == b"ID3" else 0)
    first = file.read(256)
    offset = max(first.find(b"Xing"), first.find(b"Info"))
    has_count = offset >= 0 and first[offset + 7 : offset + 8] and first[offset + 7] & 1
    return int.from_bytes(first[offset + 8 : offset + 12], "big") if has_count else 0


def _require_length(size: int, end: int, what: str) -> None:
    if end > size + _TOLERANCE_BYTES:
        raise UnreadableMedia(f"truncated: {end - size:,} bytes of its {what} are missing")


def _check_riff(file: BinaryIO, size: int) -> None:
    file.seek(0)
    order = "big" if file.read(4) == b"RIFX" else "little"
    for name, start, length in _chunks(file, size, order):
        if name == b"data" and 0 < length < _MIN_UNKNOWN_SIZE:
            _require_length(size, start + length, "sound")
        if name == b"LIST" and length < _MIN_UNKNOWN_SIZE:
            _require_length(size, start + length, "content")


def _check_au(file: BinaryIO, size: int) -> None:
    file.seek(4)
    header = file.read(8)
    start, length = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    if length < _MIN_UNKNOWN_SIZE:
        _require_length(size, start + length, "sound")


def _check_caf(file: BinaryIO, size: int) -> None:
    offset = 8
    for _ in range(_MAX_CHUNKS):
        if offset + 12 > size:
            return
        file.seek(offset)
        header = file.read(12)
        length = int.from_bytes(header[4:], "big", signed=True)
        if length < 0:  # -1 means up to the end of the file
            return
        if header[:4] == b"data":
            _require_length(size, offset + 12 + length, "sound")
        offset += 12 + length


def _check_w64(file: BinaryIO, size: int) -> None:
    offset = 40
    for _ in range(_MAX_CHUNKS):
        if offset + 24 > size:
            return
        file.seek(offset)
        header = file.read(24)
        length = int.from_bytes(header[16:], "little")
        if length < 24:
            return
        if header[:4] == b"data":
            _require_length(size, offset + length, "sound")
        offset += (length + 7) // 8 * 8


_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _check_asf(file: BinaryIO, size: int) -> None:
    file.seek(0)
    head = file.read(1 << 16)
    offset = head.find(_ASF_FILE_PROPERTIES)
    if offset >= 0:
        _require_length(size, int.from_bytes(head[offset + 40 : offset + 48], "little"), "content")


def _check_aiff(file: BinaryIO, size: int) -> None:
    for name, start, length in _chunks(file, size, "big"):
        if name == b"SSND" and length < _MIN_UNKNOWN_SIZE:
            _require_length(size, start + length, "sound")


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, start and length of the top-level chunks of a RIFF or IFF file."""
    offset = 12
    for _ in range(_MAX_CHUNKS):
        if offset + 8 > size:
            return
        file.seek(offset)
        header = file.read(8)
        length = int.from_bytes(header[4:], "big" if order == "big" else "little")
        yield header[:4], offset + 8, length
        offset += 8 + length + (length & 1)


def _check_boxes(file: BinaryIO, size: int) -> None:
    """Check the top-level boxes of an ISO base media or QuickTime file."""
    offset = 0
    for _ in range(_MAX_CHUNKS):
        if offset + 8 > size:
            return
        file.seek(offset)
        header = file.read(16)
        length, start = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), 16
        if header[4:8] in (b"mdat", b"moov", b"moof") and length >= start:
            _require_length(size, offset + length, "content")
        if not header[4:8].isalnum() and size - offset > _MAX_TRAILING_BYTES:
            raise UnreadableMedia(f"damaged at byte {offset:,}: no box begins there")
        if length < start:
            return
        offset += length


def _check_matroska(file: BinaryIO, size: int) -> None:
    """Check the segment that follows the EBML header; all ones mean that its size is unknown."""
    file.seek(0)
    head = file.read(4096)
    length, offset = _vint(head, 4)
    offset += length
    if head[offset : offset + 4] != b"\x18\x53\x80\x67":
        return
    length, start = _vint(head, offset + 4)
    width = start - offset - 4
    if length != (1 << 7 * width) - 1:
        _require_length(size, start + length, "content")


def _vint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the EBML number at an offset, and the offset after it."""
    width = 9 - data[offset].bit_length() if offset < len(data) else 9
    value = int.from_bytes(data[offset : offset + width], "big")
    return value & ((1 << 7 * width) - 1), offset + width


_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_ogg(file: BinaryIO, size: int) -> None:
    """Check that every page is intact, that none is missing, and that every stream has its last page."""
    expected: dict[bytes, int] = {}
    ended: dict[bytes, bool] = {}
    for offset, header, page_ok in _pages(file, size):
        serial, number = header[14:18], int.from_bytes(header[18:22], "little")
        begins = bool(header[5] & 2)
        if not page_ok:
            raise UnreadableMedia(f"damaged at byte {offset:,}: a page does not match its checksum")
        if not begins and expected.get(serial, number) != number:
            raise UnreadableMedia(f"damaged at byte {offset:,}: pages are missing")
        expected[serial] = number + 1
        ended[serial] = bool(header[5] & 4)
    if not all(ended.values()):
        raise UnreadableMedia("truncated: the stream has no end")


def _pages(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield each page's offset and header, and whether its checksum is right. Data after the last page is ignored."""
    offset = _first_page(file)
    while offset + 27 <= size:
        file.seek(offset)
        header = file.read(27 + 255)
        if header[:4] != b"OggS":
            if size - offset > _MAX_TRAILING_BYTES:
                raise UnreadableMedia(f"damaged at byte {offset:,}: no page begins there")
            return
        length = 27 + header[26] + sum(header[27 : 27 + header[26]])
        file.seek(offset)
        page = file.read(length)
        if len(page) < length:
            raise UnreadableMedia("truncated: its last page is incomplete")
        yield offset, header, _checksum(page) == int.from_bytes(page[22:26], "little")
        offset += length


def _first_page(file: BinaryIO) -> int:
    file.seek(0)
    return max(0, file.read(1 << 20).find(b"OggS"))


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC: zlib's with every bit order reversed, starting from zero, and not inverted at the end."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(_BIT_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_BIT_REVERSED), "big")
