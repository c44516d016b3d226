"""The operands of a query -> vectors: words through the space, files and concepts from the ledger if it knows them."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from bindsearch.core.file_state import NO_CONTENT, digest_of, is_gone, stamp_of
from bindsearch.core.vectors import mean_vector
from bindsearch.errors import BadQuery, UnreadableMedia
from bindsearch.media.formats import SUFFIXES
from bindsearch.query.concept import Concept, no_such_concept
from bindsearch.query.encode import encode_query
from bindsearch.query.language import Operand, Query
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Segment, Vectors


class Operands:
    """Embeds what a query is made of."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._ledger = ledger
        self._space = space

    def embed(self, operand: Operand) -> Vectors:
        """Return the vector of an operand, of any length. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        if operand.kind == "text":
            return self.text(operand.value)
        return self.file(operand) if operand.kind == "file" else self.concept(operand.value)

    def text(self, words: str) -> Vectors:
        """Embed words. *Shape:* (dim,)"""
        vector: Vectors = self._space.embed([words], modality="text")[0]
        return vector

    def file(self, operand: Operand) -> Vectors:
        """Return the mean vector of a file or a piece of it. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        path = Path(os.path.abspath(operand.value))
        segments, rows = self._known(path) or self._space.embed_whole(path)
        chosen = [place for place, segment in enumerate(segments) if _overlaps(segment, operand)]
        if not chosen:
            until = "its end" if operand.end is None else f"{operand.end:g} s"
            raise BadQuery(f"{path} has nothing between {operand.start or 0:g} s and {until}")
        return mean_vector(rows[chosen], [segments[place].modality for place in chosen])

    def kinds(self, operand: Operand) -> dict[Modality, float]:
        """Say what kinds of things an operand's vector is made of, and how much of each: a concept may have several."""
        if operand.kind == "text":
            return {Modality.TEXT: 1.0}
        if operand.kind == "file":
            return {modality_claimed(operand.value): 1.0}
        with self._ledger.read() as snapshot:
            told = snapshot.concept(operand.value)
        squares: dict[Modality, float] = {}
        for part in () if told is None else Concept.from_record(operand.value, told).parts.operands:
            for kind in self.kinds(part):
                squares[kind] = squares.get(kind, 0.0) + part.weight**2
        return {kind: math.sqrt(square / sum(squares.values())) for kind, square in squares.items()}

    def content(self, query: Query) -> bytes | None:
        """Return the digest of the file that a query is, if it is one, whole and alone. Raises `MediaError`."""
        first = query.operands[0]
        parted = first.start is not None or first.end is not None
        if len(query.operands) > 1 or first.kind != "file" or first.weight < 0 or parted:
            return None
        path = Path(os.path.abspath(first.value))
        with self._ledger.read() as snapshot:
            known = _digest_known(snapshot, path)
        try:
            return known or digest_of(path)
        except OSError as error:
            raise UnreadableMedia(f"{first.value}: {error.strerror or error}") from error

    def concept(self, name: str) -> Vectors:
        """Return the vector of a concept; one of another space is embedded anew. Raises `BadQuery`. *Shape:* (dim,)"""
        with self._ledger.read() as snapshot:
            told = snapshot.concept(name)
            if told is None:
                raise no_such_concept(name, snapshot.concepts())
        concept = Concept.from_record(name, told)
        if concept.fingerprint == self._space.spec.fingerprint:
            return concept.vector
        return encode_query(concept.parts, self.embed).vector

    def _known(self, path: Path) -> tuple[list[Segment], Vectors] | None:
        """Return what the ledger holds of a file, if it knows it and it has not changed."""
        with self._ledger.read() as snapshot:
            digest = _digest_known(snapshot, path)
            item = None if digest is None else snapshot.item_of(digest)
            if item is None:
                return None
            firsts = [run.first for run in snapshot.runs_of(item)]
            segments = [segment for first in firsts for segment in snapshot.run(first)]
            return segments, np.concatenate([snapshot.vectors(first) for first in firsts])


def modality_claimed(name: str) -> Modality:
    """Return the modality that a file's name claims; pictures, where it claims none."""
    suffix = os.path.splitext(name)[1].lower()
    return next((modality for modality, suffixes in SUFFIXES.items() if suffix in suffixes), Modality.IMAGE)


def _digest_known(snapshot: Snapshot, path: Path) -> bytes | None:
    """Return the digest of a file's content, if the ledger knows it and the file has not changed."""
    record = snapshot.path(path)
    if record is None or record.digest == NO_CONTENT or is_gone(path) or stamp_of(path) != record.stamp:
        return None
    return record.digest


def _overlaps(segment: Segment, operand: Operand) -> bool:
    if operand.start is None and operand.end is None:
        return True
    if segment.span.start is None or segment.span.end is None:
        return False
    return segment.span.end > (operand.start or 0.0) and segment.span.start < (operand.end or float("inf"))
