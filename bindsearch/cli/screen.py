"""Where words meet a terminal, a pipe or a file: colours and links on the first, plain text on all others."""

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
"""Unicode categories that break a line, reorder it or cannot be encoded."""
JOINERS = "\u200c\u200d"
"""Invisible too, but names in some scripts, and many emoji, are spelled with them."""
WIDTH = 100
"""Columns where no terminal says how many it has."""
_STYLES = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "red": "31"}
_CONTROL = re.compile(r"\x1b\]8;;.*?\x1b\\|\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Screen:
    """One output stream and what it can show."""

    stream: TextIO
    terminal: bool
    colours: bool
    width: int

    @classmethod
    def of(cls, stream: TextIO) -> Screen:
        """Look at a stream and at what the user's environment asks for."""
        terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        return cls(stream, terminal, terminal and not os.environ.get("NO_COLOR"), _width(stream))

    def write(self, line: str = "") -> None:
        """Write one line."""
        self.stream.write(line + "\n")

    def styled(self, words: str, *styles: str) -> str:
        """Return words in colours and weights, where they can be shown."""
        if not self.colours or not styles or not words:
            return words
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{words}\x1b[0m"

    def linked(self, words: str, target: str) -> str:
        """Return words that lead to an address when they are clicked."""
        return f"\x1b]8;;{target}\x1b\\{words}\x1b]8;;\x1b\\" if self.terminal else words


def never_fail_to_encode(*streams: TextIO) -> None:
    """Write characters that a stream's encoding lacks as escapes, instead of failing on them."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def never_fail_to_decode(stream: TextIO) -> None:
    """Read what is not in a stream's encoding as replacement characters, instead of failing on it."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")


def complain(words: str) -> None:
    """Say on stderr what went wrong."""
    sys.stderr.write(f"bindsearch: {words}\n")


def escaped(words: str) -> str:
    r"""Write out what would break a line, move the cursor or cannot be encoded; bytes of no encoding as `\xNN`."""
    return "".join(_escape(letter) if _is_invisible(letter) else letter for letter in words)


def _is_invisible(letter: str) -> bool:
    return unicodedata.category(letter) in INVISIBLE and letter not in JOINERS


def _escape(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else letter.encode("unicode_escape").decode("ascii")


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as people read it: relative to where they are if that is shorter, and on one line."""
    whole = os.fspath(path)
    try:
        near = os.path.relpath(whole)
    except (OSError, ValueError):  # the current folder is gone, or on another drive
        near = whole
    return escaped(near if near != os.curdir and len(near) < len(whole) else whole)


def address(path: Path, *, start: float | None = None, end: float | None = None) -> str:
    """Return the file address of a path, with a media fragment for the moment where there is one."""
    return path.as_uri() + ("" if start is None or end is None else f"#t={round(start, 2):g},{round(end, 2):g}")


def columns(words: str) -> int:
    """Return how many columns of a terminal words take; colours and links take none."""
    return sum(_letter_columns(letter) for letter in _CONTROL.sub("", words))


def _letter_columns(letter: str) -> int:
    if unicodedata.combining(letter) or letter in JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def padded(words: str, width: int, *, right: bool = False) -> str:
    """Fill words up with spaces, behind them or, to the right, before them."""
    filling = " " * max(0, width - columns(words))
    return filling + words if right else words + filling


def cut(words: str, width: int, *, middle: bool = False) -> str:
    """Shorten words to a width, with an ellipsis at the end or in the middle."""
    if columns(words) <= width:
        return words
    if width < 2:
        return ""
    tail = (width - 1) * 2 // 3 if middle else 0
    return _head(words, width - 1 - tail).rstrip() + "…" + _head(words[::-1], tail)[::-1]


def _head(words: str, width: int) -> str:
    taken = 0
    for place, letter in enumerate(words):
        taken += _letter_columns(letter)
        if taken > width:
            return words[:place]
    return words


def _width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH
