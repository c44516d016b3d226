"""Copy vectors between the ledger and indexes in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bindsearch import registry
from bindsearch.ports import Copyable, Index
from bindsearch.storage.records import RunRef, run_ids
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality, Vectors

BLOCK_ROWS = 65_536
"""Vectors that are copied at a time."""


def live_runs(snapshot: Snapshot) -> Iterator[RunRef]:
    """Return the runs of all live items, by ascending item."""
    return (run for _, record in snapshot.live_items() for run in record.runs)


def empty_index(kind: str, dim: int) -> Index:
    """Return a new index. Raises `UnknownIndex`, `MissingExtra`."""
    make = registry.load_index(kind)
    return make(dim)  # type: ignore[call-arg]


def add_runs(index: Index, snapshot: Snapshot, runs: Iterable[RunRef], modality: Modality) -> int:
    """Add the runs of one modality from the ledger; return how many vectors were added."""
    selected = sorted((run for run in runs if run.modality == modality), key=lambda run: run.first)
    blocks: list[Vectors] = []
    start = rows = 0
    for position, run in enumerate(selected):
        blocks.append(snapshot.vectors(run.first))
        rows += run.count
        if position + 1 == len(selected) or rows >= BLOCK_ROWS:
            index.add(run_ids(selected[start : position + 1], modality), np.concatenate(blocks))
            blocks, start, rows = [], position + 1, 0
    return sum(run.count for run in selected)


def remove_ids(index: Index, ids: Ids) -> int:
    """Remove vectors; return how many the index held."""
    before = len(index)
    if len(ids):
        index.remove(ids)
    return before - len(index)


def copy_index(index: Index, dim: int) -> Index:
    """Return an index of the same kind with the same vectors."""
    return index.copy() if isinstance(index, Copyable) else copy_as(index, index.kind, dim)


def copy_as(index: Index, kind: str, dim: int) -> Index:
    """Return an index of another kind with the same vectors."""
    copy = empty_index(kind, dim)
    _add_from(copy, index, index.ids())
    return copy


def bring_up_to_date(index: Index, current: Index) -> int:
    """Bring an index up to date with another; return how many ids differed. An id never changes its vector."""
    before, after = index.ids(), current.ids()
    if np.array_equal(before, after):
        return 0
    gone = np.setdiff1d(before, after, assume_unique=True)
    new = np.setdiff1d(after, before, assume_unique=True)
    if len(gone):
        index.remove(gone)
    _add_from(index, current, new)
    return len(gone) + len(new)


def _add_from(index: Index, source: Index, ids: Ids) -> None:
    for start in range(0, len(ids), BLOCK_ROWS):
        block = ids[start : start + BLOCK_ROWS]
        index.add(block, source.vectors(block))
