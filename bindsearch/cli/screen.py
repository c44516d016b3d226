"""Text output: colours and links on a terminal, plain text elsewhere."""

from __future__ import annotations

import io
import os
import re
import sys
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that break or reorder a line, or cannot be encoded."""
JOINERS = "\u200c\u200d"
"""Invisible too, but used to spell names in some scripts, and emoji."""
DEFAULT_COLUMNS = 100
"""Width where no terminal reports one."""
_STYLES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31"}
_CONTROL = re.compile(r"\x1b\]8;;.*?\x1b\\|\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Screen:
    """An output stream and its capabilities."""

    stream: TextIO
    terminal: bool
    colours: bool
    width: int

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Detect the capabilities of a stream, honouring TERM and NO_COLOR."""
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(stream, terminal, terminal and not os.environ.get("NO_COLOR"), _width(stream))

    def write(self, line: str = "") -> None:
        """Write one line."""
        self.stream.write(line + "\n")

    def styled(self, text: str, *styles: str) -> str:
        """Return text with ANSI styles, if the stream shows them."""
        if not self.colours or not styles or not text:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def linked(self, text: str, target: str) -> str:
        """Return text as a hyperlink, if the stream is a terminal."""
        return f"\x1b]8;;{target}\x1b\\{text}\x1b]8;;\x1b\\" if self.terminal else text


def never_fail_to_encode(*streams: TextIO) -> None:
    """Make streams escape characters that their encoding lacks, instead of failing."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def never_fail_to_decode(stream: TextIO) -> None:
    """Make a stream replace bytes that it cannot decode, instead of failing."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def complain(text: str) -> None:
    """Write a message to stderr."""
    sys.stderr.write(f"bindsearch: {text}\n")


def escaped(text: str) -> str:
    r"""Escape characters that break a line, move the cursor or cannot be encoded; undecodable bytes as `\xNN`."""
    return "".join(_escape(letter) if _is_invisible(letter) else letter for letter in text)


def _is_invisible(letter: str) -> bool:
    return unicodedata.category(letter) in INVISIBLE and letter not in JOINERS


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else letter.encode("unicode_escape").decode("ascii")


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path for display: relative if that is shorter, and on one line."""
    whole = os.fspath(path)
    try:
        near = os.path.relpath(whole)
    except (OSError, ValueError):  # the current folder is gone, or on another drive
        near = whole
    return escaped(near if near != os.curdir and len(near) < len(whole) else whole)


def address(path: Path, *, start: float | None = None, end: float | None = None) -> str:
    """Return the file URI of a path, with a media fragment for a time range."""
    return path.as_uri() + ("" if start is None or end is None else f"#t={round(start, 2):g},{round(end, 2):g}")


def columns(text: str) -> int:
    """Return the display width of text, ignoring styles and links."""
    return sum(_letter_columns(letter) for letter in _CONTROL.sub("", text))


def _letter_columns(letter: str) -> int:
    if unicodedata.combining(letter) or letter in JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Pad text with spaces to a width; `right` aligns it to the right."""
    filling = " " * max(0, width - columns(text))
    return filling + text if right else text + filling


def cut(text: str, width: int, *, middle: bool = False) -> str:
    """Shorten text to a width, with an ellipsis at the end or in the middle."""
    if columns(text) <= width:
        return text
    if width < 2:
        return ""
    tail = (width - 1) * 2 // 3 if middle else 0
    return _head(text, width - 1 - tail).rstrip() + "…" + _head(text[::-1], tail)[::-1]


def _head(text: str, width: int) -> str:
    taken = 0
    for place, letter in enumerate(text):
        taken += _letter_columns(letter)
        if taken > width:
            return text[:place]
    return text


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_COLUMNS
    except (OSError, ValueError):
        return DEFAULT_COLUMNS
