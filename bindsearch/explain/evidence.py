"""From a hit to all that its picture is made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bindsearch.core.file_state import is_gone, stamp_of
from bindsearch.errors import BadQuery, UnreadableMedia
from bindsearch.explain.picture import Reason, Usual
from bindsearch.ports import Index
from bindsearch.results import Hit
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

SAMPLE = 512
"""Vectors of the library that say what is usual."""
LEAST_SPREAD = 0.03
"""Of what is usual, in cosines, where the library is too small to say."""


def evidence_of(hit: Hit, snapshot: Snapshot, indexes: Mapping[Modality, Index], *, typical_queries: Vectors) -> Reason:
    """Collect the scores of a hit's file. Raises `BadQuery`, `MediaError`."""
    vector = None if hit.why is None else hit.why.vector
    if vector is None:
        raise BadQuery("the reasons of this hit are not known: search with why=True")
    record = snapshot.path(hit.path)
    firsts = [run.first for run in snapshot.runs_of(hit.item)]
    segments = [segment for first in firsts for segment in snapshot.run(first)]
    if record is None or hit.segment.id not in [segment.id for segment in segments]:
        raise BadQuery(f"{hit.path} is not in the library as it was found: search again")
    if is_gone(hit.path):
        raise UnreadableMedia(f"{hit.path}: is not there any more")
    if stamp_of(hit.path) != record.stamp:
        raise UnreadableMedia(f"{hit.path}: changed since it was indexed: `bindsearch index` looks again")
    rows = np.concatenate([snapshot.vectors(first) for first in firsts])
    if rows.shape[1] != len(vector):
        raise BadQuery("the library has another space by now: search again")
    usual = {modality: _usual(index.sample(SAMPLE), vector) for modality, index in indexes.items()}
    scores = (rows @ vector).tolist()
    return Reason(hit.path, hit.modality, hit.segment, segments, scores, vector, typical_queries, usual)


def _usual(sample: Vectors, vector: Vectors) -> Usual:
    scores = sample @ vector
    return Usual(float(np.median(scores)), max(LEAST_SPREAD, float(scores.std())))
