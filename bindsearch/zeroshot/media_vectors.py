"""A file as a classifier sees it: one vector for each modality that is in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindsearch.core.vectors import unit
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors


@dataclass(frozen=True, eq=False)
class MediaVectors:
    """By modality, the unit mean of the vectors of a file: of a film, what is seen and what is heard."""

    vectors: Mapping[Modality, Vectors]
    """*Shape of each:* (dim,)"""

    @property
    def modality(self) -> Modality:
        """What it is in the first place: a film is seen."""
        return min(self.vectors, key=list(Modality).index) if Modality.VIDEO not in self.vectors else Modality.VIDEO

    @classmethod
    def of(cls, modalities: Sequence[Modality], rows: Vectors) -> MediaVectors:
        """Bring the vectors of a file's segments together."""
        kinds = np.array([str(modality) for modality in modalities])
        means = {kind: rows[kinds == kind].mean(axis=0, dtype=np.float64) for kind in dict.fromkeys(kinds.tolist())}
        return cls({Modality(kind): unit(mean[None, :])[0] for kind, mean in means.items()})


def look_at(space: Space, thing: str | os.PathLike[str] | Piece) -> MediaVectors:
    """Embed a file or a decoded piece. Raises `MediaError`."""
    if isinstance(thing, Piece):
        return MediaVectors.of([thing.modality], space.embed_pieces([thing]))
    segments, rows = space.embed_whole(Path(thing))
    return MediaVectors.of([segment.modality for segment in segments], rows)
