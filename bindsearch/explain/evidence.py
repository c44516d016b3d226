"""Collect everything that the drawing of a hit shows: the scores of its file, and typical scores to compare with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bindsearch.core.file_state import is_gone, stamp_of
from bindsearch.errors import BadQuery, UnreadableMedia
from bindsearch.explain.picture import Evidence, TypicalScores
from bindsearch.ports import Index
from bindsearch.results import Hit
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

SAMPLE_SIZE = 512
"""Vectors of each index that typical scores are measured on."""
MIN_SPREAD = 0.03
"""Lower limit of the spread of typical scores, as cosines: small libraries underestimate it."""


def evidence_of(
    hit: Hit, snapshot: Snapshot, indexes: Mapping[Modality, Index], *, typical_queries: Vectors
) -> Evidence:
    """Collect the evidence for a hit. Raises `BadQuery`, `MediaError`."""
    vector = None if hit.why is None else hit.why.vector
    if vector is None:
        raise BadQuery("this hit has no explanation: search with why=True")
    record = snapshot.path(hit.path)
    firsts = [run.first for run in snapshot.runs_of(hit.item)]
    segments = [segment for first in firsts for segment in snapshot.run(first)]
    if record is None or hit.segment.id not in [segment.id for segment in segments]:
        raise BadQuery(f"{hit.path} is no longer in the library as it was found: search again")
    if is_gone(hit.path):
        raise UnreadableMedia(f"{hit.path}: does not exist any more")
    if stamp_of(hit.path) != record.stamp:
        raise UnreadableMedia(f"{hit.path}: changed since it was indexed: `bindsearch index` updates it")
    rows = np.concatenate([snapshot.vectors(first) for first in firsts])
    if rows.shape[1] != len(vector):
        raise BadQuery("the library has changed to another space: search again")
    typical = {modality: _typical_scores(index.sample(SAMPLE_SIZE), vector) for modality, index in indexes.items()}
    scores = (rows @ vector).tolist()
    return Evidence(hit.path, hit.modality, hit.segment, segments, scores, vector, typical_queries, typical)


def _typical_scores(sample: Vectors, vector: Vectors) -> TypicalScores:
    scores = sample @ vector
    return TypicalScores(float(np.median(scores)), max(MIN_SPREAD, float(scores.std())))
