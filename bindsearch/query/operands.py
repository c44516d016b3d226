"""From operands to vectors: the space encodes texts and unknown files; the ledger has indexed files and concepts."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from bindsearch.core.file_state import NO_CONTENT, digest_of, is_gone, stamp_of
from bindsearch.core.vectors import mean_vector
from bindsearch.errors import BadQuery, UnreadableMedia
from bindsearch.media.formats import claimed_modality
from bindsearch.query.concept import Concept, no_such_concept
from bindsearch.query.encode import encode_query
from bindsearch.query.language import Operand, Query
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Segment, Vectors


class Operands:
    """Embeds operands with the ledger and the space of one edition."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._ledger = ledger
        self._space = space

    def embed(self, operand: Operand) -> Vectors:
        """Return the vector of an operand, not normalised. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        if operand.kind == "text":
            return self.text(operand.value)
        return self.file(operand) if operand.kind == "file" else self.concept(operand.value)

    def text(self, words: str) -> Vectors:
        """Embed a text. *Shape:* (dim,)"""
        vector: Vectors = self._space.embed([words], modality="text")[0]
        return vector

    def file(self, operand: Operand) -> Vectors:
        """Return the mean vector of a file or a part of it. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        path = Path(os.path.abspath(operand.value))
        segments, rows = self._indexed(path) or self._space.embed_segments(path)
        chosen = [place for place, segment in enumerate(segments) if _overlaps(segment, operand)]
        if not chosen:
            until = "its end" if operand.end is None else f"{operand.end:g} s"
            raise BadQuery(f"{path} has nothing between {operand.start or 0:g} s and {until}")
        return mean_vector(rows[chosen], [segments[place].modality for place in chosen])

    def concept(self, name: str) -> Vectors:
        """Return the vector of a concept, embedded again if it is of another space. Raises `BadQuery`.

        *Shape:* (dim,)
        """
        with self._ledger.read() as snapshot:
            record = snapshot.concept(name)
            if record is None:
                raise no_such_concept(name, snapshot.concepts())
        concept = Concept.from_record(name, record)
        if concept.fingerprint == self._space.spec.fingerprint:
            return concept.vector
        return encode_query(concept.parts, self.embed).vector

    def kinds(self, operand: Operand) -> dict[Modality, float]:
        """Return the modalities that an operand's vector is made of, with their shares: a concept may have several."""
        if operand.kind == "text":
            return {Modality.TEXT: 1.0}
        if operand.kind == "file":
            return {modality_of_name(operand.value): 1.0}
        with self._ledger.read() as snapshot:
            record = snapshot.concept(operand.value)
        squares: dict[Modality, float] = {}
        for part in () if record is None else Concept.from_record(operand.value, record).parts.operands:
            for kind in self.kinds(part):
                squares[kind] = squares.get(kind, 0.0) + part.weight**2
        return {kind: math.sqrt(square / sum(squares.values())) for kind, square in squares.items()}

    def content(self, query: Query) -> bytes | None:
        """Return the digest of the file that a query is, if it is a single whole file. Raises `MediaError`."""
        first = query.operands[0]
        is_part = first.start is not None or first.end is not None
        if len(query.operands) > 1 or first.kind != "file" or first.weight < 0 or is_part:
            return None
        path = Path(os.path.abspath(first.value))
        with self._ledger.read() as snapshot:
            known = _indexed_digest(snapshot, path)
        try:
            return known or digest_of(path)
        except OSError as error:
            raise UnreadableMedia(f"{first.value}: {error.strerror or error}") from error

    def _indexed(self, path: Path) -> tuple[list[Segment], Vectors] | None:
        """Return the segments and vectors of an indexed file, unless it has changed since."""
        with self._ledger.read() as snapshot:
            digest = _indexed_digest(snapshot, path)
            item = None if digest is None else snapshot.item_of(digest)
            if item is None:
                return None
            runs = snapshot.runs_of(item)
            segments = [segment for run in runs for segment in snapshot.run(run.first)]
            return segments, np.concatenate([snapshot.vectors(run.first) for run in runs])


def modality_of_name(name: str) -> Modality:
    """Return the modality that a file's suffix stands for; images, if it stands for none."""
    return claimed_modality(Path(name)) or Modality.IMAGE


def _indexed_digest(snapshot: Snapshot, path: Path) -> bytes | None:
    """Return the digest of an indexed file, unless it has changed since."""
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
