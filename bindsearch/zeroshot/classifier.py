"""A zero-shot classifier: labels and prompt templates, compared with media in a shared space."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Scores, SpaceSpec, Vectors
from bindsearch.zeroshot.examples import ExampleCache, Floats, blend, example_kind, fit_examples, log_softmax
from bindsearch.zeroshot.label_sets import BACKGROUND, background_for, chosen_labels
from bindsearch.zeroshot.media_vectors import MediaVectors, embed_media
from bindsearch.zeroshot.prompts import Prompts, Templates, checked_templates

NONE = "none of these"
"""The answer where a background label fits better than all labels."""
PRIOR_EXPONENT = 0.75
"""The prior of "none of these", relative to one label, is the number of labels to this power. At 1 it equals that of
all labels together, and the best of many labels would hardly ever win; at 0 it equals that of one label, and nothing
is refused."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label with its probability among all answers, and its cosine."""

    label: str
    probability: float
    score: float


@dataclass(frozen=True, eq=False)
class Example:
    """The vectors of a labelled file."""

    media: MediaVectors
    label: str
    group: str = ""
    """Files of one group, such as clips of one recording, are not independent evidence."""


class Classifier:
    """Finds which of some labels fits a file best, by the space alone. Made by `Library.classifier` or from a space.

    A label's vector is the mean over prompt templates ("the sound of {}"). With `none`, "none of these" is an answer
    too: the labels compete with a background, the built-in list or the labels given. Its prior equals that of one
    label where there is one, and that of eight where there are sixteen.
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
            raise BadQuery(f"{NONE!r} cannot be a label; pass none=True, or `--none`")
        self.background = _background(self.labels, none)
        self.prompts = Prompts(space, (*self.labels, *self.background), checked_templates(templates))
        self.temperature = space.spec.temperature
        """Divides cosines before the softmax."""
        self.prior_exponent = PRIOR_EXPONENT
        """The prior of "none of these": the number of labels to this power."""
        self.centre: Mapping[Modality, Vectors] = {}
        """By modality, the vector subtracted from media vectors before they are compared, if tuning chose one."""
        self.example_caches: Mapping[Modality, ExampleCache] = {}

    @property
    def spec(self) -> SpaceSpec:
        """The space of the classifier."""
        return self._space.spec

    @property
    def answers(self) -> tuple[str, ...]:
        """The labels, and "none of these" if there is a background."""
        return (*self.labels, NONE) if self.background else self.labels

    def predict(self, thing: str | os.PathLike[str] | Piece | MediaVectors) -> list[Prediction]:
        """Rank the labels for a file or a decoded piece, best first. Raises `MediaError`."""
        media = self.embed(thing)
        return self.ranked(self.probabilities([media])[0], self.scores([media])[0])

    def classify(self, thing: str | os.PathLike[str] | Piece | MediaVectors, *, k: int = 3) -> list[Prediction]:
        """Return the best `k` labels for a file. Raises `MediaError`."""
        return self.predict(thing)[:k]

    def embed(self, thing: str | os.PathLike[str] | Piece | MediaVectors) -> MediaVectors:
        """Embed a file, so that several calls can share its vectors. Raises `MediaError`."""
        return thing if isinstance(thing, MediaVectors) else embed_media(self._space, thing)

    def ranked(self, probabilities: Floats, scores: Floats) -> list[Prediction]:
        """Sort the answers for one file by probability, given its rows of `probabilities` and `scores`."""
        order = np.argsort(-probabilities, kind="stable").tolist()
        return [Prediction(self.answers[place], float(probabilities[place]), float(scores[place])) for place in order]

    def scores(self, many: Sequence[MediaVectors]) -> Floats:
        """Return the cosine of each answer; for "none of these", the best of the background.

        *Shape:* (files, answers)
        """
        return self._fold_background(self._cosines(many, self.prompts.vectors), lambda rest: rest.max(axis=1))

    def probabilities(self, many: Sequence[MediaVectors]) -> Floats:
        """Return the probability of each answer; rows add up to 1. *Shape:* (files, answers)"""
        return self.normalise(self.logits(many))

    def logits(
        self, many: Sequence[MediaVectors], *, label_vectors: Callable[[Modality], Vectors] | None = None
    ) -> Floats:
        """Return the logits of the labels, then of the background labels.

        `label_vectors` replaces the vectors of labels, by modality. *Shape:* (files, labels and background)
        """
        cosines = self._cosines(many, label_vectors or self.prompts.vectors, centred=True)
        logits = cosines.astype(np.float64) / self.temperature
        if self.example_caches:
            self._blend_examples(many, logits)
        return logits

    def normalise(self, logits: Floats) -> Floats:
        """Turn logits into probabilities of the answers. *Shape:* (files, answers)"""
        prior = self.prior_exponent * np.log(len(self.labels)) - np.log(max(1, len(self.background)))
        folded = self._fold_background(logits, lambda rest: _log_sum_exp(rest) + prior)
        probabilities: Floats = np.exp(log_softmax(folded))
        return probabilities

    def with_examples(self, examples: Sequence[Example]) -> Self:
        """Return a classifier that also weighs labelled examples, any number per label.

        Raises `BadQuery` for an example of another label.
        """
        unknown = sorted({example.label for example in examples} - set(self.labels))
        if unknown or not examples:
            raise BadQuery(
                f"there are examples of {unknown[0]!r}, which is not a label" if unknown else "there are no examples"
            )
        kinds = {example_kind(modality) for example in examples for modality in example.media.vectors}
        made = copy.copy(self)
        made.example_caches = {}
        made.example_caches = {kind: made._fit(kind, examples) for kind in sorted(kinds)}
        return made

    def tuned(self, prompts: Prompts, *, centre: Mapping[Modality, Vectors], temperature: float) -> Self:
        """Return a classifier with other prompts, centre and temperature."""
        made = copy.copy(self)
        made.prompts, made.centre, made.temperature = prompts, centre, temperature
        return made

    def _cosines(
        self, many: Sequence[MediaVectors], label_vectors: Callable[[Modality], Vectors], *, centred: bool = False
    ) -> Scores:
        """Return cosines, the mean over the modalities of a file. *Shape:* (files, labels and background)"""
        total = np.zeros((len(many), len(self.prompts.labels)), dtype=np.float32)
        for modality in {modality for media in many for modality in media.vectors}:
            places = [place for place, media in enumerate(many) if modality in media.vectors]
            rows = np.stack([many[place].vectors[modality] for place in places])
            if centred and modality in self.centre:
                rows = rows - self.centre[modality]
            total[places] += rows @ label_vectors(modality).T
        counts = np.array([len(media.vectors) for media in many], dtype=np.float32)
        means: Scores = total / counts[:, None]
        return means

    def _fold_background(self, values: Floats | Scores, fold: Callable[[Floats], Floats]) -> Floats:
        """Replace the columns of the background by one."""
        count = len(self.labels)
        wide: Floats = np.asarray(values, dtype=np.float64)
        return np.column_stack([wide[:, :count], fold(wide[:, count:])]) if self.background else wide

    def _blend_examples(self, many: Sequence[MediaVectors], logits: Floats) -> None:
        """Blend the evidence of examples into the logits, in place, for files of a kind that has examples."""
        for place, media in enumerate(many):
            caches = [
                (cache, row)
                for modality, row in media.vectors.items()
                if (cache := self.example_caches.get(example_kind(modality))) is not None
            ]
            if caches:
                blended = [
                    blend(logits[place], cache.evidence(row[None, :], logits.shape[1])[0], cache.share)
                    for cache, row in caches
                ]
                logits[place] = np.mean(blended, axis=0)

    def _fit(self, kind: Modality, examples: Sequence[Example]) -> ExampleCache:
        """Fit a cache to the examples that have vectors of a kind."""
        rows, codes, groups, parts = [], [], [], []
        for number, example in enumerate(examples):
            for modality, row in example.media.vectors.items():
                if example_kind(modality) == kind:
                    rows.append(row)
                    parts.append(MediaVectors({modality: row}))
                    codes.append(self.labels.index(example.label))
                    groups.append(example.group or str(number))
        logits = self.logits(parts)[:, : len(self.labels)]
        return fit_examples(np.stack(rows), codes, groups, logits=logits, temperature=self.temperature)


def _background(labels: Sequence[str], none: bool | Iterable[str]) -> tuple[str, ...]:
    if none is False:
        return ()
    found = background_for(labels, BACKGROUND if none is True else none)
    if not found:
        raise BadQuery("the background has no label left that differs from the labels; name other background labels")
    return found


def _log_sum_exp(rows: Floats) -> Floats:
    top = rows.max(axis=1)
    sums: Floats = top + np.log(np.exp(rows - top[:, None]).sum(axis=1))
    return sums
