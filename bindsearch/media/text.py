"""Decodes texts in any encoding, extracts the text of HTML and subtitles, and cuts it into passages."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from bindsearch.errors import MediaTooLarge, UnreadableMedia
from bindsearch.media.html_text import visible_text
from bindsearch.media.subtitles import join_cues, parse_cues
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.types import Modality, Piece, Span

_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DETECTION_BYTES = 1 << 16
"""How much of a text is used to detect its encoding."""
_DECLARED_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]{2,40})""", re.I)
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|\r\n[^\S\n]*\r\n\s*")
_SENTENCE = re.compile(r"[.!?…]+[\"'»”’)\]]*\s+|[。！？]+|\n\s*")
_WORD = re.compile(r"\s+")
_MIN_PASSAGE_SHARE = 4
"""A cut must leave at least a quarter of the passage limit; otherwise the next kind of boundary is used."""


def decode_text(task: DecodeTask, facts: MediaFacts) -> Iterator[Piece]:
    """Decode a text into passages.

    Their offsets refer to the decoded text, in HTML to the visible text extracted from it. Subtitles have times
    instead. Raises `UnreadableMedia`, `MediaTooLarge`.
    """
    if Modality.TEXT not in task.wanted:
        return
    text = read_text(task.file, task.limits.max_text_bytes)
    limit = max(1, task.windowing.passage)
    if task.kind.format == "html":
        text = visible_text(text)
    if not text.strip():
        raise UnreadableMedia("holds no text")
    timed = list(join_cues(parse_cues(text), limit)) if task.kind.format in ("srt", "vtt") else []
    if timed:
        yield from (Piece(Modality.TEXT, cue.text, Span(cue.start, cue.end)) for cue in timed)
        return
    for offset, length in passage_ranges(text, limit):
        yield Piece(Modality.TEXT, text[offset : offset + length], Span(offset=offset, length=length))


def read_text(file: BinaryIO, max_bytes: int) -> str:
    """Read a text file in any encoding. Raises `UnreadableMedia`, `MediaTooLarge`."""
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
        raise MediaTooLarge(f"too large: {size:,} bytes of text; the limit is {max_bytes:,}")
    file.seek(0)
    data = file.read(max_bytes)
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode_strictly(data[len(mark) :], encoding)
    if b"\0" in data:
        raise UnreadableMedia("not a text file: it contains zero bytes")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_detect_encoding(data), errors="replace")


def _decode_strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableMedia(f"damaged or truncated at byte {error.start:,}: not {encoding.upper()}") from error


def _detect_encoding(data: bytes) -> str:
    """Return the encoding of a text that is not UTF-8: the one it declares, or else the most likely one."""
    declared = _DECLARED_CHARSET.search(data, 0, 2048)
    if declared:
        name = declared[1].decode("ascii")
        if _is_charset(name):
            return name
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_DETECTION_BYTES]).best()
    return best.encoding if best else "cp1252"


def _is_charset(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def passage_ranges(text: str, limit: int) -> Iterator[tuple[int, int]]:
    """Yield offset and length of passages of at most `limit` characters that cover all of a text but surrounding space.

    A passage ends after a paragraph, else after a sentence, else after a word, else anywhere.
    """
    offset = 0
    while offset < len(text):
        window = text[offset : offset + limit + 1]
        size = len(window) if len(window) <= limit else _boundary(window, limit)
        passage = window[:size]
        stripped = passage.strip()
        if stripped:
            yield offset + len(passage) - len(passage.lstrip()), len(stripped)
        offset += size


def _boundary(window: str, limit: int) -> int:
    """Return where to cut: at the last boundary of the best kind that leaves a passage of some length."""
    for boundary in (_PARAGRAPH, _SENTENCE, _WORD):
        ends = [min(match.end(), limit) for match in boundary.finditer(window) if match.start() <= limit]
        if ends and ends[-1] >= limit // _MIN_PASSAGE_SHARE:
            return ends[-1]
    return limit
