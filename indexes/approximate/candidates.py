"""What names candidates in a block, so that a query looks at few rows, and how a search makes use of them.

A finder only names rows. Their scores come from the vectors themselves, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Ids, Mask, Scores, Vectors

from ..scan.int8_codes import Coder
from ..scan.shortlist import AT_ONCE, RowSelection, Scan, Shortlist

LEAST = 1 / 256
"""The share of cells below which an effort is not lowered."""
ProgressCallback = Callable[[int, int], None]
"""Is told how many rows of how many are in their places."""


@dataclass(frozen=True, slots=True)
class SearchEffort:
    """How far a search goes."""

    share: float = 1 / 16
    """Of the cells that are opened, where there are any."""
    candidates: int = 512
    """Rows whose scores are looked up."""
    breadth: int = 0
    """Rows that a walk keeps in sight, where there is one; at least its candidates."""

    def raised(self) -> SearchEffort:
        """Return the next step up: twice the cells; where all are open, twice the candidates, and the breadth."""
        if self.share < 1:
            return replace(self, share=min(1.0, 2 * self.share))
        return replace(self, candidates=2 * self.candidates, breadth=2 * self.breadth)

    def lowered(self) -> SearchEffort:
        """Return the next step down: half the cells. There is one only where some are closed."""
        return self if self.share >= 1 or self.share <= LEAST else replace(self, share=self.share / 2)


class Candidates(NamedTuple):
    """What a finder names."""

    rows: Ids
    """-1 where there are no more. *Shape:* (queries, candidates)"""
    enough: Mask
    """For which queries they are so many that not everything has to be looked at. *Shape:* (queries,)"""


class CandidateGenerator(Protocol):
    """Names rows of one block; read only once made, and used by several threads."""

    file: ClassVar[str]
    """What it is called on disk."""
    least: ClassVar[float]
    """Of a smaller share of the rows everything is looked at."""
    plenty: ClassVar[int]
    """Times as many candidates as are wanted must be named, or everything is looked at."""

    @classmethod
    def of(cls, vectors: Vectors, coder: Coder, *, on_progress: ProgressCallback) -> Self:
        """Make it. Raises `IndexUnavailable` without faiss."""
        ...

    def candidates(self, turned: Vectors, *, part: RowSelection, effort: SearchEffort, wanted: int) -> Candidates:
        """Name rows of a part that may be among the best `wanted` of queries that were turned.

        What a query needs travels with it: the shared structure is not touched.
        """
        ...

    def save(self, file: Path) -> None:
        """Write it."""
        ...

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open it by mapping. Raises `ValueError` for another file, and `IndexUnavailable` without faiss."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class CandidateScan:
    """ScanStrategy at what finders name for each query, and at everything where that would not do."""

    effort: SearchEffort
    coder: Coder
    everywhere: Scan

    def __call__(self, part: RowSelection, queries: Vectors, shortlist: Shortlist) -> None:
        """Scan a part. Which way a query takes depends neither on others nor, if little is wanted, on how much."""
        generator, codes, many = part.block.generator, part.block.codes, self.effort.candidates
        if generator is None or codes is None or self._looks_everywhere(part, generator, shortlist.wanted):
            self.everywhere(part, queries, shortlist)
            return
        turned = self.coder.turn(queries)
        rows, enough = generator.candidates(turned, part=part, effort=self.effort, wanted=shortlist.wanted)
        places, which = np.nonzero((rows >= 0) & enough[:, None])
        near = rows[places, which]
        if many <= AT_ONCE:  # of all these the vectors are read
            shortlist.offer(places, near, *_unknown(len(near), len(queries)))
        else:
            asked = self.coder.ask(queries, turned)
            margin = self.coder.margin(codes, asked)
            shortlist.offer(places, near, self.coder.scores(codes, near, asked, places), margin)
        lacking = np.flatnonzero(~enough)
        if len(lacking):
            rest = Shortlist(len(lacking), shortlist.wanted)
            self.everywhere(part, queries[lacking], rest)
            shortlist.adopt(rest, lacking)

    def _looks_everywhere(self, part: RowSelection, generator: CandidateGenerator, wanted: int) -> bool:
        many = self.effort.candidates
        return generator.plenty * wanted > many or part.count < max(4 * many, generator.least * len(part.block.ids))


def _unknown(many: int, queries: int) -> tuple[Scores, Scores]:
    """Return scores that may be anything, and their margins."""
    return np.zeros(many, dtype=np.float32), np.full(queries, np.inf, dtype=np.float32)


def faiss_for(kind: str) -> Any:
    """Return faiss. Raises `IndexUnavailable` where it is missing."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise IndexUnavailable(f"the index {kind} needs faiss: pip install 'bindsearch[faiss]'") from error
    return faiss


def mapped(faiss: Any, file: Path) -> Any:
    """Open what faiss wrote, by mapping. Raises `ValueError` for a file that it does not read."""
    try:
        # Adding to what is mapped like this would end the process. Nothing is added to a finder once it is made.
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"{file}: not an index that this faiss reads") from error


def bitmap(faiss: Any, part: RowSelection) -> Any:
    """Return what keeps FAISS to the rows of a part."""
    assert part.mask is not None
    return faiss.IDSelectorBitmap(np.packbits(part.mask, bitorder="little"))
