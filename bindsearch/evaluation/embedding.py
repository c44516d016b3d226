"""The vectors of a data set, made as the library makes them: whole files in, one unit vector out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.vectors import unit
from bindsearch.errors import MediaError, UnsupportedMedia
from bindsearch.evaluation.dataset import Dataset, Example, MediaCache
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors

TOGETHER = 128
"""Pieces that are held decoded."""

ProgressCallback = Callable[[str], None]
"""Called with the name of each medium as it is taken."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A data set, reduced to what could be read, with its vectors. *Shape of rows:* (examples, dim)"""

    dataset: Dataset
    rows: Vectors
    failed: dict[str, str] = field(default_factory=dict)
    """Media that could not be read, and why."""

    def kept(self, places: Sequence[int]) -> Embedded:
        """Keep some of the examples."""
        examples = tuple(self.dataset.examples[place] for place in places)
        return replace(self, dataset=replace(self.dataset, examples=examples), rows=self.rows[list(places)])


def embed(dataset: Dataset, space: Space, *, on_progress: ProgressCallback) -> Embedded:
    """Embed every example of a data set; several windows of a sound give the mean. Raises `SpaceError`."""
    failed: dict[str, str] = {}
    sums = np.zeros((len(dataset.examples), space.spec.dim), dtype=np.float64)
    batch: list[tuple[int, Piece]] = []
    for owned in _pieces(dataset, space, failed, on_progress):
        batch.append(owned)
        if len(batch) == TOGETHER:
            _add(batch, space, sums)
    _add(batch, space, sums)
    kept = [place for place, row in enumerate(sums) if row.any() and str(dataset.examples[place].media) not in failed]
    examples = tuple(dataset.examples[place] for place in kept)
    return Embedded(replace(dataset, examples=examples), unit(sums[kept]), failed)


def _pieces(
    dataset: Dataset, space: Space, failed: dict[str, str], on_progress: ProgressCallback
) -> Iterator[tuple[int, Piece]]:
    with closing(MediaCache()) as shelf:
        for place, example in enumerate(dataset.examples):
            on_progress(example.media.name)
            try:
                yield from ((place, piece) for piece in _decoded(example, space, dataset.modality, shelf))
            except MediaError as error:
                failed[str(example.media)] = str(error)


def _decoded(example: Example, space: Space, modality: Modality, shelf: MediaCache) -> Iterator[Piece]:
    """Return the pieces of one file; of a picture that moves, the first, as data sets of pictures mean it."""
    with shelf.lend(example.media) as path:
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


def labels(names: Sequence[str], space: Space, *, modality: Modality) -> Vectors:
    """Embed names by the fixed templates for what they are to find. *Shape:* (len(names), dim)"""
    templates = TEMPLATES[modality]
    rows = texts([template.replace("{}", name) for name in names for template in templates], space)
    return unit(rows.reshape(len(names), len(templates), -1).mean(axis=1))


def texts(sentences: Sequence[str], space: Space) -> Vectors:
    """Embed sentences as they are. *Shape:* (len(sentences), dim)"""
    return space.embed_pieces([Piece(Modality.TEXT, sentence) for sentence in sentences])
