"""Recognises media by the first bytes of a file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from bindsearch.media.formats import MediaKind
from bindsearch.types import Modality

HEAD_BYTES = 4096

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_BOMS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

_SIGNATURES: tuple[tuple[bytes, Modality, str], ...] = (
    (b"\xff\xd8\xff", Modality.IMAGE, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", Modality.IMAGE, "PNG"),
    (b"GIF87a", Modality.IMAGE, "GIF"),
    (b"GIF89a", Modality.IMAGE, "GIF"),
    (b"II*\x00", Modality.IMAGE, "TIFF"),
    (b"MM\x00*", Modality.IMAGE, "TIFF"),
    (b"II+\x00", Modality.IMAGE, "TIFF"),
    (b"MM\x00+", Modality.IMAGE, "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", Modality.IMAGE, "JPEG2000"),
    (b"\xff\x4f\xff\x51", Modality.IMAGE, "JPEG2000"),
    (b"qoif", Modality.IMAGE, "QOI"),
    (b"8BPS\x00\x01", Modality.IMAGE, "PSD"),
    (b"DDS \x7c\x00\x00\x00", Modality.IMAGE, "DDS"),
    (b"icns", Modality.IMAGE, "ICNS"),
    (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", Modality.AUDIO, "w64"),
    (b"fLaC", Modality.AUDIO, "flac"),
    (b".snd\x00", Modality.AUDIO, "au"),
    (b"caff\x00\x01", Modality.AUDIO, "caf"),
    (b"#!AMR", Modality.AUDIO, "amr"),
    (b"MAC \x96\x0f", Modality.AUDIO, "ape"),
    (b"wvpk", Modality.AUDIO, "wv"),
    (b"TTA1", Modality.AUDIO, "tta"),
    (b"MPCK", Modality.AUDIO, "mpc8"),
    (b"MP+\x07", Modality.AUDIO, "mpc"),
    (b"DSD \x1c\x00\x00\x00", Modality.AUDIO, "dsf"),
    (b"Creative Voice File\x1a", Modality.AUDIO, "voc"),
    (b"OggS\x00", Modality.VIDEO, "ogg"),
    (b"\x1a\x45\xdf\xa3", Modality.VIDEO, "matroska"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Modality.VIDEO, "asf"),
    (b"FLV\x01", Modality.VIDEO, "flv"),
    (b"\x00\x00\x01\xba", Modality.VIDEO, "mpeg"),
)
"""Signatures that no other format shares. VIDEO means a container here, which may hold sound or video."""

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_QUICKTIME_ATOMS = frozenset({b"moov", b"mdat", b"wide"})
_MPEG_KBPS = {  # by (whether it is MPEG-1, layer)
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sniff(head: bytes) -> MediaKind | None:
    """Recognise an image, sound or video by the first `HEAD_BYTES` of a file; None if no format is certain."""
    for signature, modality, name in _SIGNATURES:
        if head.startswith(signature):
            return MediaKind(modality, name)
    for recognise in (_iff, _boxes, _bitmap, _icon, _id3_tagged, _mpeg_audio, _transport):
        if kind := recognise(head):
            return kind
    return None


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file may be text in some encoding."""
    return head.startswith(_BOMS) or not _CONTROL.search(head)


def _iff(head: bytes) -> MediaKind | None:
    names: dict[tuple[bytes, bytes], MediaKind] = {
        (b"RIFF", b"WAVE"): MediaKind(Modality.AUDIO, "wav"),
        (b"RIFX", b"WAVE"): MediaKind(Modality.AUDIO, "wav"),
        (b"RF64", b"WAVE"): MediaKind(Modality.AUDIO, "wav"),
        (b"BW64", b"WAVE"): MediaKind(Modality.AUDIO, "wav"),
        (b"RIFF", b"AVI "): MediaKind(Modality.VIDEO, "avi"),
        (b"RIFF", b"WEBP"): MediaKind(Modality.IMAGE, "WEBP"),
        (b"FORM", b"AIFF"): MediaKind(Modality.AUDIO, "aiff"),
        (b"FORM", b"AIFC"): MediaKind(Modality.AUDIO, "aiff"),
    }
    return names.get((head[:4], head[8:12]))


def _boxes(head: bytes) -> MediaKind | None:
    """Recognise ISO base media files; their brands distinguish images from video."""
    if head[4:8] in _QUICKTIME_ATOMS:
        return MediaKind(Modality.VIDEO, "mp4")
    if head[4:8] != b"ftyp":
        return None
    size = int.from_bytes(head[:4], "big")
    brand = head[8:12]
    compatible = {head[offset : offset + 4] for offset in range(16, min(size, len(head)), 4)}
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in compatible):
        return MediaKind(Modality.IMAGE, "AVIF")
    if brand in _HEIF_BRANDS:
        return MediaKind(Modality.IMAGE, "HEIF")
    return MediaKind(Modality.VIDEO, "mp4")


def _bitmap(head: bytes) -> MediaKind | None:
    header = int.from_bytes(head[14:18], "little")
    return MediaKind(Modality.IMAGE, "BMP") if head[:2] == b"BM" and header in (12, 40, 52, 56, 64, 108, 124) else None


def _icon(head: bytes) -> MediaKind | None:
    count = int.from_bytes(head[4:6], "little")
    plausible = head[:4] == b"\x00\x00\x01\x00" and 0 < count <= 64 and len(head) > 9 and head[9] == 0
    return MediaKind(Modality.IMAGE, "ICO") if plausible else None


def _id3_tagged(head: bytes) -> MediaKind | None:
    """Recognise what follows an ID3v2 tag: nearly always MPEG audio."""
    if head[:3] != b"ID3" or len(head) < 10 or head[3] > 4 or any(byte & 0x80 for byte in head[6:10]):
        return None
    size = 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    after = sniff(head[size:]) if size < len(head) - 12 else None
    return after or MediaKind(Modality.AUDIO, "mp3")


def _mpeg_audio(head: bytes) -> MediaKind | None:
    for frame_bytes, name in ((_mp3_frame_bytes, "mp3"), (_adts_frame_bytes, "aac"), (_ac3_frame_bytes, "ac3")):
        if _has_frames(head, frame_bytes):
            return MediaKind(Modality.AUDIO, name)
    return None


def _has_frames(head: bytes, frame_bytes: Callable[[bytes], int]) -> bool:
    """Whether the file begins with three consecutive frames: the two sync bytes alone occur in any data."""
    offset = 0
    for _ in range(3):
        size = frame_bytes(head[offset : offset + 8])
        if size == 0:
            return False
        offset += size
        if offset + 8 > len(head):
            return offset > size
    return True


def _mp3_frame_bytes(header: bytes) -> int:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    rate_index, kbps_index = header[2] >> 2 & 3, header[2] >> 4
    if version == 1 or layer not in (2, 3) or rate_index == 3 or kbps_index in (0, 15):
        return 0
    rate = (44100, 48000, 32000)[rate_index] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _MPEG_KBPS[(version == 3, layer)][kbps_index - 1] * 1000
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // rate + (header[2] >> 1 & 1)


def _adts_frame_bytes(header: bytes) -> int:
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return size if size > 7 else 0


def _ac3_frame_bytes(header: bytes) -> int:
    kbps = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[5] >> 3 > 10:
        return 0
    rate_index, size_code = header[4] >> 6, header[4] & 63
    if rate_index == 3 or size_code >= 2 * len(kbps):
        return 0
    words = kbps[size_code >> 1] * (96000, 0, 144000)[rate_index] // 48000 if rate_index != 1 else 0
    if rate_index == 1:
        words = kbps[size_code >> 1] * 1000 * 1536 // 44100 // 16 + (size_code & 1)
    return 2 * words


def _transport(head: bytes) -> MediaKind | None:
    """Recognise MPEG-TS: a sync byte every 188 bytes, or every 192 if each packet has a time stamp."""
    for first, step in ((0, 188), (4, 192)):
        if len(head) >= 5 * step and all(head[first + step * n] == 0x47 for n in range(5)):
            return MediaKind(Modality.VIDEO, "mpegts")
    return None
