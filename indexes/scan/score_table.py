"""Selecting from a table of scores, queries by rows, the few entries that may be among the best of their query."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Scores

from .shortlist import Shortlist
from .threads import scratch_array

FOLD_SCORES = 16
"""Of this many scores at a time, only the largest is compared first."""


def select_candidates(
    table: NDArray[Any], error_bounds: Scores, shortlist: Shortlist, steps: Scores | None = None
) -> tuple[Ids, Ids]:
    """Return query and column of each entry that may be among the best of its query, given the error bounds.

    Entries are scores, or whole numbers that become scores when multiplied by the `steps` of their query. The table is
    folded: the largest of each stack of `FOLD_SCORES` entries is compared before the entries themselves. Where too many
    entries reach the floor, near the start of a scan or where vectors lie in the order of their scores, the best of
    this table raise the floor first.
    """
    layers = 1 if table.shape[1] % FOLD_SCORES else FOLD_SCORES
    stacks = table.reshape(len(table), layers, -1)
    largest = np.max(stacks, axis=1, out=scratch_array("largest", (len(stacks), stacks.shape[2]), table.dtype))
    limits = _as_entries(shortlist.floors - error_bounds, steps)
    hits = np.flatnonzero(largest >= limits[:, None])
    entries = largest if largest.shape[1] > shortlist.wanted else table
    if len(hits) > shortlist.preferred_rows and entries.shape[1] > shortlist.wanted:
        best = np.partition(entries, -shortlist.wanted, axis=1)[:, -shortlist.wanted :].astype(np.float32)
        shortlist.raise_floors((best if steps is None else best * steps[:, None]) - error_bounds[:, None])
        limits = _as_entries(shortlist.floors - error_bounds, steps)
        hits = np.flatnonzero(largest >= limits[:, None])
    query_index, stack = np.divmod(hits, largest.shape[1])
    hit, layer = np.nonzero(stacks[query_index, :, stack] >= limits[query_index, None])
    return query_index[hit], stack[hit] + layer * largest.shape[1]


def _as_entries(scores: Scores, steps: Scores | None) -> NDArray[Any]:
    """Return scores in the unit of the table's entries: with steps, rounded down and clipped to int32."""
    if steps is None:
        return scores
    int32 = np.iinfo(np.int32)
    return np.clip(np.floor(scores / steps.astype(np.float64)), int32.min + 1, int32.max - 1).astype(np.int64)
