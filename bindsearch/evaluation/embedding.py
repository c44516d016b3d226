"""Embeds the media of a data set as a library would: each file gives one unit vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.vectors import unit
from bindsearch.errors import MediaError, UnsupportedMedia
from bindsearch.evaluation.dataset import Dataset, Example, MediaExtractor
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors

BATCH_PIECES = 128
"""Pieces that are decoded and embedded together."""

ProgressCallback = Callable[[str], None]
"""Called with the name of each medium before it is decoded."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """The readable examples of a data set, with their vectors. *Shape of rows:* (examples, dim)"""

    dataset: Dataset
    rows: Vectors
    failed: dict[str, str] = field(default_factory=dict)
    """Media that could not be read -> reason."""

    def select(self, places: Sequence[int]) -> Embedded:
        """Return some of the examples, by their positions."""
        examples = tuple(self.dataset.examples[place] for place in places)
        return replace(self, dataset=replace(self.dataset, examples=examples), rows=self.rows[list(places)])


def embed(dataset: Dataset, space: Space, *, on_progress: ProgressCallback) -> Embedded:
    """Embed every example of a data set; the vector of a sound is the mean over its windows. Raises `SpaceError`."""
    failed: dict[str, str] = {}
    sums = np.zeros((len(dataset.examples), space.spec.dim), dtype=np.float64)
    batch: list[tuple[int, Piece]] = []
    for numbered_piece in _pieces(dataset, space, failed, on_progress):
        batch.append(numbered_piece)
        if len(batch) == BATCH_PIECES:
            _add(batch, space, sums)
    _add(batch, space, sums)
    kept = [place for place, row in enumerate(sums) if row.any() and str(dataset.examples[place].media) not in failed]
    examples = tuple(dataset.examples[place] for place in kept)
    return Embedded(replace(dataset, examples=examples), unit(sums[kept]), failed)


def _pieces(
    dataset: Dataset, space: Space, failed: dict[str, str], on_progress: ProgressCallback
) -> Iterator[tuple[int, Piece]]:
    with closing(MediaExtractor()) as extractor:
        for place, example in enumerate(dataset.examples):
            on_progress(example.media.name)
            try:
                yield from ((place, piece) for piece in _decoded(example, space, dataset.modality, extractor))
            except MediaError as error:
                failed[str(example.media)] = str(error)


def _decoded(example: Example, space: Space, modality: Modality, extractor: MediaExtractor) -> Iterator[Piece]:
    """Yield the pieces of one file; of an animated image only the first, because data sets of images mean that."""
    with extractor.extract(example.media) as path:
        pieces = space.pieces(path, modality=modality)
        first = next(pieces, None)
        if first is None:
            raise UnsupportedMedia(f"{path}: holds no {modality}")
        yield first
        if modality != Modality.IMAGE:
            yield from pieces


def _add(batch: list[tuple[int, Piece]], space: Space, sums: NDArray[np.float64]) -> None:
    if batch:
        rows = space.embed_pieces([piece for _, piece in batch])
        np.add.at(sums, [place for place, _ in batch], rows)
        batch.clear()


def embed_labels(names: Sequence[str], space: Space, *, modality: Modality) -> Vectors:
    """Embed names with the prompt templates of the modality they are compared with. *Shape:* (len(names), dim)"""
    templates = TEMPLATES[modality]
    rows = embed_texts([template.replace("{}", name) for name in names for template in templates], space)
    return unit(rows.reshape(len(names), len(templates), -1).mean(axis=1))


def embed_texts(sentences: Sequence[str], space: Space) -> Vectors:
    """Embed sentences without a template. *Shape:* (len(sentences), dim)"""
    return space.embed_pieces([Piece(Modality.TEXT, sentence) for sentence in sentences])
