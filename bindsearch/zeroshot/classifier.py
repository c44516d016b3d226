"""Labels and prompt templates -> a classifier that was never trained on them."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Scores, SpaceSpec, Vectors
from bindsearch.zeroshot.examples import ExampleCache, Floats, blend, kind_of, log_shares, remembered
from bindsearch.zeroshot.label_sets import BACKGROUND, background_for, chosen_labels
from bindsearch.zeroshot.media_vectors import MediaVectors, look_at
from bindsearch.zeroshot.prompts import Prompts, Templates, checked_templates

NONE = "none of these"
"""The answer where something else in the world fits better than the labels."""
CROWDING = 0.75
"""All else is as probable beforehand as this power of the number of labels. At 1 it were as probable as all of them
together, and the best of many labels would hardly ever be the answer; at 0, as one of them, and nothing be refused."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label, how probable it is among the labels, and its cosine."""

    label: str
    probability: float
    score: float


@dataclass(frozen=True, eq=False)
class Taught:
    """A file whose label is known."""

    seen: MediaVectors
    label: str
    group: str = ""
    """Files of one group, such as clips of one recording, are no independent evidence."""


class Classifier:
    """Tells which of some labels fits a file best, by the space alone.

    A label's vector is the mean over templates ("the sound of {}"). Made by `Library.classifier` or from a space.
    With `none`, "none of these" is an answer: all else that there is, for which a built-in list of labels stands, or
    the one that is given. It is as probable beforehand as one label alone, and as eight of sixteen.
    """

    def __init__(
        self,
        space: Space,
        labels: Iterable[str],
        *,
        templates: Templates | None = None,
        none: bool | Iterable[str] = False,
    ) -> None:
        self._space = space
        self.labels = chosen_labels(labels)
        if not self.labels:
            raise BadQuery("a classifier needs at least one label")
        if NONE in self.labels:
            raise BadQuery(f"{NONE!r} is no label of its own: ask for it with none=True, or `--none`")
        self.background = _background(self.labels, none)
        self.prompts = Prompts(space, (*self.labels, *self.background), checked_templates(templates))
        self.temperature = space.spec.temperature
        """Divides cosines before the softmax."""
        self.crowding = CROWDING
        """How probable "none of these" is beforehand: as this power of the number of labels."""
        self.centre: Mapping[Modality, Vectors] = {}
        """What is taken off the vectors of each modality before they are compared, where it was tuned so."""
        self.memories: Mapping[Modality, ExampleCache] = {}

    @property
    def spec(self) -> SpaceSpec:
        """The space that it works in."""
        return self._space.spec

    @property
    def answers(self) -> tuple[str, ...]:
        """All that it may answer: the labels, and "none of these" if that is asked for."""
        return (*self.labels, NONE) if self.background else self.labels

    # -- files in, labels out

    def predict(self, thing: str | os.PathLike[str] | Piece | MediaVectors) -> list[Prediction]:
        """Rank the labels for a file or a decoded piece, best first. Raises `MediaError`."""
        seen = self.look_at(thing)
        return self.ranked(self.probabilities([seen])[0], self.scores([seen])[0])

    def classify(self, thing: str | os.PathLike[str] | Piece | MediaVectors, *, k: int = 3) -> list[Prediction]:
        """Return the best `k` labels for a file. Raises `MediaError`."""
        return self.predict(thing)[:k]

    def look_at(self, thing: str | os.PathLike[str] | Piece | MediaVectors) -> MediaVectors:
        """Embed a file once, for whatever is asked of it. Raises `MediaError`."""
        return thing if isinstance(thing, MediaVectors) else look_at(self._space, thing)

    def ranked(self, probabilities: Floats, scores: Floats) -> list[Prediction]:
        """Order what `probabilities` and `scores` say of one file."""
        order = np.argsort(-probabilities, kind="stable").tolist()
        return [Prediction(self.answers[place], float(probabilities[place]), float(scores[place])) for place in order]

    def scores(self, many: Sequence[MediaVectors]) -> Floats:
        """Return the cosine of each answer; of "none of these", the best of the background. *Shape:* (files,
        answers)
        """
        return self._folded(self._cosines(many, self.prompts.vectors), lambda rest: rest.max(axis=1))

    def probabilities(self, many: Sequence[MediaVectors]) -> Floats:
        """Return how probable each answer is. Each row adds up to 1. *Shape:* (files, answers)"""
        return self.shares(self.logits(many))

    def logits(self, many: Sequence[MediaVectors], *, words: Callable[[Modality], Vectors] | None = None) -> Floats:
        """Return what the softmax is over, labels first, then the background.

        `words` gives other vectors for the labels. *Shape:* (files, labels and background)
        """
        logits = self._cosines(many, words or self.prompts.vectors, centred=True).astype(np.float64) / self.temperature
        if self.memories:
            self._remind(many, logits)
        return logits

    def shares(self, logits: Floats) -> Floats:
        """Turn logits into probabilities of the answers. *Shape:* (files, answers)"""
        prior = self.crowding * np.log(len(self.labels)) - np.log(max(1, len(self.background)))
        folded = self._folded(logits, lambda rest: _log_sum(rest) + prior)
        shares: Floats = np.exp(log_shares(folded))
        return shares

    # -- more than words

    def with_examples(self, examples: Sequence[Taught]) -> Self:
        """Return a classifier that also knows examples of its labels, as many or few as there are.

        Raises `BadQuery` for an example with another label.
        """
        strange = sorted({example.label for example in examples} - set(self.labels))
        if strange or not examples:
            raise BadQuery(f"examples of {strange[0]!r}, which is no label" if strange else "there are no examples")
        kinds = {kind_of(modality) for example in examples for modality in example.seen.vectors}
        made = copy.copy(self)
        made.memories = {}
        made.memories = {kind: made._memory(kind, examples) for kind in sorted(kinds)}
        return made

    def tuned(self, prompts: Prompts, *, centre: Mapping[Modality, Vectors], temperature: float) -> Self:
        """Return a classifier with other sentences, another centre and another temperature."""
        made = copy.copy(self)
        made.prompts, made.centre, made.temperature = prompts, centre, temperature
        return made

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the classifier into a file. Raises `OSError`."""
        from bindsearch.zeroshot.saving import write

        write(self, Path(path))

    @classmethod
    def load(cls, path: str | os.PathLike[str], space: Space) -> Classifier:
        """Read what `save` wrote. Raises `SpaceMismatch` unless it was made in this space, `BadQuery`, `OSError`."""
        from bindsearch.zeroshot.saving import read

        return read(Path(path), space)

    # -- inside

    def _cosines(
        self, many: Sequence[MediaVectors], words: Callable[[Modality], Vectors], *, centred: bool = False
    ) -> Scores:
        """*Shape:* (files, labels and background); of what has several modalities, the mean."""
        total = np.zeros((len(many), len(self.prompts.labels)), dtype=np.float32)
        for modality in {modality for seen in many for modality in seen.vectors}:
            places = [place for place, seen in enumerate(many) if modality in seen.vectors]
            rows = np.stack([many[place].vectors[modality] for place in places])
            if centred and modality in self.centre:
                rows = rows - self.centre[modality]
            total[places] += rows @ words(modality).T
        counts = np.array([len(seen.vectors) for seen in many], dtype=np.float32)
        means: Scores = total / counts[:, None]
        return means

    def _folded(self, told: Floats | Scores, fold: Callable[[Floats], Floats]) -> Floats:
        """Let one column stand for the background."""
        count = len(self.labels)
        wide: Floats = np.asarray(told, dtype=np.float64)
        return np.column_stack([wide[:, :count], fold(wide[:, count:])]) if self.background else wide

    def _remind(self, many: Sequence[MediaVectors], logits: Floats) -> None:
        """Blend in what the examples say of each file of a kind that there are examples of."""
        for place, seen in enumerate(many):
            known = [
                (memory, row)
                for modality, row in seen.vectors.items()
                if (memory := self.memories.get(kind_of(modality))) is not None
            ]
            if known:
                heard = [
                    blend(logits[place], memory.evidence(row[None, :], logits.shape[1])[0], memory.share)
                    for memory, row in known
                ]
                logits[place] = np.mean(heard, axis=0)

    def _memory(self, kind: Modality, examples: Sequence[Taught]) -> ExampleCache:
        """Remember the examples that have something of a kind."""
        rows, codes, groups, parts = [], [], [], []
        for number, example in enumerate(examples):
            for modality, row in example.seen.vectors.items():
                if kind_of(modality) == kind:
                    rows.append(row)
                    parts.append(MediaVectors({modality: row}))
                    codes.append(self.labels.index(example.label))
                    groups.append(example.group or str(number))
        logits = self.logits(parts)[:, : len(self.labels)]
        return remembered(np.stack(rows), codes, groups, logits=logits, temperature=self.temperature)


def _background(labels: Sequence[str], none: bool | Iterable[str]) -> tuple[str, ...]:
    if none is False:
        return ()
    found = background_for(labels, BACKGROUND if none is True else none)
    if not found:
        raise BadQuery("the background has no label that is not also asked for: name others")
    return found


def _log_sum(rows: Floats) -> Floats:
    top = rows.max(axis=1)
    sums: Floats = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return sums
