"""The vectors of a file by modality, as a classifier uses them."""

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
    """The unit mean of a file's segment vectors, by modality: for a video, one of its frames and one of its sound."""

    vectors: Mapping[Modality, Vectors]
    """*Shape of each:* (dim,)"""

    @property
    def modality(self) -> Modality:
        """The main modality: of a video with sound, video."""
        return min(self.vectors, key=list(Modality).index) if Modality.VIDEO not in self.vectors else Modality.VIDEO

    @classmethod
    def of(cls, modalities: Sequence[Modality], rows: Vectors) -> MediaVectors:
        """Average the segment vectors of a file by modality."""
        kinds = np.array([str(modality) for modality in modalities])
        means = {kind: rows[kinds == kind].mean(axis=0, dtype=np.float64) for kind in dict.fromkeys(kinds.tolist())}
        return cls({Modality(kind): unit(mean[None, :])[0] for kind, mean in means.items()})


def embed_media(space: Space, thing: str | os.PathLike[str] | Piece) -> MediaVectors:
    """Embed a file or a decoded piece. Raises `MediaError`."""
    if isinstance(thing, Piece):
        return MediaVectors.of([thing.modality], space.embed_pieces([thing]))
    segments, rows = space.embed_segments(Path(thing))
    return MediaVectors.of([segment.modality for segment in segments], rows)
