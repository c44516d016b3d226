"""The values that every room and every adapter uses: modality, space, piece, segment, item, search effort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image


Vectors = NDArray[np.float32]
"""*Shape:* (n, dim), or (dim,) for a single vector."""
Ids = NDArray[np.int64]
Scores = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Modality(StrEnum):
    """The kind of media of an item or a segment."""

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Windowing:
    """How a space cuts media into pieces; part of its fingerprint."""

    sample_rate: int = 16_000
    """Of the mono audio in `Piece.content`, in Hz."""
    window: float = 2.0
    """The length of an audio window, in seconds."""
    hop: float = 2.0
    """From the start of one audio window to the next, in seconds."""
    frame_every: float = 2.0
    """One frame is taken from each stretch of this length of a video or animation, in seconds."""
    image_side: int = 512
    """Images are decoded with a shorter side of at least this many pixels, unless the original is smaller."""
    passage: int = 600
    """The maximum length of a passage of text, in characters."""


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """The description of one shared embedding space."""

    name: str
    dim: int
    modalities: frozenset[Modality]
    licence: str
    """Of the weights, as an SPDX identifier if there is one."""
    fingerprint: str
    """Hash of weights, preprocessing and windowing: vectors of different fingerprints are never compared."""
    summary: str
    """How the space was aligned, in one sentence."""
    windowing: Windowing = field(default_factory=Windowing)
    temperature: float = 0.05
    """Divides cosines before a softmax over labels. It is the temperature of training, never fitted to test data."""
    commercial: bool = True
    """Whether the licence of the weights allows commercial use."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a segment lies in its item: times in seconds, offset and length in characters of the decoded text."""

    start: float | None = None
    end: float | None = None
    offset: int | None = None
    length: int | None = None


WHOLE = Span()


@dataclass(frozen=True, slots=True)
class Piece:
    """The decoded media of one segment, as encoders receive it.

    `content` depends on the modality. Image and video: a PIL image in mode RGB. Audio: mono float32 samples at the
    rate of the windowing, one window long, or shorter if the whole recording is. Text: a `str`.
    """

    modality: Modality
    content: Image | NDArray[np.float32] | str
    span: Span = WHOLE


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of an item that has one vector."""

    id: int
    modality: Modality
    span: Span = WHOLE
    text: str = ""
    """The beginning of a passage of text; empty for other modalities."""


@dataclass(frozen=True, slots=True)
class Item:
    """One content, at one or more paths; at none while its files are gone."""

    id: int
    hash: str
    modality: Modality
    size: int
    duration: float | None
    """Of audio, videos and animations, in seconds; None for other media."""
    segments: Sequence[Segment]
    paths: Sequence[Path] = ()


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
    """Whether the rows named for a query are enough; if not, every row is compared. *Shape:* (queries,)"""


# What this machine offers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FamilyMember:
    """One space of a family, such as one of the models that open_clip lists."""

    name: str
    licence: str
    commercial: bool
    """Whether the licence is known to allow commercial use."""
    here: bool
    """Whether its weights are on this machine."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that torch finds."""

    name: str
    capability: str
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Devices:
    """What this machine can search with."""

    faiss: str | None
    """Its version; None if it is not installed."""
    faiss_packages: tuple[str, ...]
    """The installed packages that bring faiss."""
    faiss_gpus: int
    """The number of GPUs that faiss lists."""
    faiss_runs: tuple[int, ...]
    """The numbers of those that answered a trial search rightly."""
    faiss_why: str
    """Why faiss cannot use a GPU that it lists."""
    gpus: tuple[Gpu, ...]
    """The GPUs that torch finds."""
    why: str
    """When the GPU is used and by which package, or why it is not."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return asdict(self)
