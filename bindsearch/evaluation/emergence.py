"""Measures how well text and sound align, compared with the trained pairs, on concepts with both pictures and sounds.

All pairs of modalities get the same retrieval task with the same metrics: the vectors of one side find those of the
other side with the same concept. The control permutes the concepts: the sounds (or texts) of concept a count as those
of concept p(a), where p is a seeded permutation, and everything else stays as it is. Every concept has the same weight,
whatever its number of files, so that the expected P@10 of the control is chance, whatever the space does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindsearch.evaluation.dataset import Example, Truth
from bindsearch.evaluation.embedding import Embedded, embed_labels
from bindsearch.evaluation.retrieval_task import Codes, RetrievalTask, Score, score_task
from bindsearch.evaluation.tasks import recording_codes
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors

MIN_CONCEPTS = 2
"""Minimum number of concepts with both pictures and sounds."""
METRICS = ("P@10", "mAP")
COMPARED_METRIC = "mAP"


@dataclass(frozen=True, slots=True)
class Emergence:
    """The scores of all pairs of modalities on the same concepts."""

    concepts: tuple[str, ...]
    scores: tuple[Score, ...]

    def compared(self) -> dict[str, float]:
        """Return for each pair the position of its mAP between chance (0) and perfect (1)."""
        return {score.task: score.above_chance for score in self.scores if score.metric == COMPARED_METRIC}

    @property
    def share(self) -> float:
        """How far text to sound is above chance, as a share of how far the weaker of the two trained pairs is.

        NaN if a trained pair is not significantly above chance itself: there is nothing to compare with.
        """
        by_task = {score.task: score for score in self.scores if score.metric == COMPARED_METRIC}
        between = max((by_task["sound→image"], by_task["image→sound"]), key=lambda score: score.above_chance)
        trained = (by_task["text→image"], between)
        if any(score.low <= score.chance for score in trained):
            return float("nan")
        return by_task["text→sound"].above_chance / min(score.above_chance for score in trained)


@dataclass(frozen=True, slots=True)
class _Concepts:
    rows: Vectors
    codes: Codes
    groups: Codes


def emergence(sets: Sequence[Embedded], space: Space, *, seed: int) -> Emergence | None:
    """Measure all pairs on the concepts that pictures and sounds share; None if they share too few."""
    sounds, pictures = (_named(sets, modality) for modality in (Modality.AUDIO, Modality.IMAGE))
    shared = sorted({name for name, _, _ in sounds} & {name for name, _, _ in pictures})
    if len(shared) < MIN_CONCEPTS:
        return None
    sound_rows, image_rows = _side(sounds, shared), _side(pictures, shared)
    every = np.arange(len(shared))
    sound_texts = _Concepts(embed_labels(shared, space, modality=Modality.AUDIO), every, every)
    image_texts = _Concepts(embed_labels(shared, space, modality=Modality.IMAGE), every, every)
    pairs = {
        "text→sound": (sound_texts, sound_rows),
        "text→image": (image_texts, image_rows),
        "sound→image": (sound_rows, image_rows),
        "image→sound": (image_rows, sound_rows),
    }
    scores: list[Score] = []
    for name, (one, other) in pairs.items():
        retrieval = RetrievalTask(one.rows, one.codes, other.rows, other.codes, one.groups, by_concept=True)
        scores += score_task(retrieval, METRICS, data="shared concepts", task=name, seed=seed)
    return Emergence(tuple(shared), tuple(scores))


def _named(sets: Sequence[Embedded], modality: Modality) -> list[tuple[str, Example, Vectors]]:
    """Return name, example and vector of all examples of one modality with exactly one name."""
    return [
        (example.words[0].lower(), example, row)
        for each in sets
        if each.dataset.modality == modality and each.dataset.truth != Truth.CAPTIONS
        for example, row in zip(each.dataset.examples, each.rows, strict=True)
        if len(example.words) == 1
    ]


def _side(named: Sequence[tuple[str, Example, Vectors]], shared: Sequence[str]) -> _Concepts:
    kept = [each for each in named if each[0] in set(shared)]
    codes = np.searchsorted(shared, [name for name, _, _ in kept]).astype(np.intp)
    return _Concepts(np.stack([row for _, _, row in kept]), codes, recording_codes(example for _, example, _ in kept))
