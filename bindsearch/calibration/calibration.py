"""The calibration of a library: what is fitted per kind of query, and how it is applied to one query."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bindsearch.calibration.evalue import EValueModel, combined_model
from bindsearch.calibration.null_distribution import CalibrationOptions, Floats, NullDistribution, hub_factors
from bindsearch.query.query_vector import QueryVector
from bindsearch.types import Modality, Vectors


@dataclass(frozen=True, eq=False)
class QueryKindCalibration:
    """What is fitted for queries of one kind: texts, images, sounds or videos."""

    mean: Vectors
    """The mean of background queries. *Shape:* (dim,)"""
    nulls: Mapping[Modality, NullDistribution]
    """By the modality that is searched."""
    deviations: Vectors
    """As in `BackgroundQueries`; empty unless hubness reduction is on. *Shape:* (n, dim)"""
    whitener: Vectors | None = None
    """As in `BackgroundQueries`. *Shape:* (dim, dim)"""

    def whitened(self, vector: Vectors) -> Vectors:
        """Whiten a vector, if queries of this kind are whitened. *Shape:* (dim,)"""
        return vector if self.whitener is None else vector @ self.whitener


@dataclass(frozen=True, eq=False)
class CalibratedQuery:
    """A query, centred and whitened, with its E-value models. *Shape of vectors:* (dim,)"""

    query: QueryVector
    vector: Vectors
    """The sum of the centred components, each whitened as its kind is. Not of unit length."""
    models: Mapping[Modality, EValueModel]
    components: tuple[tuple[float, QueryKindCalibration], ...]
    """The weight of each component and what is fitted for its kind."""
    options: CalibrationOptions

    def adjusted_scores(self, modality: Modality, rows: Vectors) -> Vectors:
        """Return the scores of vectors as `models` expect them. *Shape:* (len(rows),)"""
        scores: Vectors = rows @ self.vector - np.float32(self.models[modality].shift)
        if not self.options.hubness:
            return scores
        squares = [weight**2 * ((rows @ kind.deviations.T) ** 2).sum(axis=1) for weight, kind in self.components]
        typical = math.hypot(*(weight * kind.nulls[modality].typical_spread for weight, kind in self.components))
        return scores / hub_factors(np.sqrt(np.sum(squares, axis=0)), typical)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Everything that is fitted to a library at one position of its log."""

    key: str
    """Identifies the content, options and format that this was fitted for."""
    options: CalibrationOptions
    centroids: Mapping[Modality, Vectors]
    """The mean vector of what is searched, by modality."""
    segments_per_item: Mapping[Modality, float]
    """The mean number of segments of a modality, over the items that have any."""
    kinds: dict[Modality, QueryKindCalibration]
    """By the kind of query."""

    def calibrate(self, query: QueryVector, *, searched: Mapping[Modality, int]) -> CalibratedQuery:
        """Calibrate a query for a search of this many segments by modality. Its kinds must be fitted."""
        kinds = [self.kinds[component.kind] for component in query.components]
        weights = np.array([component.weight for component in query.components])
        weights = _normalised(weights, np.stack([kind.mean for kind in kinds]))
        components = tuple(zip(weights.tolist(), kinds, strict=True))
        centred = [
            component.vector - self.options.centring_share * np.float32(weight) * kind.mean
            for component, (weight, kind) in zip(query.components, components, strict=True)
        ]
        whitened = [kind.whitened(vector) for vector, kind in zip(centred, kinds, strict=True)]
        vector: Vectors = np.sum(whitened, axis=0)
        return CalibratedQuery(query, vector, self._models(components, vector, searched), components, self.options)

    def _models(
        self,
        components: tuple[tuple[float, QueryKindCalibration], ...],
        vector: Vectors,
        searched: Mapping[Modality, int],
    ) -> dict[Modality, EValueModel]:
        items = sum(count / self.segments_per_item[modality] for modality, count in searched.items())
        return {
            modality: combined_model(
                [(weight, kind.nulls[modality]) for weight, kind in components],
                similarity=float(vector @ centroid),
                searched=items,
                segments_per_item=self.segments_per_item[modality],
            )
            for modality, centroid in self.centroids.items()
        }


def _normalised(weights: Floats, means: Vectors) -> Floats:
    """Scale weights so that the same sum of background queries would have unit length, on average."""
    variance = weights**2 @ (1 - np.einsum("ij,ij->i", means, means))
    normalised: Floats = weights / math.sqrt(float(((weights @ means) ** 2).sum() + variance))
    return normalised
