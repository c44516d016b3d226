"""The operands of a query -> vectors: words through the space, files and concepts from the ledger if it knows them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bindsearch.concepts import Concept, no_such_concept
from bindsearch.errors import BadQuery
from bindsearch.identity import is_gone, stamp_of
from bindsearch.ledger import Ledger
from bindsearch.query import Operand, compile_query
from bindsearch.records import NO_CONTENT
from bindsearch.spaces import Space, mean_vector
from bindsearch.types import Segment, Vectors


class Operands:
    """Embeds what a query is made of."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._ledger = ledger
        self._space = space

    def embed(self, operand: Operand) -> Vectors:
        """Give the vector of an operand, of any length. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        if operand.kind == "text":
            return self.text(operand.value)
        return self.file(operand) if operand.kind == "file" else self.concept(operand.value)

    def text(self, words: str) -> Vectors:
        """Embed words. *Shape:* (dim,)"""
        vector: Vectors = self._space.embed([words], modality="text")[0]
        return vector

    def file(self, operand: Operand) -> Vectors:
        """Give the mean vector of a file or a piece of it. Raises `MediaError`, `BadQuery`. *Shape:* (dim,)"""
        path = Path(os.path.abspath(operand.value))
        segments, rows = self._known(path) or self._space.embed_whole(path)
        chosen = [place for place, segment in enumerate(segments) if _overlaps(segment, operand)]
        if not chosen:
            raise BadQuery(f"{path} has nothing between {operand.start or 0} s and {operand.end or 'its end'}")
        return mean_vector(rows[chosen], [segments[place].modality for place in chosen])

    def concept(self, name: str) -> Vectors:
        """Give the vector of a concept; one of another space is embedded anew. Raises `BadQuery`. *Shape:* (dim,)"""
        with self._ledger.read() as view:
            told = view.concept(name)
            if told is None:
                raise no_such_concept(name, view.concepts())
        concept = Concept.from_record(name, told)
        if concept.fingerprint == self._space.spec.fingerprint:
            return concept.vector
        return compile_query(concept.parts, self.embed).vector

    def _known(self, path: Path) -> tuple[list[Segment], Vectors] | None:
        """Give what the ledger holds of a file, if it knows it and it has not changed."""
        with self._ledger.read() as view:
            record = view.path(path)
            item = None if record is None or record.digest == NO_CONTENT else view.item_of(record.digest)
            if record is None or item is None or is_gone(path) or stamp_of(path) != record.stamp:
                return None
            facts = view.facts(item)
            assert facts is not None
            firsts = [first for first, _, _ in facts["runs"]]
            segments = [segment for first in firsts for segment in view.run(first)]
            return segments, np.concatenate([view.vectors(first) for first in firsts])


def _overlaps(segment: Segment, operand: Operand) -> bool:
    if operand.start is None and operand.end is None:
        return True
    if segment.span.start is None or segment.span.end is None:
        return False
    return segment.span.end > (operand.start or 0.0) and segment.span.start < (operand.end or float("inf"))
