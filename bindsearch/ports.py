"""The protocols that adapters in `encoders/` and `indexes/` implement. The engine uses adapters only through these."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from bindsearch.types import Candidates, Ids, Mask, Modality, Piece, Scores, SearchEffort, SpaceSpec, Vectors

Prepared = Any
"""The result of `Encoder.prepare`. Only `encode` of the same encoder reads it."""


@runtime_checkable
class Encoder(Protocol):
    """Embeds media of one or more modalities in one space."""

    @property
    def spec(self) -> SpaceSpec:
        """The description of the space. Must not load any weights."""
        ...

    def prepare(self, piece: Piece) -> Prepared:
        """Turn decoded media into the input of the model. Called from many threads; must not use the device."""
        ...

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. The engine normalises the vectors.

        *Shape:* (len(batch), dim), float32.
        """
        ...


@runtime_checkable
class CostModel(Protocol):
    """Optional for an encoder: what the engine needs to choose batch sizes.

    All pieces of a modality cost the same.
    """

    @property
    def device(self) -> str:
        """Where the encoder runs: `cpu`, or the name of a kind of accelerator."""
        ...

    def cost(self, modality: Modality) -> float:
        """Return the size of one prepared piece: pixels of an image, tokens of a text, seconds of audio."""
        ...


@runtime_checkable
class Index(Protocol):
    """Finds nearest neighbours by cosine among the unit vectors of one space and one modality.

    Scores agree with those of the exact index; equal scores are ordered by id, smallest first. Searching is safe
    while another thread adds or removes: a search sees the index as it was at one moment.
    """

    kind: str

    def add(self, ids: Ids, vectors: Vectors) -> None:
        """Add vectors under new ids. Raises `ValueError` for a known id and for values that are not finite."""
        ...

    def remove(self, ids: Ids) -> None:
        """Remove ids; unknown ones are ignored."""
        ...

    def search(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Return scores and ids of the best `min(k, searched)` for each query, best first.

        `allowed`, sorted ids, restricts the search to these.

        *Shape:* (n, min(k, searched)) twice.
        """
        ...

    def sample(self, n: int) -> Vectors:
        """Return up to `n` vectors, spread evenly over the ids; always the same ones for the same content."""
        ...

    def ids(self) -> Ids:
        """Return all ids, ascending."""
        ...

    def vectors(self, ids: Ids) -> Vectors:
        """Return the stored vectors of ids, in their order. Raises `KeyError` for an unknown id."""
        ...

    def save(self, folder: Path) -> None:
        """Write the index into an existing empty folder."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open what `save` wrote, by mapping where possible."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class ApproximateIndex(Index, Protocol):
    """An index that may miss neighbours, but can also compare every vector.

    The engine measures its recall and raises `effort` until the target of the library is reached, so a high enough
    effort must find everything.
    """

    effort: SearchEffort

    def search_exactly(self, queries: Vectors, k: int, *, allowed: Ids | None = None) -> tuple[Scores, Ids]:
        """Search as `search` does, but compare every vector: recall is measured against this."""
        ...


@runtime_checkable
class Refinable(Protocol):
    """Optional for an approximate index: finer codes, for when more effort alone does not reach the recall target."""

    def refine(self) -> bool:
        """Rebuild the structure with finer codes. Return False if there are none."""
        ...


BuildCallback = Callable[[int, int], None]
"""Called during a build with the number of rows done and the number of all rows."""


@runtime_checkable
class Buildable(Protocol):
    """Optional for an index that has to be rebuilt from time to time, after vectors were added and removed."""

    def build(self, *, on_progress: BuildCallback) -> None:
        """Build the index. Searches, additions and removals must work meanwhile."""
        ...


@runtime_checkable
class Copyable(Protocol):
    """Optional for an index that can be copied without copying its vectors."""

    def copy(self) -> Self:
        """Return an independent index with the present content."""
        ...


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
class CandidateGenerator(Protocol):
    """Names rows that may be among the nearest to a query, for one fixed set of vectors.

    It only names rows, by their position in the vectors that it was built from. `TwoStageIndex` computes the scores
    from the stored vectors, orders them, filters, adds and removes. A generator is not changed once it is built, and
    is called by several threads at once.
    """

    file_name: ClassVar[str]
    """The name of its file, or folder, inside the folder of the index."""
    min_filter_share: ClassVar[float]
    """If a filter leaves a smaller share of the rows than this, every row that it leaves is compared instead."""
    candidates_per_result: ClassVar[int]
    """If fewer candidates than this are allowed for each result, every row is compared instead."""

    @classmethod
    def build(cls, vectors: VectorSource, *, on_progress: BuildCallback) -> Self:
        """Build a generator. Raises `IndexUnavailable` if a package or a device is missing."""
        ...

    def candidates(self, queries: Vectors, *, effort: SearchEffort, wanted: int, mask: Mask | None) -> Candidates:
        """Name rows that may be among the best `wanted` of each query; if `mask` is given, only rows where it is true.

        Pass search parameters with each call to the structure, never set them on it: other threads search it as well.
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
    "Copyable",
    "CostModel",
    "Encoder",
    "Index",
    "Prepared",
    "Refinable",
    "VectorSource",
]
