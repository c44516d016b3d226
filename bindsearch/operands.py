"""The operands of a query -> vectors: words through the space, files from the ledger where it knows them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.identity import is_gone, stamp_of
from bindsearch.ledger import Ledger
from bindsearch.query import Operand
from bindsearch.records import NO_CONTENT
from bindsearch.spaces import Space, mean_vector
from bindsearch.types import Segment, Vectors


class Operands:
    """Embeds what a query is made of."""

    def __init__(self, ledger: Ledger, space: Space) -> None:
        self._ledger = ledger
        self._space = space

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
