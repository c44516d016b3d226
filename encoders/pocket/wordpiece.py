"""A WordPiece tokenizer (Wu et al., 2016).

Text is lowercased, stripped of accents and split into words and punctuation. A word that is not in the vocabulary is
split into the longest pieces that are. A word that the pieces do not cover ends with one unknown token.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

UNKNOWN_TOKEN = 1
"""The token of what is not in the vocabulary; 0 is padding."""
MAX_WORD_CHARACTERS = 64
"""A longer word is one unknown token."""


class WordPieceTokenizer:
    """Tokenises with a vocabulary: a token is the index of a piece; a piece that continues a word begins with `##`."""

    def __init__(self, vocabulary: list[str]) -> None:
        self._token_ids = {piece: token for token, piece in enumerate(vocabulary)}

    @classmethod
    def from_file(cls, path: Path) -> WordPieceTokenizer:
        """Read a vocabulary with one piece per line."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def __len__(self) -> int:
        return len(self._token_ids)

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text."""
        return [token for word in _words(text) for token in self._split(word)]

    def _split(self, word: str) -> Iterator[int]:
        start = 0
        if len(word) > MAX_WORD_CHARACTERS:
            yield UNKNOWN_TOKEN
            return
        while start < len(word):
            prefix = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((end for end in ends if prefix + word[start:end] in self._token_ids), None)
            if end is None:
                yield UNKNOWN_TOKEN
                return
            yield self._token_ids[prefix + word[start:end]]
            start = end


def _words(text: str) -> list[str]:
    """Split a text, lowercased and without accents, into words and punctuation."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.findall(r"[^\W_]+|[^\w\s]|_", plain)
