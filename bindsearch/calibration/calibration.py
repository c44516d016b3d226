"""What chance gives in a library: fitted to its content, kept beside its indexes, and put together for each query."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from bindsearch.calibration.background_queries import forms, things
from bindsearch.calibration.evalue import EValueModel, background
from bindsearch.calibration.null_distribution import (
    SAMPLE,
    STRANGERS,
    BackgroundQueries,
    CalibrationOptions,
    Floats,
    NullDistribution,
    Sample,
    hubs,
)
from bindsearch.calibration.whitening import Whitening, scatter_of_all
from bindsearch.ports import Index
from bindsearch.query.query_vector import QueryVector
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

ENOUGH = 64
"""Fewer vectors of a modality than this do not tell what queries of its kind have in common, or what it varies in."""
FORM = "4"
"""Change it with every change of what is fitted."""
FILE = "chances.npz"
UNREADABLE = (OSError, EOFError, ValueError, KeyError, TypeError, BadZipFile)


@dataclass(frozen=True, eq=False)
class QueryKindCalibration:
    """What strangers of one kind find in a library."""

    mean: Vectors
    """What queries of this kind have in common. *Shape:* (dim,)"""
    odds: Mapping[Modality, NullDistribution]
    """By the modality that is searched."""
    deviations: Vectors
    """As in `BackgroundQueries`; empty where nobody wants to know about hubs. *Shape:* (n, dim)"""
    whitener: Vectors | None = None
    """As in `BackgroundQueries`. *Shape:* (dim, dim)"""

    def aimed(self, vector: Vectors) -> Vectors:
        """Whiten a vector, if queries of this kind are whitened. *Shape:* (dim,)"""
        return vector if self.whitener is None else vector @ self.whitener


@dataclass(frozen=True, eq=False)
class CalibratedQuery:
    """A query that was centred and whitened, and what chance gives it. *Shape of vectors:* (dim,)"""

    asking: QueryVector
    vector: Vectors
    """Not of unit length: the query without what it has in common with others, each part whitened as its kind is."""
    chance: Mapping[Modality, EValueModel]
    parts: tuple[tuple[float, QueryKindCalibration], ...]
    manner: CalibrationOptions

    def levels(self, modality: Modality, rows: Vectors) -> Vectors:
        """Return the scores of vectors as they are compared with chance. *Shape:* (len(rows),)"""
        levels: Vectors = rows @ self.vector - np.float32(self.chance[modality].near)
        if not self.manner.hubness:
            return levels
        squares = [weight**2 * ((rows @ each.deviations.T) ** 2).sum(axis=1) for weight, each in self.parts]
        typical = math.hypot(*(weight * each.odds[modality].typical for weight, each in self.parts))
        return levels / hubs(np.sqrt(np.sum(squares, axis=0)), typical)


class Calibration:
    """A library as it is at one position of its log: what is fitted to it, when it is first asked for."""

    def __init__(
        self,
        stamp: str,
        manner: CalibrationOptions,
        middles: Mapping[Modality, Vectors],
        each: Mapping[Modality, float],
        fitted: dict[Modality, QueryKindCalibration],
    ) -> None:
        self.stamp = stamp
        self.each = each
        """How many segments of a modality an item has, on average."""
        self.manner = manner
        self.middles = middles
        """The mean of what is searched, by modality."""
        self.fitted = fitted
        """By the kind of query."""

    def aim(self, asking: QueryVector, *, searched: Mapping[Modality, int]) -> CalibratedQuery:
        """Put together what chance gives a query where so many segments are searched. Its kinds must be fitted."""
        items = sum(count / self.each[modality] for modality, count in searched.items())
        chances = [self.fitted[part.kind] for part in asking.parts]
        means = np.stack([chance.mean for chance in chances])
        weights = _scaled(np.array([part.weight for part in asking.parts]), means)
        parts = tuple(zip(weights.tolist(), chances, strict=True))
        centred = [
            part.vector - self.manner.share * np.float32(weight) * chance.mean
            for part, (weight, chance) in zip(asking.parts, parts, strict=True)
        ]
        aims = [chance.aimed(vector) for vector, chance in zip(centred, chances, strict=True)]
        vector: Vectors = np.sum(aims, axis=0)
        found = {
            modality: background(
                [(weight, chance.odds[modality]) for weight, chance in parts],
                near=float(vector @ middle),
                searched=items,
                each=self.each[modality],
            )
            for modality, middle in self.middles.items()
        }
        return CalibratedQuery(asking, vector, found, parts, self.manner)


class CalibrationStore:
    """What chance gives in a library, whatever comes and goes."""

    def __init__(self, folder: Path, *, dim: int, texts: Callable[[], Vectors]) -> None:
        """Keep what is fitted in a folder. `texts` gives the vectors of strangers' questions, if there can be any."""
        self._folder = folder
        self._dim = dim
        self._texts = texts
        self._fitting = threading.Lock()
        self._now: Calibration | None = None

    def at(
        self,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        kinds: frozenset[Modality],
        manner: CalibrationOptions,
    ) -> Calibration:
        """Return what is fitted for queries of some kinds, at the view's moment."""
        counts = [f"{modality}:{len(index)}" for modality, index in indexes.items()]
        stamp = "|".join([FORM, f"{manner}", f"{snapshot.position()}", *counts])
        with self._fitting:
            if self._now is None or self._now.stamp != stamp:
                self._now = self._read(stamp, manner)
            if self._now is None or not kinds <= self._now.fitted.keys():
                self._now = self._fit(stamp, manner, snapshot, indexes, kinds)
                self._write(self._now)
            return self._now

    def _fit(
        self,
        stamp: str,
        manner: CalibrationOptions,
        snapshot: Snapshot,
        indexes: Mapping[Modality, Index],
        kinds: frozenset[Modality],
    ) -> Calibration:
        samples = {modality: _sample(modality, index, snapshot, SAMPLE) for modality, index in indexes.items()}
        samples = {modality: sample for modality, sample in samples.items() if len(sample.vectors)}
        fitted = dict(self._now.fitted) if self._now is not None else {}
        whitening = _whitening(samples.values()) if manner.centring else None
        for kind in sorted(kinds - fitted.keys()):
            strangers = self._strangers(kind, snapshot, indexes, whitening=whitening)
            odds = {modality: NullDistribution.of(strangers, sample, manner) for modality, sample in samples.items()}
            deviations = strangers.deviations[: None if manner.hubness else 0]
            fitted[kind] = QueryKindCalibration(strangers.mean, odds, deviations, strangers.whitener)
        middles = {modality: sample.mean for modality, sample in samples.items()}
        return Calibration(
            stamp, manner, middles, {modality: sample.each for modality, sample in samples.items()}, fitted
        )

    def _strangers(
        self, kind: Modality, snapshot: Snapshot, indexes: Mapping[Modality, Index], *, whitening: Whitening | None
    ) -> BackgroundQueries:
        """Return strangers of a kind: words, or vectors of the library itself; borrowed ones where it has too few.

        Only words are whitened: they come in known forms, and those who borrow know too little of what they vary in.
        """
        texts = self._texts()
        if kind == Modality.TEXT and len(texts):
            return BackgroundQueries(texts, whitening=whitening)
        own = _sample(kind, indexes[kind], snapshot, STRANGERS) if kind in indexes else None
        if own is not None and len(own.vectors) >= ENOUGH:
            return BackgroundQueries(own.vectors, own.owners)
        lent = texts if len(texts) else _directions(self._dim)
        if own is None or not len(own.vectors):
            return BackgroundQueries(lent, borrowed=True)
        return BackgroundQueries(lent - lent.mean(axis=0) + own.mean, borrowed=True)

    def _read(self, stamp: str, manner: CalibrationOptions) -> Calibration | None:
        """Read what was fitted for the same content; None if there is nothing that can be used."""
        with suppress(*UNREADABLE), (self._folder / FILE).open("rb") as file, np.load(file) as kept:
            if str(kept["stamp"]) == stamp:
                return _unpacked(stamp, manner, {name: kept[name] for name in kept.files})
        return None

    def _write(self, moment: Calibration) -> None:
        """Keep what was fitted, if the folder can be written to; it can be fitted again."""
        draft = self._folder / f"chances-{os.getpid()}.new"
        with suppress(OSError):
            with draft.open("wb") as out:
                np.savez(out, **_packed(moment))
            draft.replace(self._folder / FILE)


def _packed(moment: Calibration) -> dict[str, Any]:
    """Return arrays: kinds by modalities by what belongs to a pair."""
    kinds, modalities = list(moment.fitted), list(moment.middles)
    odds = [[moment.fitted[kind].odds[modality] for modality in modalities] for kind in kinds]
    return {
        "stamp": moment.stamp,
        "kinds": kinds,
        "modalities": modalities,
        "each": [moment.each[modality] for modality in modalities],
        "middles": [moment.middles[modality] for modality in modalities],
        "means": [moment.fitted[kind].mean for kind in kinds],
        **{f"deviations-{kind}": moment.fitted[kind].deviations for kind in kinds},
        **{f"whitener-{kind}": whitener for kind in kinds if (whitener := moment.fitted[kind].whitener) is not None},
        "pairs": [[[each.offset, each.slack, each.typical] for each in row] for row in odds],
        "levels": [[each.levels for each in row] for row in odds],
        "expected": [[each.expected for each in row] for row in odds],
    }


def _unpacked(stamp: str, manner: CalibrationOptions, kept: Mapping[str, NDArray[Any]]) -> Calibration:
    """Read what `_packed` gave. Raises `KeyError`, `ValueError`."""
    kinds, modalities = ([Modality(str(name)) for name in kept[key]] for key in ("kinds", "modalities"))
    fitted = {
        kind: QueryKindCalibration(
            kept["means"][row],
            {
                modality: NullDistribution(
                    kept["levels"][row, place], kept["expected"][row, place], *kept["pairs"][row, place]
                )
                for place, modality in enumerate(modalities)
            },
            kept[f"deviations-{kind}"],
            kept.get(f"whitener-{kind}"),
        )
        for row, kind in enumerate(kinds)
    }
    middles = dict(zip(modalities, kept["middles"], strict=True))
    return Calibration(stamp, manner, middles, dict(zip(modalities, kept["each"].tolist(), strict=True)), fitted)


def _scaled(weights: Floats, means: Vectors) -> Floats:
    """Scale weights so that strangers of these kinds would add up to a unit vector, on average."""
    own = weights**2 @ (1 - np.einsum("ij,ij->i", means, means))
    scaled: Floats = weights / math.sqrt(float(((weights @ means) ** 2).sum() + own))
    return scaled


def _sample(modality: Modality, index: Index, snapshot: Snapshot, most: int) -> Sample:
    """Pick vectors evenly over the ids of an index, with the items that they are part of."""
    ids = index.ids()
    chosen = ids[np.linspace(0, len(ids) - 1, most).astype(np.int64)] if len(ids) > most else ids
    owners = [snapshot.owner_of(segment) for segment in chosen.tolist()]
    known = [place for place, owner in enumerate(owners) if owner is not None]
    told = np.array([owners[place] for place in known], dtype=np.int64)
    shares = [1 / max(1, _segments(modality, snapshot.facts(owner))) for owner in told.tolist()]
    return Sample(index.vectors(chosen[known]), told, 1 / float(np.mean(shares)) if shares else 1.0)


def _segments(modality: Modality, facts: Mapping[str, Any] | None) -> int:
    """Count the segments of one modality that an item has, from its facts."""
    return sum(count for _, kind, count in (facts or {"runs": []})["runs"] if kind == modality)


def _whitening(samples: Iterable[Sample]) -> Whitening:
    """Say how words are whitened, by what there is of each modality of which there is enough."""
    enough = [sample.vectors for sample in samples if len(sample.vectors) >= ENOUGH]
    return Whitening(np.array(forms()), np.array(things()), scatter_of_all(enough))


def _directions(dim: int) -> Vectors:
    """Return random directions, always the same ones: strangers in a space without words."""
    rows = np.random.default_rng(1).standard_normal((STRANGERS, dim), dtype=np.float32)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
