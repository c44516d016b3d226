"""A candidate generator as another package would write it: numpy and `bindsearch.ports`, nothing else.

It keeps the leading three quarters of the dimensions in float16, and names the rows with the largest products there.
This works because the vectors it gets are rotated, so that these dimensions hold about three quarters of every vector.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from bindsearch.indexes.approximate.two_stage import TwoStageIndex

from bindsearch.ports import BuildCallback, VectorSource
from bindsearch.types import Candidates, Mask, SearchEffort, Vectors

BATCH_ROWS = 100


class LeadingDimensions:
    """The leading dimensions of each row."""

    file_name: ClassVar[str] = "leading.npy"
    min_filter_share: ClassVar[float] = 0.0
    candidates_per_result: ClassVar[int] = 4

    def __init__(self, leading: np.ndarray) -> None:
        self._leading = leading

    def __len__(self) -> int:
        return len(self._leading)

    @classmethod
    def build(cls, vectors: VectorSource, *, on_progress: BuildCallback = lambda done, total: None) -> Self:
        leading = [batch[:, : 3 * vectors.dim // 4].astype(np.float16) for batch in vectors.batches(BATCH_ROWS)]
        on_progress(len(vectors), len(vectors))
        return cls(np.concatenate(leading))

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        scores = queries[:, : self._leading.shape[1]] @ self._leading.astype(np.float32).T
        if mask is not None:
            scores[:, ~mask] = -np.inf
        rows = np.argsort(-scores, axis=1, kind="stable")[:, : effort.candidates]
        rows[np.take_along_axis(scores, rows, axis=1) == -np.inf] = -1
        rows = np.pad(rows, ((0, 0), (0, effort.candidates - rows.shape[1])), constant_values=-1)
        return Candidates(rows, rows[:, -1] >= 0)

    def save(self, file: Path) -> None:
        np.save(file, self._leading)

    @classmethod
    def load(cls, file: Path) -> Self:
        return cls(np.load(file))


class LeadingDimensionsIndex(TwoStageIndex):
    """The public two-stage index around that generator."""

    kind = "leading-dimensions"
    generator_type = LeadingDimensions
    default_effort: ClassVar[SearchEffort] = SearchEffort(share=1.0, candidates=128)
