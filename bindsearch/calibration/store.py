"""The calibration of a library, fitted when it is first needed and fitted again when the library changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from bindsearch.calibration.background_queries import form_numbers, thing_numbers
from bindsearch.calibration.cache_file import read_calibration, write_calibration
from bindsearch.calibration.calibration import Calibration, QueryKindCalibration
from bindsearch.calibration.null_distribution import (
    MAX_BACKGROUND_QUERIES,
    MAX_SAMPLE,
    BackgroundQueries,
    CalibrationOptions,
    NullDistribution,
    Sample,
)
from bindsearch.calibration.whitening import Whitening, mean_covariance
from bindsearch.ports import Index
from bindsearch.storage.records import RunRef
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

MIN_BACKGROUND_VECTORS = 64
"""With fewer vectors of a modality, the mean and covariance of queries of its kind cannot be estimated."""
FORMAT = "5"
"""Part of the key: change it whenever the fit changes."""


class CalibrationStore:
    """Provides the calibration for a snapshot: from memory, from the cache file, or newly fitted."""

    def __init__(self, folder: Path, *, dim: int, texts: Callable[[], Vectors]) -> None:
        """Cache in a folder. `texts` returns the vectors of the background queries: none in a space without texts."""
        self._folder = folder
        self._dim = dim
        self._texts = texts
        self._lock = threading.Lock()
        self._current: Calibration | None = None

    def at(
        self,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        kinds: frozenset[Modality],
        options: CalibrationOptions,
    ) -> Calibration:
        """Return the calibration for queries of some kinds, at a snapshot."""
        counts = [f"{modality}:{len(index)}" for modality, index in indexes.items()]
        key = "|".join([FORMAT, f"{options}", f"{snapshot.position()}", *counts])
        with self._lock:
            if self._current is None or self._current.key != key:
                self._current = read_calibration(self._folder, key, options)
            if self._current is None or not kinds <= self._current.kinds.keys():
                self._current = self._fit(key, options, snapshot, indexes, kinds)
                write_calibration(self._folder, self._current)
            return self._current

    def _fit(
        self,
        key: str,
        options: CalibrationOptions,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        kinds: frozenset[Modality],
    ) -> Calibration:
        samples = {modality: _sample(modality, index, snapshot, MAX_SAMPLE) for modality, index in indexes.items()}
        samples = {modality: sample for modality, sample in samples.items() if len(sample.vectors)}
        fitted = dict(self._current.kinds) if self._current is not None else {}
        whitening = _whitening(samples.values()) if options.centring else None
        for kind in sorted(kinds - fitted.keys()):
            background = self._background(kind, snapshot, indexes, whitening=whitening)
            nulls = {
                modality: NullDistribution.fit(background, sample, options) for modality, sample in samples.items()
            }
            deviations = background.deviations[: None if options.hubness else 0]
            fitted[kind] = QueryKindCalibration(background.mean, nulls, deviations, background.whitener)
        centroids = {modality: sample.centroid for modality, sample in samples.items()}
        per_item = {modality: sample.segments_per_item for modality, sample in samples.items()}
        return Calibration(key, options, centroids, per_item, fitted)

    def _background(
        self, kind: Modality, snapshot: Snapshot, indexes: Mapping[Modality, Index], *, whitening: Whitening | None
    ) -> BackgroundQueries:
        """Return background queries of a kind: fixed texts, or vectors of the library; borrowed ones if it has too few.

        Only text queries are whitened: whitening needs folds by form, and borrowed queries do not show how queries of
        their kind vary.
        """
        texts = self._texts()
        if kind == Modality.TEXT and len(texts):
            return BackgroundQueries(texts, whitening=whitening)
        own = _sample(kind, indexes[kind], snapshot, MAX_BACKGROUND_QUERIES) if kind in indexes else None
        if own is not None and len(own.vectors) >= MIN_BACKGROUND_VECTORS:
            return BackgroundQueries(own.vectors, own.owners)
        borrowed = texts if len(texts) else _random_directions(self._dim)
        if own is None or not len(own.vectors):
            return BackgroundQueries(borrowed, borrowed=True)
        return BackgroundQueries(borrowed - borrowed.mean(axis=0) + own.centroid, borrowed=True)


def _sample(modality: Modality, index: Index, snapshot: Snapshot, size: int) -> Sample:
    """Return up to `size` vectors, spread evenly over the ids of an index, with the items that they belong to."""
    ids = index.ids()
    chosen = ids[np.linspace(0, len(ids) - 1, size).astype(np.int64)] if len(ids) > size else ids
    owners = [snapshot.owner_of(segment) for segment in chosen.tolist()]
    known = [place for place, owner in enumerate(owners) if owner is not None]
    items = np.array([owners[place] for place in known], dtype=np.int64)
    shares = [1 / max(1, _segment_count(modality, snapshot.runs_of(item))) for item in items.tolist()]
    return Sample(index.vectors(chosen[known]), items, 1 / float(np.mean(shares)) if shares else 1.0)


def _segment_count(modality: Modality, runs: Iterable[RunRef]) -> int:
    return sum(run.count for run in runs if run.modality == modality)


def _whitening(samples: Iterable[Sample]) -> Whitening:
    """Return the whitening of text queries, with the covariance of those modalities that have enough vectors."""
    groups = [sample.vectors for sample in samples if len(sample.vectors) >= MIN_BACKGROUND_VECTORS]
    return Whitening(np.array(form_numbers()), np.array(thing_numbers()), mean_covariance(groups))


def _random_directions(dim: int) -> Vectors:
    """Return seeded random unit vectors: background queries for a space without texts."""
    rows = np.random.default_rng(1).standard_normal((MAX_BACKGROUND_QUERIES, dim), dtype=np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
