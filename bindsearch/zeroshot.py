"""Labels and prompt templates -> a classifier that was never trained on them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.records import unit
from bindsearch.spaces import Space
from bindsearch.templates import TEMPLATES
from bindsearch.types import Modality, Piece, Scores, Vectors


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label, how probable it is among the labels, and its cosine."""

    label: str
    probability: float
    score: float


class Classifier:
    """Tells which of some labels fits a file best, by the space alone.

    A label's vector is the mean over templates ("the sound of {}"). Made by `Library.classifier` or from a space.
    """

    def __init__(self, space: Space, labels: Sequence[str], *, templates: Sequence[str] | None = None) -> None:
        if isinstance(labels, str):
            raise BadQuery(f"labels are a list: [{labels!r}]")
        self.labels = tuple(dict.fromkeys(label.strip() for label in labels if label.strip()))
        if not self.labels:
            raise BadQuery("a classifier needs at least one label")
        if templates is not None and (not templates or any("{}" not in template for template in templates)):
            raise BadQuery("a template says with {} where the label goes, as in 'the sound of {}'")
        self._space = space
        self._templates = templates
        self._weights: dict[Modality, Vectors] = {}

    def predict(self, thing: str | os.PathLike[str] | Piece) -> list[Prediction]:
        """Rank the labels for a file or a decoded piece, best first. Raises `MediaError`."""
        if isinstance(thing, Piece):
            modalities, rows = [thing.modality], self._space.embed_pieces([thing])
        else:
            segments, rows = self._space.embed_whole(Path(thing))
            modalities = [segment.modality for segment in segments]
        scores = [self._weights_for(modality) @ row for modality, row in zip(modalities, rows, strict=True)]
        return self._ranked(np.mean(scores, axis=0, dtype=np.float32))

    def _ranked(self, scores: Scores) -> list[Prediction]:
        scaled = np.exp((scores - scores.max()) / self._space.spec.temperature)
        shares = scaled / scaled.sum()
        order = np.argsort(-scores, kind="stable").tolist()
        return [Prediction(self.labels[place], float(shares[place]), float(scores[place])) for place in order]

    def _weights_for(self, modality: Modality) -> Vectors:
        if modality not in self._weights:
            templates = self._templates or TEMPLATES[modality]
            prompts = [template.replace("{}", label) for label in self.labels for template in templates]
            rows = self._space.embed(prompts, modality="text")
            self._weights[modality] = unit(rows.reshape(len(self.labels), len(templates), -1).mean(axis=1))
        return self._weights[modality]
