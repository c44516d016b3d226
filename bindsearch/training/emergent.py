"""How well text and sound meet that never met in training: measured on held-out recordings, and only measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.vectors import unit
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.training.gathering import Sounds
from bindsearch.types import Modality, Vectors

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Emergence:
    """Figures over held-out clips. `chance` is what the first would be for a tower that hears nothing."""

    zero_shot: float | None
    """Share of clips whose own concept is the nearest of all; None where fewer than two concepts have names."""
    chance: float | None
    pictures: float
    """Share of clips whose nearest picture is of the same concept, or the same row where there are no names."""
    clips: int

    def __str__(self) -> str:
        named = "" if self.zero_shot is None else f"zero-shot {self.zero_shot:.3f} (chance {self.chance:.3f}), "
        return f"{named}nearest picture {self.pictures:.3f}, {self.clips} held-out clips"


class Examiner:
    """Asks a tower about held-out clips. Texts are embedded here, before training, and stay here."""

    def __init__(self, sounds: Sounds, space: Space) -> None:
        self._sounds = sounds
        self._rows = sounds.rows(dev=True)
        self._labels = np.array([name or f"#{owner}" for owner, name in enumerate(sounds.concepts)])
        held = self._labels[np.unique(sounds.owners[self._rows])]
        self._names = sorted({str(label) for label in held if not label.startswith("#")})
        self._texts = _texts(self._names, space) if len(self._names) > 1 and _reads(space) else None
        self._pictures = np.concatenate(sounds.pictures)
        self._shown = self._labels[np.repeat(np.arange(len(sounds.pictures)), [len(rows) for rows in sounds.pictures])]

    def examine(self, tower: nn.Module) -> Emergence:
        """Measure a tower."""
        clips, truth = self._clips(tower)
        nearest = self._shown[(clips @ self._pictures.T).argmax(axis=1)]
        pictures = float((nearest == truth).mean())
        if self._texts is None:
            return Emergence(None, None, pictures, len(clips))
        asked = np.isin(truth, self._names)
        guess = np.array(self._names)[(clips[asked] @ self._texts.T).argmax(axis=1)]
        return Emergence(float((guess == truth[asked]).mean()), 1 / len(self._names), pictures, len(clips))

    def _clips(self, tower: nn.Module) -> tuple[Vectors, NDArray[np.str_]]:
        """Return each clip the mean over its windows, and its label. *Shape:* (clips, dim), (clips,)"""
        rows = embedded(tower, self._sounds.spectra[self._rows])
        clips, first, whose = np.unique(self._sounds.clips[self._rows], return_index=True, return_inverse=True)
        means = np.zeros((len(clips), rows.shape[1]), np.float32)
        np.add.at(means, whose, rows)
        return unit(means), self._labels[self._sounds.owners[self._rows[first]]]


def embedded(tower: nn.Module, spectra: NDArray[np.float32], *, batch: int = 64) -> Vectors:
    """Return unit vectors of windows of sound. *Shape:* (n, frames, bands) to (n, dim)"""
    import torch

    device = next(tower.parameters()).device
    with torch.inference_mode():
        starts = range(0, len(spectra), batch)
        parts = [torch.from_numpy(spectra[start : start + batch]).to(device) for start in starts]
        return unit(np.concatenate([tower(part).float().cpu().numpy() for part in parts]))


def _texts(names: Sequence[str], space: Space) -> Vectors:
    templates = TEMPLATES[Modality.AUDIO]
    prompts = [template.replace("{}", name) for name in names for template in templates]
    rows = space.embed(prompts, modality="text")
    return unit(rows.reshape(len(names), len(templates), -1).mean(axis=1))


def _reads(space: Space) -> bool:
    return Modality.TEXT in space.spec.modalities
