"""What answers are worth, where the truth is known, and how they move with the words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.metrics import interval
from bindsearch.evaluation.tasks import Confusion
from bindsearch.types import Modality
from bindsearch.zeroshot.classifier import Classifier
from bindsearch.zeroshot.examples import Floats
from bindsearch.zeroshot.media_vectors import MediaVectors
from bindsearch.zeroshot.prompts import blended

Places = NDArray[np.int64]


@dataclass(frozen=True)
class AccuracyReport:
    """How many answers were right, with an interval, for each label, and what was taken for what."""

    accuracy: float
    low: float
    high: float
    """The bootstrap's 95 % interval; files of one group are drawn together."""
    files: int
    k: int
    among: float
    """The share of files whose label is among the best `k`."""
    confusion: Confusion

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        told = self.confusion.per_class()
        return {
            "accuracy": round(self.accuracy, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "files": self.files,
            f"top_{self.k}": round(self.among, 6),
            "classes": {name: {"accuracy": round(share, 6), "files": count} for name, (share, count) in told.items()},
            "labels": list(self.confusion.labels),
            "confusion": self.confusion.counts.tolist(),
        }


def verdict(
    answers: Sequence[str], probabilities: Floats, truth: Sequence[str], *, groups: Sequence[str] = (), k: int = 3
) -> AccuracyReport:
    """Compare answers with the truth. Every truth must be an answer that can be given. *Shape:* (files, answers)"""
    place = {answer: number for number, answer in enumerate(answers)}
    codes = np.array([place[label] for label in truth], dtype=np.int64)
    order = np.argsort(-probabilities, axis=1, kind="stable")
    right = (order[:, 0] == codes).astype(np.float64)
    counts = np.zeros((len(answers), len(answers)), dtype=np.int64)
    np.add.at(counts, (codes, order[:, 0]), 1)
    low, high = interval(right, group_codes(groups, len(truth)))
    among = (order[:, :k] == codes[:, None]).any(axis=1)
    files = Confusion(f"{len(truth):,} files", tuple(answers), counts)
    return AccuracyReport(float(right.mean()), low, high, len(truth), k, float(among.mean()), files)


def group_codes(groups: Sequence[str], count: int) -> NDArray[np.intp]:
    """Return each file the number of its group; one that names none is its own."""
    named = [group or f"\0{number}" for number, group in enumerate(groups or [""] * count)]
    return np.unique(np.asarray(named), return_inverse=True)[1].astype(np.intp)


@dataclass(frozen=True)
class Sensitivity:
    """How the answers to files of one modality move when each template speaks alone."""

    modality: Modality
    templates: tuple[str, ...]
    answers: Places
    """The answer under each template alone. *Shape:* (templates, files)"""
    together: Places
    """The answer under all of them. *Shape:* (files,)"""
    probabilities: Floats
    """Under each template alone, that of the answer under all. *Shape:* (templates, files)"""
    truth: Places | None = None

    @property
    def agreement(self) -> Floats:
        """For each file, the share of templates that answer as all together do."""
        shares: Floats = (self.answers == self.together).mean(axis=0)
        return shares

    @property
    def steady(self) -> float:
        """The share of files to which every template gives the same answer."""
        return float((self.answers == self.answers[0]).all(axis=0).mean())

    def accuracy(self) -> list[float]:
        """Return how often each template alone is right. Needs the truth."""
        assert self.truth is not None
        return [float(share) for share in (self.answers == self.truth).mean(axis=1)]

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        told: dict[str, Any] = {
            "modality": str(self.modality),
            "files": len(self.together),
            "steady": round(self.steady, 6),
            "templates": {
                template: {"agrees": round(float(share), 6)}
                for template, share in zip(self.templates, (self.answers == self.together).mean(axis=1), strict=True)
            },
        }
        if self.truth is not None:
            for template, share in zip(self.templates, self.accuracy(), strict=True):
                told["templates"][template]["accuracy"] = round(share, 6)
        return told


def sensitivity(
    classifier: Classifier, many: Sequence[MediaVectors], modality: Modality, *, truth: Sequence[str] | None = None
) -> Sensitivity:
    """Ask each template of a modality alone about files that have it; of films, what else there is stays the same."""
    rows = classifier.prompts.rows(modality)
    templates = classifier.prompts.templates[modality]
    own = classifier.prompts.vectors
    together = classifier.probabilities(many).argmax(axis=1)
    answers, probabilities = [], []
    for alone in np.eye(len(templates)):
        changed = blended(rows, alone)
        shares = classifier.shares(
            classifier.logits(many, words=lambda kind, changed=changed: changed if kind == modality else own(kind))  # type: ignore[misc]
        )
        answers.append(shares.argmax(axis=1))
        probabilities.append(shares[np.arange(len(many)), together])
    place = {answer: number for number, answer in enumerate(classifier.answers)}
    codes = None if truth is None else np.array([place[label] for label in truth], dtype=np.int64)
    return Sensitivity(modality, templates, np.stack(answers), together, np.stack(probabilities), codes)
