"""Texts: decoded, freed of markup, and cut into passages."""

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
_SAMPLE_BYTES = 1 << 16
"""How much of a text is looked at to guess its encoding."""
_DECLARED = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w.:-]{2,40})""", re.I)
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*|\r\n[^\S\n]*\r\n\s*")
_SENTENCE = re.compile(r"[.!?…]+[\"'»”’)\]]*\s+|[。！？]+|\n\s*")
_WORD = re.compile(r"\s+")


def decode_text(task: DecodeTask, told: MediaFacts) -> Iterator[Piece]:
    """Decode a text into passages.

    Their offsets count in the decoded text, of HTML in the visible text that was taken from it. Subtitles have
    times instead. Raises `UnreadableMedia`, `MediaTooLarge`.
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
    """Read a file as text, in whatever encoding. Raises `UnreadableMedia`, `MediaTooLarge`."""
    size = os.fstat(file.fileno()).st_size
    if size > max_bytes:
        raise MediaTooLarge(f"too large: {size:,} bytes of text; the limit is {max_bytes:,}")
    file.seek(0)
    data = file.read(max_bytes)
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _strictly(data[len(mark) :], encoding)
    if b"\0" in data:
        raise UnreadableMedia("does not hold text: there are zero bytes in it")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_guessed(data), errors="replace")


def _strictly(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableMedia(f"damaged or truncated at byte {error.start:,}: not {encoding.upper()}") from error


def _guessed(data: bytes) -> str:
    """Guess the encoding of a text that is not UTF-8: what the page says, else what its bytes look like."""
    declared = _DECLARED.search(data, 0, 2048)
    if declared:
        name = declared[1].decode("ascii")
        if _is_charset(name):
            return name
    from charset_normalizer import from_bytes

    best = from_bytes(data[:_SAMPLE_BYTES]).best()
    return best.encoding if best else "cp1252"


def _is_charset(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def passage_ranges(text: str, limit: int) -> Iterator[tuple[int, int]]:
    """Return offset and length of passages of at most `limit` characters that hold all of a text but outer space.

    Cut after a paragraph, else after a sentence, else after a word, else anywhere.
    """
    place = 0
    while place < len(text):
        window = text[place : place + limit + 1]
        size = len(window) if len(window) <= limit else _cut_at(window, limit)
        passage = window[:size]
        stripped = passage.strip()
        if stripped:
            yield place + len(passage) - len(passage.lstrip()), len(stripped)
        place += size


def _cut_at(window: str, limit: int) -> int:
    """Return where to cut: at the last boundary of the best kind, unless that would leave a snippet."""
    for boundary in (_PARAGRAPH, _SENTENCE, _WORD):
        ends = [min(match.end(), limit) for match in boundary.finditer(window) if match.start() <= limit]
        if ends and ends[-1] >= limit // 4:
            return ends[-1]
    return limit
