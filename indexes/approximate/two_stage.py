"""The two-stage index: candidates from a generator, scores from the stored vectors.

This module is public. To search through a structure of your own, be it a graph, a hash table or a server, write a class
that keeps the protocol `bindsearch.ports.CandidateGenerator`, and name it in a subclass of `TwoStageIndex`::

    from bindsearch.indexes.approximate.two_stage import TwoStageIndex
    from bindsearch.types import SearchEffort

    class MyIndex(TwoStageIndex):
        kind = "my-index"
        generator_type = MyGenerator
        default_effort = SearchEffort(share=1.0, candidates=256)

Register the class under the entry-point group `bindsearch.indexes` as `my-index = "my_package:MyIndex"`; then
`bindsearch index --rebuild-index my-index` uses it. Exact scores, their order, ties, filters, removal, adding after a
build, saving, and the recall certificate are the same as in every other index.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from bindsearch.ports import BuildCallback, CandidateGenerator, VectorSource
from bindsearch.types import Ids, Scores, SearchEffort, Vectors

from ..exact import ExactIndex
from ..scan.blocks import Block, BlockSnapshot
from .candidates import CandidateScan, RotatedVectors

MIN_GENERATOR_ROWS = 1 << 14
"""Fewer rows need no generator: all of them are scanned."""


class TwoStageIndex(ExactIndex):
    """An exact index whose large block is searched through a candidate generator.

    Vectors that are added later are scanned exactly beside it, and removed ones are masked, until `build` builds the
    generator again; `save` does so first if anything has changed. Returned scores are always exact. Only which rows are
    found is approximate, and `effort` says how far a search goes.

    A subclass sets `kind`, `generator_type` and `default_effort`. It overrides `build_generator` if building takes
    parameters of its own.
    """

    generator_type: ClassVar[type[CandidateGenerator]]
    default_effort: ClassVar[SearchEffort]

    def __init__(
        self, dim: int, *, min_generator_rows: int = MIN_GENERATOR_ROWS, effort: SearchEffort | None = None
    ) -> None:
        super().__init__(dim)
        self.effort = effort or self.default_effort
        self._min_generator_rows = min_generator_rows
        self._build_lock = threading.Lock()
        self._removed: list[Ids] = []
        """The ids that were removed since the last build began."""

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Return the best `min(k, searched)` that are found for each query, best first, equal scores by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, CandidateScan(self.effort, self._scan.coder, self._scan))

    def search_exactly(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Search as `search` does, but compare every vector: recall is measured against this."""
        return super().search(queries, k, allowed=allowed)

    def remove(self, ids: Ids) -> None:
        """Remove ids; absent ones are ignored."""
        with self._write_lock:
            super().remove(ids)
            self._removed.append(np.asarray(ids, dtype=np.int64))

    def copy(self) -> Self:
        """Return an independent index of the same content, at no cost: unchanged blocks are shared."""
        with self._write_lock:
            copy = super().copy()
        copy._build_lock, copy._removed = threading.Lock(), []
        return copy

    def build(self, *, on_progress: BuildCallback = lambda done, total: None) -> None:
        """Build the generator over everything. Searching, adding and removing go on meanwhile.

        Raises what `build_generator` raises.
        """
        with self._build_lock:
            with self._write_lock:
                start, self._removed = self._snapshot, []
            block = self._rebuilt_block(start, on_progress)
            if block is not None:
                with self._write_lock:
                    removed = np.concatenate([np.empty(0, np.int64), *self._removed])
                    self._snapshot = _with_later_changes(block, start, self._snapshot, removed)

    def build_generator(self, vectors: VectorSource, on_progress: BuildCallback) -> CandidateGenerator:
        """Build a generator over some vectors. Raises `IndexUnavailable` if a package or a device is missing."""
        return self.generator_type.build(vectors, on_progress=on_progress)

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder, after a build if one is due."""
        while not self._is_built(self._snapshot):
            self.build()
        snapshot = self._snapshot
        self._save(snapshot, folder)
        generator = snapshot.blocks[0].generator if snapshot.blocks else None
        if generator is not None:
            generator.save(folder / self.generator_type.file_name)
        (folder / "effort.json").write_text(json.dumps(asdict(self.effort)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors, codes and generator are mapped and stay on disk until they are read.

        Raises `ValueError` for files that do not belong together.
        """
        index = super().load(folder)
        index.effort = SearchEffort(**json.loads((folder / "effort.json").read_text()))
        file = folder / cls.generator_type.file_name
        if file.exists():
            generator = cls.generator_type.load(file)
            if len(generator) != len(index):
                raise ValueError(f"{folder}: {file.name} and vectors do not belong together")
            index._snapshot = BlockSnapshot(index.dim, (replace(index._snapshot.blocks[0], generator=generator),))
        elif any(folder.glob("*.faiss")):
            raise ValueError(f"{folder}: saved by an earlier release in another format")
        return index

    def _is_built(self, snapshot: BlockSnapshot) -> bool:
        if len(snapshot) < self._min_generator_rows and not any(block.generator for block in snapshot.blocks):
            return True
        if len(snapshot.blocks) != 1:
            return False
        return snapshot.blocks[0].alive is None and snapshot.blocks[0].generator is not None

    def _rebuilt_block(self, snapshot: BlockSnapshot, on_progress: BuildCallback) -> Block | None:
        """Return one block of all rows, with a generator if there are enough; None if there are no rows."""
        if not len(snapshot):
            return None
        if len(snapshot.blocks) == 1:
            block = snapshot.blocks[0].compact()
        else:
            block = Block(snapshot.ids, snapshot.gather(snapshot.ids))
        codes = block.encode(self._scan.coder)
        generator = None
        if len(block.ids) >= self._min_generator_rows:
            generator = self.build_generator(RotatedVectors(block.vectors, self._scan.coder), on_progress)
        pinned = block.pinned or generator is not None
        return Block(block.ids, block.vectors, codes=codes, pinned=pinned, generator=generator)


def _with_later_changes(block: Block, start: BlockSnapshot, now: BlockSnapshot, removed: Ids) -> BlockSnapshot:
    """Put a block in the place of the snapshot that it was built from, and keep what changed since then."""
    added = np.setdiff1d(now.ids, start.ids, assume_unique=True)
    added = np.union1d(added, np.intersect1d(removed, now.ids))  # an id that was removed may have been added again
    remaining = block.without(removed)
    joined = BlockSnapshot(now.dim, () if remaining is None else (remaining,))
    return joined.with_block(Block.from_unsorted(added, now.gather(added))) if len(added) else joined
