"""Explain a passage of text: the words without which its score would fall most (occlusion)."""

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

MAX_KEY_WORDS = 3
MIN_LOSS_SHARE = 0.1
"""A word is a key word if the score loses at least this share of what it loses without the most important word."""
_SENTENCE = re.compile(r"[^.!?…。！？\n]+[.!?…。！？]*[\"'»”’)\]]*")
_WORD = re.compile(r"\w+(?:['’-]\w+)*")

Embed = Callable[[Sequence[Piece]], Vectors]
Spans = Sequence[tuple[int, int]]
"""Start and end of parts of a passage, in characters."""


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


def key_phrase(passage: str, vector: Vectors, embed: Embed) -> KeyPhrase:
    """Return the sentence, and the words in it, whose removal lowers the score of a passage most."""
    sentences = [match for match in _SENTENCE.finditer(passage) if match[0].strip()]
    losses = _score_losses(passage, [match.span() for match in sentences], vector, embed)
    best = sentences[int(np.argmax(losses))] if len(sentences) > 1 else None
    start, end = best.span() if best else (0, len(passage))
    words = list(_WORD.finditer(passage, start, end))
    losses = _score_losses(passage, [match.span() for match in words], vector, embed)
    order = sorted(range(len(words)), key=lambda place: -losses[place])
    key_words = [words[place][0] for place in order if losses[place] > max(MIN_LOSS_SHARE * max(losses), 1e-6)]
    return KeyPhrase(" ".join(passage[start:end].split()), tuple(dict.fromkeys(key_words))[:MAX_KEY_WORDS])


def _score_losses(passage: str, spans: Spans, vector: Vectors, embed: Embed) -> list[float]:
    """Return what the score loses without each part; the whole score where nothing is left."""
    rests = [passage[:start] + " " + passage[end:] for start, end in spans]
    texts = [passage, *(rest for rest in rests if rest.strip())]
    scores = iter((embed([Piece(Modality.TEXT, text) for text in texts]) @ vector).tolist())
    whole = next(scores)
    return [whole - next(scores) if rest.strip() else abs(whole) for rest in rests]
