"""An exact index whose large block is searched through a finder, made anew from time to time."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from ..exact import ExactIndex
from ..scan.blocks import Block, BlockSnapshot
from .candidates import CandidateGenerator, CandidateScan, ProgressCallback, SearchEffort

MIN_ROWS = 1 << 14
"""Fewer rows need no finder: all are looked at."""


class TwoStageIndex(ExactIndex):
    """An exact index whose large block has a finder.

    What is added later is searched exactly beside it, and what is removed is masked, until `build` makes the finder
    anew; `save` does so first where anything has changed. Scores are exact; only the finding is not, and `effort` says
    how far it goes.
    """

    generator: ClassVar[type[CandidateGenerator]]
    usual: ClassVar[SearchEffort]

    def __init__(self, dim: int, *, min_rows: int = MIN_ROWS, effort: SearchEffort | None = None) -> None:
        super().__init__(dim)
        self.effort = effort or self.usual
        self._min_rows = min_rows
        self._building = threading.Lock()
        self._gone: list[Ids] = []
        """What was removed since the last build began."""

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, equal ones by id.

        Raises `ValueError` for queries of a wrong shape and for values that are not finite.
        """
        return self._search(queries, k, allowed, CandidateScan(self.effort, self._looks.coder, self._looks))

    def search_exactly(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find as `search` does, but look at everything: what the finding is measured by."""
        return super().search(queries, k, allowed=allowed)

    def remove(self, ids: Ids) -> None:
        """Remove ids; those that are absent are ignored."""
        with self._changing:
            super().remove(ids)
            self._gone.append(np.asarray(ids, dtype=np.int64))

    def copy(self) -> Self:
        """Return an index of the same, as it is at this moment; what is changed in one does not change the other."""
        with self._changing:
            copy = super().copy()
        copy._building, copy._gone = threading.Lock(), []
        return copy

    def build(self, *, on_progress: ProgressCallback = lambda done, total: None) -> None:
        """Make the finder of everything. Searching, adding and removing go on meanwhile.

        Raises `IndexUnavailable` without faiss.
        """
        with self._building:
            with self._changing:
                start, self._gone = self._now, []
            block = self._with_finder(start, on_progress)
            if block is not None:
                with self._changing:
                    self._now = _joined(block, start, self._now, np.concatenate([np.empty(0, np.int64), *self._gone]))

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder, after a build where one is due."""
        while not self._is_built(self._now):
            self.build()
        now = self._now
        self._save(now, folder)
        generator = now.blocks[0].generator if now.blocks else None
        if generator is not None:
            generator.save(folder / self.generator.file)
        (folder / "effort.json").write_text(json.dumps(asdict(self.effort)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote; vectors, codes and finder stay on disk until they are looked at.

        Raises `ValueError` for files that do not belong together.
        """
        index = super().load(folder)
        index.effort = SearchEffort(**json.loads((folder / "effort.json").read_text()))
        if (folder / cls.generator.file).exists():
            generator = cls.generator.load(folder / cls.generator.file)
            if len(generator) != len(index):
                raise ValueError(f"{folder}: {cls.generator.file} and vectors do not belong together")
            index._now = BlockSnapshot(index.dim, (replace(index._now.blocks[0], generator=generator),))
        elif any(folder.glob("*.faiss")):
            raise ValueError(f"{folder}: made by an earlier release, in another way")
        return index

    def _make(self, block: Block, on_progress: ProgressCallback) -> CandidateGenerator:
        return self.generator.of(block.vectors, self._looks.coder, on_progress=on_progress)

    def _is_built(self, now: BlockSnapshot) -> bool:
        if len(now) < self._min_rows and not any(block.generator for block in now.blocks):
            return True
        return len(now.blocks) == 1 and now.blocks[0].alive is None and now.blocks[0].generator is not None

    def _with_finder(self, now: BlockSnapshot, on_progress: ProgressCallback) -> Block | None:
        """Return one block of all rows that are alive, with a finder if they are enough; None where there are none."""
        if not len(now):
            return None
        block = now.blocks[0].compact() if len(now.blocks) == 1 else Block(now.ids, now.gather(now.ids))
        codes = block.encode(self._looks.coder)
        generator = self._make(block, on_progress) if len(block.ids) >= self._min_rows else None
        return Block(
            block.ids, block.vectors, codes=codes, settled=block.settled or generator is not None, generator=generator
        )


def _joined(block: Block, start: BlockSnapshot, now: BlockSnapshot, gone: Ids) -> BlockSnapshot:
    """Put a block that holds what was there at the start in its place, and keep what changed since."""
    came = np.union1d(np.setdiff1d(now.ids, start.ids, assume_unique=True), np.intersect1d(gone, now.ids))
    left = block.without(gone)
    joined = BlockSnapshot(now.dim, () if left is None else (left,))
    return joined.plus(Block.of(came, now.gather(came))) if len(came) else joined
