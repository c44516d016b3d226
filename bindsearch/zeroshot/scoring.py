"""Accuracy of a classifier on labelled files, and its sensitivity to the prompt templates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.metrics import interval
from bindsearch.evaluation.tasks import Confusion
from bindsearch.types import Modality, Vectors
from bindsearch.zeroshot.classifier import Classifier
from bindsearch.zeroshot.examples import Floats
from bindsearch.zeroshot.media_vectors import MediaVectors
from bindsearch.zeroshot.prompts import weighted_mean

Codes = NDArray[np.int64]


@dataclass(frozen=True)
class AccuracyReport:
    """Accuracy with its interval, per label, and the confusion matrix."""

    accuracy: float
    low: float
    high: float
    """Bootstrap 95 % interval; files of one group are drawn together."""
    files: int
    k: int
    top_k: float
    """The share of files whose label is among the best `k` answers."""
    confusion: Confusion

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        classes = self.confusion.per_class()
        return {
            "accuracy": round(self.accuracy, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "files": self.files,
            f"top_{self.k}": round(self.top_k, 6),
            "classes": {
                name: {"accuracy": round(share, 6), "files": count} for name, (share, count) in classes.items()
            },
            "labels": list(self.confusion.labels),
            "confusion": self.confusion.counts.tolist(),
        }


def score_answers(
    answers: Sequence[str], probabilities: Floats, truth: Sequence[str], *, groups: Sequence[str] = (), k: int = 3
) -> AccuracyReport:
    """Compare answers with the truth, which must be among `answers`. *Shape of probabilities:* (files, answers)"""
    index = {answer: number for number, answer in enumerate(answers)}
    codes = np.array([index[label] for label in truth], dtype=np.int64)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    right = (order[:, 0] == codes).astype(np.float64)
    counts = np.zeros((len(answers), len(answers)), dtype=np.int64)
    np.add.at(counts, (codes, order[:, 0]), 1)
    low, high = interval(right, group_numbers(groups, len(truth)))
    top_k = (order[:, :k] == codes[:, None]).any(axis=1)
    files = Confusion(f"{len(truth):,} files", tuple(answers), counts)
    return AccuracyReport(float(right.mean()), low, high, len(truth), k, float(top_k.mean()), files)


def group_numbers(groups: Sequence[str], count: int) -> NDArray[np.intp]:
    """Return the number of each file's group; a file without a group is its own."""
    named = [group or f"\0{number}" for number, group in enumerate(groups or [""] * count)]
    return np.unique(np.asarray(named), return_inverse=True)[1].astype(np.intp)


@dataclass(frozen=True)
class Sensitivity:
    """How the answers to files of one modality change when each template is used alone."""

    modality: Modality
    templates: tuple[str, ...]
    answers: Codes
    """The answer with each template alone. *Shape:* (templates, files)"""
    combined: Codes
    """The answer with all templates. *Shape:* (files,)"""
    probabilities: Floats
    """With each template alone, the probability of the combined answer. *Shape:* (templates, files)"""
    truth: Codes | None = None

    @property
    def agreement(self) -> Floats:
        """For each file, the share of templates that agree with the combined answer."""
        shares: Floats = (self.answers == self.combined).mean(axis=0)
        return shares

    @property
    def unanimous(self) -> float:
        """The share of files to which all templates give the same answer."""
        return float((self.answers == self.answers[0]).all(axis=0).mean())

    def accuracy(self) -> list[float]:
        """Return the accuracy of each template alone. Needs the truth."""
        assert self.truth is not None
        return [float(share) for share in (self.answers == self.truth).mean(axis=1)]

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        result: dict[str, Any] = {
            "modality": str(self.modality),
            "files": len(self.combined),
            "unanimous": round(self.unanimous, 6),
            "templates": {
                template: {"agrees": round(float(share), 6)}
                for template, share in zip(self.templates, (self.answers == self.combined).mean(axis=1), strict=True)
            },
        }
        if self.truth is not None:
            for template, share in zip(self.templates, self.accuracy(), strict=True):
                result["templates"][template]["accuracy"] = round(share, 6)
        return result


def sensitivity(
    classifier: Classifier, many: Sequence[MediaVectors], modality: Modality, *, truth: Sequence[str] | None = None
) -> Sensitivity:
    """Classify files with each template of a modality alone; other modalities of a file keep all templates."""
    rows = classifier.prompts.rows(modality)
    templates = classifier.prompts.templates[modality]
    combined = classifier.probabilities(many).argmax(axis=1)
    answers, probabilities = [], []
    for alone in np.eye(len(templates)):
        label_vectors = _with_one_changed(classifier, modality, weighted_mean(rows, alone))
        single = classifier.normalise(classifier.logits(many, label_vectors=label_vectors))
        answers.append(single.argmax(axis=1))
        probabilities.append(single[np.arange(len(many)), combined])
    index = {answer: number for number, answer in enumerate(classifier.answers)}
    codes = None if truth is None else np.array([index[label] for label in truth], dtype=np.int64)
    return Sensitivity(modality, templates, np.stack(answers), combined, np.stack(probabilities), codes)


def _with_one_changed(classifier: Classifier, modality: Modality, changed: Vectors) -> Callable[[Modality], Vectors]:
    return lambda kind: changed if kind == modality else classifier.prompts.vectors(kind)
