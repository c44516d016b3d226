"""What an adapter in `encoders/` or `indexes/` provides. The engine knows adapters by these protocols only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

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


__all__ = [
    "Buildable",
    "Encoder",
    "Ids",
    "Index",
    "Mask",
    "CostModel",
    "Modality",
    "Piece",
    "Prepared",
    "Scores",
    "SpaceSpec",
    "Copyable",
    "Vectors",
]
