"""Prompts: labels put into templates, and the vectors of labels by modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.names import modality_named
from bindsearch.core.vectors import unit
from bindsearch.errors import BadQuery
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors

Templates: TypeAlias = "Sequence[str] | Mapping[str, Sequence[str]]"
"""Templates for all modalities, or by modality."""
Weights = NDArray[np.float64]


class Prompts:
    """Labels times templates, embedded on first use, with a weight per template."""

    def __init__(
        self,
        space: Space,
        labels: Sequence[str],
        templates: Mapping[Modality, Sequence[str]],
        *,
        weights: Mapping[Modality, Weights] | None = None,
        rows: Mapping[Modality, Vectors] | None = None,
    ) -> None:
        self._space = space
        self.labels = tuple(labels)
        self.templates = {modality: tuple(some) for modality, some in templates.items()}
        self.weights = dict(weights or {})
        self._rows = dict(rows or {})
        self._vectors: dict[Modality, Vectors] = {}

    def rows(self, modality: Modality) -> Vectors:
        """Return the vector of every prompt. *Shape:* (labels, templates, dim)"""
        if modality not in self._rows:
            templates = self.templates[modality]
            prompts = [template.replace("{}", label) for label in self.labels for template in templates]
            rows = self._space.embed(prompts, modality="text")
            self._rows[modality] = rows.reshape(len(self.labels), len(templates), -1)
        return self._rows[modality]

    def vectors(self, modality: Modality) -> Vectors:
        """Return the vector of every label: the unit weighted mean of its prompts. *Shape:* (labels, dim)"""
        if modality not in self._vectors:
            self._vectors[modality] = weighted_mean(self.rows(modality), self.weight(modality))
        return self._vectors[modality]

    def weight(self, modality: Modality) -> Weights:
        """Return the weight of each template; they add up to 1. *Shape:* (templates,)"""
        if modality in self.weights:
            return self.weights[modality]
        count = len(self.templates[modality])
        return np.full(count, 1 / count)

    def with_templates(self, modality: Modality, templates: Sequence[str], weights: Weights) -> Prompts:
        """Return prompts of the same labels with other templates for one modality."""
        others = {kind: rows for kind, rows in self._rows.items() if kind != modality}
        return Prompts(
            self._space,
            self.labels,
            self.templates | {modality: tuple(templates)},
            weights=self.weights | {modality: weights},
            rows=others,
        )


def weighted_mean(rows: Vectors, weights: Weights) -> Vectors:
    """Return the unit weighted mean of each label's prompts. *Shape:* (labels, dim)"""
    return unit(np.einsum("ltd,t->ld", rows, weights.astype(np.float32)))


def checked_templates(given: Templates | None) -> dict[Modality, tuple[str, ...]]:
    """Return the templates of every modality, the built-in ones where none are given. Raises `BadQuery`."""
    if given is None:
        return {modality: tuple(some) for modality, some in TEMPLATES.items()}
    if isinstance(given, Mapping):
        named = {modality_named(name): _checked(some) for name, some in given.items()}
        return checked_templates(None) | named
    return dict.fromkeys(Modality, _checked(given))


def _checked(templates: Sequence[str]) -> tuple[str, ...]:
    if isinstance(templates, str) or not templates or any("{}" not in template for template in templates):
        raise BadQuery("a template needs {} where the label goes, as in 'the sound of {}'")
    return tuple(dict.fromkeys(templates))
