"""The k nearest rows: every part is scanned within an error bound, and what that leaves in question is re-scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .float_scan import scan_floats
from .rows import RowSelection
from .shortlist import Shortlist

BATCH_QUERIES = 256
"""Queries that are answered in one pass over the vectors."""


class Scan(Protocol):
    """A way to find the rows of a part that may be among the best, and to add them to a shortlist."""

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Add the candidates of a part."""
        ...


def top_k(parts: Sequence[RowSelection], queries: Vectors, k: int, scan: Scan) -> tuple[Scores, Ids]:
    """Return scores and ids of the k best of each query, best first, equal scores by id. `k` rows must be selected."""
    scores = np.empty((len(queries), k), dtype=np.float32)
    ids = np.empty((len(queries), k), dtype=np.int64)
    if k:
        for start in range(0, len(queries), BATCH_QUERIES):
            batch = queries[start : start + BATCH_QUERIES]
            shortlist = Shortlist(len(batch), k)
            for part in parts:
                (scan if part.rows is None else scan_floats)(part, batch, shortlist)
                shortlist.start_next_part()
            found = shortlist.rescored(parts, batch)
            scores[start : start + BATCH_QUERIES], ids[start : start + BATCH_QUERIES] = found
    return scores, ids
