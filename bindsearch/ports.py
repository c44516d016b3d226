"""What an adapter in `encoders/` or `indexes/` provides. The engine knows adapters by these protocols only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, Self, runtime_checkable

from bindsearch.types import Ids, Mask, Modality, Piece, Scores, SpaceSpec, Vectors

Prepared = Any
"""What `Encoder.prepare` makes and only the same encoder's `encode` reads."""


@runtime_checkable
class Encoder(Protocol):
    """Projects prepared media of every modality it knows into one space."""

    @property
    def spec(self) -> SpaceSpec:
        """The space; reading it loads no weights."""
        ...

    def prepare(self, piece: Piece) -> Prepared:
        """Turn decoded media into this model's input. Called from many threads; touches no device."""
        ...

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. The engine normalises what comes back.

        *Shape:* (len(batch), dim), float32.
        """
        ...


@runtime_checkable
class CostModel(Protocol):
    """What an encoder may say besides, so that batches suit model and device.

    All its pieces of a modality cost the same.
    """

    @property
    def device(self) -> str:
        """Where it runs: `cpu`, or the name of a kind of accelerator."""
        ...

    def cost(self, modality: Modality) -> float:
        """Return what one prepared piece costs: pixels of a picture, tokens of a text, seconds of a sound."""
        ...


@runtime_checkable
class Index(Protocol):
    """Finds nearest neighbours by cosine among the unit vectors of one space and one modality.

    Values agree with the exact index, ties aside; equal scores are ordered by id, smallest first. Searching is
    safe while another thread adds or removes: a search sees the index as it was at one moment.
    """

    kind: str

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under new ids. Raises `ValueError` for an id that is present and for values not finite."""
        ...

    def remove(self, ids: Ids) -> None:
        """Remove ids; those that are absent are ignored."""
        ...

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Find the best `min(k, searched)` for each query, best first, among the sorted ids `allowed` if given.

        *Shape:* (n, min(k, searched)) twice.
        """
        ...

    def sample(self, n: int) -> Vectors:
        """Return up to `n` of the vectors, spread evenly over the ids, always the same ones for the same content."""
        ...

    def ids(self) -> Ids:
        """Return all ids, ascending."""
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """Return the stored vectors of ids, in their order. Raises `KeyError` for an id that is absent."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything into an existing empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote, by mapping where possible."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class Buildable(Protocol):
    """What an index may be besides: one that is built, from time to time, of what came and went since."""

    def build(self, *, on_progress: Callable[[int, int], None]) -> None:
        """Build, and tell now and then how many of how many segments are done."""
        ...


@runtime_checkable
class Copyable(Protocol):
    """What an index may be besides: one that gives, at no cost, another of the same content."""

    def copy(self) -> Self:
        """Return an index of the same, as it is at this moment; what is changed in one does not change the other."""
        ...


BuildCallback = Callable[[int, int], None]
"""Called during a build with the number of rows done and the number of all rows."""

MIN_LOWERED_SHARE = 1 / 256
"""A share of IVF lists that is not lowered further."""


@dataclass(frozen=True, slots=True)
class SearchEffort:
    """How many candidates a search asks for, and how far it goes to find them."""

    share: float = 1 / 16
    """The share of IVF lists to probe; 1 for generators that have no lists."""
    candidates: int = 512
    """Rows to name for each query."""
    breadth: int = 0
    """Rows that a graph walk keeps in its queue; never fewer than `candidates`."""

    def raised(self) -> SearchEffort:
        """Return the next step up: twice the lists; once all lists are probed, twice the candidates and breadth."""
        if self.share < 1:
            return replace(self, share=min(1.0, 2 * self.share))
        return replace(self, candidates=2 * self.candidates, breadth=2 * self.breadth)

    def lowered(self) -> SearchEffort:
        """Return the next step down: half the lists. The same effort where there are none to leave out."""
        if self.share >= 1 or self.share <= MIN_LOWERED_SHARE:
            return self
        return replace(self, share=self.share / 2)


class Candidates(NamedTuple):
    """The rows that a candidate generator names for a batch of queries."""

    rows: Ids
    """In any order, none twice; -1 fills places without a candidate. *Shape:* (queries, effort.candidates)"""
    sufficient: Mask
    """Whether the rows of a query can be trusted; every row is compared for the others. *Shape:* (queries,)"""


class VectorSource(Protocol):
    """The vectors that a candidate generator is built from, in row order. They may lie on disk: read them in batches.

    Vectors, and later queries, are multiplied by one orthogonal matrix. This changes no inner product and no distance,
    and spreads every vector evenly over its dimensions, so that coarse codes lose less.
    """

    @property
    def dim(self) -> int:
        """The dimension of each vector."""
        ...

    def __len__(self) -> int: ...

    def sample(self, n: int) -> Vectors:
        """Return `n` rows, spread evenly; all rows in their order where there are no more."""
        ...

    def batches(self, rows: int) -> Iterator[Vectors]:
        """Return all rows in their order, up to `rows` at a time."""
        ...


@runtime_checkable
class ApproximateIndex(Index, Protocol):
    """An index that may miss some of the best, and that can be compared with itself comparing every vector.

    Its recall is measured, and `effort` raised until the library's target is reached; so a high enough effort must find
    everything.
    """

    effort: SearchEffort

    def search_exactly(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Search as `search` does, but compare every vector: recall is measured against this."""
        ...


@runtime_checkable
class Refinable(Protocol):
    """An optional part of an approximate index: one whose structure can be made finer when effort alone is wasted."""

    def refine(self) -> bool:
        """Rebuild the structure with finer codes. Return false if it cannot be finer."""
        ...


@runtime_checkable
class CandidateGenerator(Protocol):
    """Names rows that may be among the nearest to a query, for one fixed set of vectors.

    It only names rows, by their position in the vectors that it was built from. `TwoStageIndex` computes the scores
    from the stored vectors, orders them, filters, adds and removes. A generator is not changed once it is built, and
    is called by several threads at once.
    """

    file_name: ClassVar[str]
    """The name of its file, or folder, inside the folder of the index."""
    min_filter_share: ClassVar[float]
    """If a filter leaves a smaller share of the rows, every row that it leaves is compared instead."""
    candidates_per_result: ClassVar[int]
    """If fewer candidates than this are allowed for each result, every row is compared instead."""

    @classmethod
    def build(cls, vectors: VectorSource, *, on_progress: BuildCallback) -> Self:
        """Build a generator. Raises `IndexUnavailable` if a package or a device is missing."""
        ...

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        """Name rows that may be among the best `wanted` of each query, only rows where `mask` is true if it is given.

        Parameters of the search must travel with the call: other threads search the same structure.
        """
        ...

    def save(self, file: Path) -> None:
        """Write the generator."""
        ...

    @classmethod
    def load(cls, file: Path) -> Self:
        """Open what `save` wrote, by mapping where possible.

        Raises `ValueError` for another file, and `IndexUnavailable` if a package is missing.
        """
        ...

    def __len__(self) -> int: ...


__all__ = [
    "ApproximateIndex",
    "BuildCallback",
    "Buildable",
    "CandidateGenerator",
    "Candidates",
    "Encoder",
    "Ids",
    "Index",
    "Mask",
    "CostModel",
    "Modality",
    "Piece",
    "Prepared",
    "Refinable",
    "Scores",
    "SearchEffort",
    "SpaceSpec",
    "Copyable",
    "VectorSource",
    "Vectors",
]
