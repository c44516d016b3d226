"""Measures on held-out recordings how well text and sound align, which training never brings together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.vectors import unit
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.training.training_data import TrainingData
from bindsearch.types import Modality, Vectors

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class HeldOutFigures:
    """Figures over held-out clips."""

    zero_shot: float | None
    """Share of clips whose own concept is the nearest of all; None if fewer than two concepts have names."""
    chance: float | None
    """What `zero_shot` would be for a tower that ignores its input."""
    pictures: float
    """Share of clips whose nearest image is of the same concept, or of the same row of the manifest without names."""
    clips: int

    def __str__(self) -> str:
        named = "" if self.zero_shot is None else f"zero-shot {self.zero_shot:.3f} (chance {self.chance:.3f}), "
        return f"{named}nearest picture {self.pictures:.3f}, {self.clips} held-out clips"


class HeldOutEvaluator:
    """Evaluates a tower on held-out clips. Texts are embedded here, before training, and never leave this object."""

    def __init__(self, data: TrainingData, space: Space) -> None:
        self._data = data
        self._rows = data.rows(dev=True)
        self._labels = np.array([name or f"#{owner}" for owner, name in enumerate(data.concepts)])
        held_out = self._labels[np.unique(data.owners[self._rows])]
        self._names = sorted({str(label) for label in held_out if not label.startswith("#")})
        has_text = Modality.TEXT in space.spec.modalities
        self._texts = _text_vectors(self._names, space) if len(self._names) > 1 and has_text else None
        self._pictures = np.concatenate(data.pictures)
        self._picture_labels = self._labels[np.repeat(np.arange(len(data.pictures)), [len(p) for p in data.pictures])]

    def evaluate(self, tower: nn.Module) -> HeldOutFigures:
        """Return the figures of a tower."""
        clips, truth = self._clips(tower)
        nearest = self._picture_labels[(clips @ self._pictures.T).argmax(axis=1)]
        pictures = float((nearest == truth).mean())
        if self._texts is None:
            return HeldOutFigures(None, None, pictures, len(clips))
        named = np.isin(truth, self._names)
        predicted = np.array(self._names)[(clips[named] @ self._texts.T).argmax(axis=1)]
        zero_shot = float((predicted == truth[named]).mean())
        return HeldOutFigures(zero_shot, 1 / len(self._names), pictures, len(clips))

    def _clips(self, tower: nn.Module) -> tuple[Vectors, NDArray[np.str_]]:
        """Return for each clip the mean of its windows' vectors, and its label. *Shape:* (clips, dim), (clips,)"""
        rows = embed_windows(tower, self._data.spectra[self._rows])
        clips, first, clip_of = np.unique(self._data.clips[self._rows], return_index=True, return_inverse=True)
        means = np.zeros((len(clips), rows.shape[1]), np.float32)
        np.add.at(means, clip_of, rows)
        return unit(means), self._labels[self._data.owners[self._rows[first]]]


def embed_windows(tower: nn.Module, spectra: NDArray[np.float32], *, batch: int = 64) -> Vectors:
    """Return unit vectors of sound windows. *Shape:* (n, frames, bands) to (n, dim)"""
    import torch

    device = next(tower.parameters()).device
    with torch.inference_mode():
        starts = range(0, len(spectra), batch)
        parts = [torch.from_numpy(spectra[start : start + batch]).to(device) for start in starts]
        return unit(np.concatenate([tower(part).float().cpu().numpy() for part in parts]))


def _text_vectors(names: Sequence[str], space: Space) -> Vectors:
    """Return the mean over all prompts of each name, as unit vectors."""
    templates = TEMPLATES[Modality.AUDIO]
    prompts = [template.replace("{}", name) for name in names for template in templates]
    rows = space.embed(prompts, modality="text")
    return unit(rows.reshape(len(names), len(templates), -1).mean(axis=1))
