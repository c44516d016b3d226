"""How well text and sound meet beside the pairs that were trained, on the concepts that have pictures and sounds.

All pairs are asked the same question with the same measures: one side's vectors find the other side's of the same
concept. The control shuffles the concepts: the sounds (or texts) of concept a are taken for those of concept p(a), p a
seeded permutation, and everything else stays as it is. Every concept counts the same, however many files it has: then
the control's expectation is chance for P@10, whatever the space does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bindsearch.evaluation.dataset import Example, Truth
from bindsearch.evaluation.embedding import Embedded, labels
from bindsearch.evaluation.retrieval_task import Codes, RetrievalTask, Score, answer
from bindsearch.evaluation.tasks import recordings
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors

FEWEST = 2
"""Concepts that have both pictures and sounds."""
METRICS = ("P@10", "mAP")
COMPARED = "mAP"


@dataclass(frozen=True, slots=True)
class Emergence:
    """The three pairs on the same concepts."""

    concepts: tuple[str, ...]
    scores: tuple[Score, ...]

    def compared(self) -> dict[str, float]:
        """By pair, how far above chance its mAP is: 0 is chance and 1 is perfect."""
        return {score.task: score.above_chance for score in self.scores if score.metric == COMPARED}

    @property
    def share(self) -> float:
        """What text to sound reaches of what the weaker of the two trained pairs reaches, both above chance.

        NaN where a trained pair is itself not surely above chance: there is nothing to compare with.
        """
        told = {score.task: score for score in self.scores if score.metric == COMPARED}
        between = max((told["sound→image"], told["image→sound"]), key=lambda score: score.above_chance)
        trained = (told["text→image"], between)
        if any(score.low <= score.chance for score in trained):
            return float("nan")
        return told["text→sound"].above_chance / min(score.above_chance for score in trained)


@dataclass(frozen=True, slots=True)
class _Side:
    rows: Vectors
    codes: Codes
    groups: Codes


def emergence(sets: Sequence[Embedded], space: Space, *, seed: int) -> Emergence | None:
    """Measure all pairs on the concepts that pictures and sounds share; None where they share too few."""
    sounds, pictures = (_called(sets, modality) for modality in (Modality.AUDIO, Modality.IMAGE))
    shared = sorted({name for name, _, _ in sounds} & {name for name, _, _ in pictures})
    if len(shared) < FEWEST:
        return None
    heard, seen = _side(sounds, shared), _side(pictures, shared)
    every = np.arange(len(shared))
    told_heard = _Side(labels(shared, space, modality=Modality.AUDIO), every, every)
    told_seen = _Side(labels(shared, space, modality=Modality.IMAGE), every, every)
    pairs = {
        "text→sound": (told_heard, heard),
        "text→image": (told_seen, seen),
        "sound→image": (heard, seen),
        "image→sound": (seen, heard),
    }
    scores: list[Score] = []
    for name, (one, other) in pairs.items():
        question = RetrievalTask(one.rows, one.codes, other.rows, other.codes, one.groups, by_concept=True)
        scores += answer(question, METRICS, data="shared concepts", task=name, seed=seed)
    return Emergence(tuple(shared), tuple(scores))


def _called(sets: Sequence[Embedded], modality: Modality) -> list[tuple[str, Example, Vectors]]:
    """Return what has one name, of one modality, over all sets."""
    return [
        (example.words[0].lower(), example, row)
        for each in sets
        if each.dataset.modality == modality and each.dataset.truth != Truth.CAPTIONS
        for example, row in zip(each.dataset.examples, each.rows, strict=True)
        if len(example.words) == 1
    ]


def _side(called: Sequence[tuple[str, Example, Vectors]], shared: Sequence[str]) -> _Side:
    kept = [each for each in called if each[0] in set(shared)]
    codes = np.searchsorted(shared, [name for name, _, _ in kept]).astype(np.intp)
    return _Side(np.stack([row for _, _, row in kept]), codes, recordings(example for _, example, _ in kept))
