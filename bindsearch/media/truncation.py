"""Whether a file is as long as its own chunks and pages say: what decoders overlook at the end of a truncated one."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from bindsearch.errors import UnreadableMedia

_SLACK = 64
"""Bytes. Writers disagree on padding; 64 bytes of sound are a millisecond."""
_ENDLESS = 0x7FFF_0000
"""Sizes from here up to 2^32 are what streaming writers put where they cannot come back to."""
_MOST_CHUNKS = 10_000
_MOST_JUNK = 65_536
"""Bytes behind the end that pass for a tag or padding. No page of Ogg is longer."""


def check_complete(file: BinaryIO, name: str) -> None:
    """Raise `UnreadableMedia` when a file opened with the demuxer of this name lacks its end."""
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
    place = max(first.find(b"Xing"), first.find(b"Info"))
    has_count = place >= 0 and first[place + 7 : place + 8] and first[place + 7] & 1
    return int.from_bytes(first[place + 8 : place + 12], "big") if has_count else 0


def _need(size: int, end: int, what: str) -> None:
    if end > size + _SLACK:
        raise UnreadableMedia(f"truncated: {end - size:,} bytes of its {what} are missing")


def _check_riff(file: BinaryIO, size: int) -> None:
    file.seek(0)
    order = "big" if file.read(4) == b"RIFX" else "little"
    for name, start, length in _chunks(file, size, order):
        if name == b"data" and 0 < length < _ENDLESS:
            _need(size, start + length, "sound")
        if name == b"LIST" and length < _ENDLESS:
            _need(size, start + length, "content")


def _check_au(file: BinaryIO, size: int) -> None:
    file.seek(4)
    header = file.read(8)
    start, length = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")
    if length < _ENDLESS:
        _need(size, start + length, "sound")


def _check_caf(file: BinaryIO, size: int) -> None:
    place = 8
    for _ in range(_MOST_CHUNKS):
        if place + 12 > size:
            return
        file.seek(place)
        header = file.read(12)
        length = int.from_bytes(header[4:], "big", signed=True)
        if length < 0:  # -1: whatever comes
            return
        if header[:4] == b"data":
            _need(size, place + 12 + length, "sound")
        place += 12 + length


def _check_w64(file: BinaryIO, size: int) -> None:
    place = 40
    for _ in range(_MOST_CHUNKS):
        if place + 24 > size:
            return
        file.seek(place)
        header = file.read(24)
        length = int.from_bytes(header[16:], "little")
        if length < 24:
            return
        if header[:4] == b"data":
            _need(size, place + length, "sound")
        place += (length + 7) // 8 * 8


_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def _check_asf(file: BinaryIO, size: int) -> None:
    file.seek(0)
    head = file.read(1 << 16)
    place = head.find(_ASF_FILE_PROPERTIES)
    if place >= 0:
        _need(size, int.from_bytes(head[place + 40 : place + 48], "little"), "content")


def _check_aiff(file: BinaryIO, size: int) -> None:
    for name, start, length in _chunks(file, size, "big"):
        if name == b"SSND" and length < _ENDLESS:
            _need(size, start + length, "sound")


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Return name, start and length of the chunks at the top of a RIFF or IFF file."""
    place = 12
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            return
        file.seek(place)
        header = file.read(8)
        length = int.from_bytes(header[4:], "big" if order == "big" else "little")
        yield header[:4], place + 8, length
        place += 8 + length + (length & 1)


def _check_boxes(file: BinaryIO, size: int) -> None:
    """ISO base media and QuickTime: the boxes at the top."""
    place = 0
    for _ in range(_MOST_CHUNKS):
        if place + 8 > size:
            return
        file.seek(place)
        header = file.read(16)
        length, start = int.from_bytes(header[:4], "big"), 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), 16
        if header[4:8] in (b"mdat", b"moov", b"moof") and length >= start:
            _need(size, place + length, "content")
        if not header[4:8].isalnum() and size - place > _MOST_JUNK:
            raise UnreadableMedia(f"damaged at byte {place:,}: no box begins there")
        if length < start:
            return
        place += length


def _check_matroska(file: BinaryIO, size: int) -> None:
    """EBML header, then a segment whose size may be unknown (all ones)."""
    file.seek(0)
    head = file.read(4096)
    length, place = _vint(head, 4)
    place += length
    if head[place : place + 4] != b"\x18\x53\x80\x67":
        return
    length, start = _vint(head, place + 4)
    width = start - place - 4
    if length != (1 << 7 * width) - 1:
        _need(size, start + length, "content")


def _vint(data: bytes, place: int) -> tuple[int, int]:
    """Read an EBML number; give it and where it ends."""
    width = 9 - data[place].bit_length() if place < len(data) else 9
    value = int.from_bytes(data[place : place + width], "big")
    return value & ((1 << 7 * width) - 1), place + width


_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_ogg(file: BinaryIO, size: int) -> None:
    """Walk all pages: each intact, none missing, and every stream brought to its end."""
    expected: dict[bytes, int] = {}
    ended: dict[bytes, bool] = {}
    for place, header, page_ok in _pages(file, size):
        serial, number = header[14:18], int.from_bytes(header[18:22], "little")
        begins = bool(header[5] & 2)
        if not page_ok:
            raise UnreadableMedia(f"damaged at byte {place:,}: a page does not match its checksum")
        if not begins and expected.get(serial, number) != number:
            raise UnreadableMedia(f"damaged at byte {place:,}: pages are missing")
        expected[serial] = number + 1
        ended[serial] = bool(header[5] & 4)
    if not all(ended.values()):
        raise UnreadableMedia("truncated: the stream has no end")


def _pages(file: BinaryIO, size: int) -> Iterator[tuple[int, bytes, bool]]:
    """Return place, header and soundness of each page. What follows the last one is not looked at."""
    place = _first_page(file)
    while place + 27 <= size:
        file.seek(place)
        header = file.read(27 + 255)
        if header[:4] != b"OggS":
            if size - place > _MOST_JUNK:
                raise UnreadableMedia(f"damaged at byte {place:,}: no page begins there")
            return
        length = 27 + header[26] + sum(header[27 : 27 + header[26]])
        file.seek(place)
        page = file.read(length)
        if len(page) < length:
            raise UnreadableMedia("truncated: its last page is incomplete")
        yield place, header, _checksum(page) == int.from_bytes(page[22:26], "little")
        place += length


def _first_page(file: BinaryIO) -> int:
    file.seek(0)
    return max(0, file.read(1 << 20).find(b"OggS"))


def _checksum(page: bytes) -> int:
    """Ogg's CRC: that of zlib with every bit order reversed, from zero and not inverted at the end."""
    blank = page[:22] + bytes(4) + page[26:]
    mirrored = zlib.crc32(blank.translate(_MIRRORED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(_MIRRORED), "big")
