"""A text as numbers of word pieces: WordPiece (Wu et al., 2016), in its own words.

Text is lowered, rid of accents and parted into words and signs; a word that the vocabulary lacks is parted into the
longest pieces that it has. What no piece covers is one unknown piece.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

UNKNOWN_TOKEN = 1
"""Number of the piece that stands for what is not in the vocabulary; 0 stands for nothing at all."""
MAX_WORD_LETTERS = 64
"""A word of more letters is unknown."""


class WordPieceTokenizer:
    """A vocabulary: a piece's number is its line, and what goes on within a word begins with `##`."""

    def __init__(self, pieces: list[str]) -> None:
        self._token_ids = {piece: number for number, piece in enumerate(pieces)}

    @classmethod
    def from_file(cls, path: Path) -> WordPieceTokenizer:
        """Read a vocabulary, one piece a line."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def __len__(self) -> int:
        return len(self._token_ids)

    def encode(self, text: str) -> list[int]:
        """Return the numbers of a text's pieces."""
        return [number for word in _words(text) for number in self._split(word)]

    def _split(self, word: str) -> Iterator[int]:
        start = 0
        if len(word) > MAX_WORD_LETTERS:
            yield UNKNOWN_TOKEN
            return
        while start < len(word):
            mark = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if mark + word[start:end] in self._token_ids), None)
            if end is None:
                yield UNKNOWN_TOKEN
                return
            yield self._token_ids[mark + word[start:end]]
            start = end


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+|[^\w\s]|_", plain)
