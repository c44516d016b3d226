"""Which words of a passage answer a query: what its score loses when they are left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from bindsearch.errors import MediaError
from bindsearch.results import Hit, KeyPhrase
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors

SHOWN = 3
"""Words that are named at most."""
COUNTS = 0.1
"""A word counts if the score loses this share of what it loses by the word that counts most."""
_SENTENCE = re.compile(r"[^.!?…。！？\n]+[.!?…。！？]*[\"'»”’)\]]*")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")


def with_key_phrase(hit: Hit, space: Space) -> Hit:
    """Add the key phrase to the explanation of a hit, if it is a passage of text that can still be read."""
    if hit.segment.modality != Modality.TEXT or hit.why is None or hit.why.vector is None:
        return hit
    with suppress(MediaError):
        for piece in space.pieces(hit.path, modality=Modality.TEXT):
            if piece.span == hit.segment.span:
                phrase = key_phrase(str(piece.content), hit.why.vector, space.embed_pieces)
                return replace(hit, why=replace(hit.why, key_phrase=phrase))
    return hit


def key_phrase(passage: str, vector: Vectors, embed: Callable[[Sequence[Piece]], Vectors]) -> KeyPhrase:
    """Leave out one sentence after another, then one word after another of the best."""
    sentences = [match for match in _SENTENCE.finditer(passage) if match[0].strip()]
    losses = _losses(passage, [match.span() for match in sentences], vector, embed)
    best = sentences[int(np.argmax(losses))] if len(sentences) > 1 else None
    start, end = best.span() if best else (0, len(passage))
    words = list(_WORD.finditer(passage, start, end))
    lost = _losses(passage, [match.span() for match in words], vector, embed)
    order = sorted(range(len(words)), key=lambda place: -lost[place])
    told = [words[place][0] for place in order if lost[place] > max(COUNTS * max(lost), 1e-6)]
    return KeyPhrase(" ".join(passage[start:end].split()), tuple(dict.fromkeys(told))[:SHOWN])


def _losses(
    passage: str, spans: Sequence[tuple[int, int]], vector: Vectors, embed: Callable[[Sequence[Piece]], Vectors]
) -> list[float]:
    """Say what the score of a passage loses without each of its parts; all of it where nothing is left."""
    rests = [passage[:start] + " " + passage[end:] for start, end in spans]
    texts = [passage, *(rest for rest in rests if rest.strip())]
    scores = iter((embed([Piece(Modality.TEXT, text) for text in texts]) @ vector).tolist())
    whole = next(scores)
    return [whole - next(scores) if rest.strip() else abs(whole) for rest in rests]
