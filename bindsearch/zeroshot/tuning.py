"""Tune prompts on one half of labelled files, and evaluate on the other.

Few things are tuned, so that a few dozen files suffice: which templates count (added greedily while the cross-entropy
falls), whether the mean of the files is subtracted from their vectors, and the temperature. Groups of files, such as
clips of one recording, stay in one half.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.evaluation.metrics import interval
from bindsearch.spaces.prompt_templates import CANDIDATE_TEMPLATES
from bindsearch.types import Ids, Modality, Vectors
from bindsearch.zeroshot.classifier import Classifier, Example
from bindsearch.zeroshot.examples import Floats, cross_entropy
from bindsearch.zeroshot.prompts import weighted_mean
from bindsearch.zeroshot.scoring import group_numbers

MAX_TEMPLATES = 8
"""Greedy steps; a template may be picked more than once."""
TEMPERATURES = tuple(float(value) for value in np.geomspace(0.005, 0.5, 41))
CENTRE_SHARES = (0.0, 0.5, 1.0)
"""Shares of the mean of the files that are tried as the centre."""
MIN_GAIN = 1e-3
"""A further template must lower the cross-entropy by at least this."""


@dataclass(frozen=True)
class Tuning:
    """What tuning changed, and its gain on the files that it did not use."""

    tuned_on: int
    judged_on: int
    before: float
    """Accuracy on the other half before tuning."""
    after: float
    gain_low: float
    gain_high: float
    """95 % interval of the gain, by a paired bootstrap over groups."""
    kept: bool
    """Whether the tuned classifier is used; without a gain, the classifier stays as it was."""
    templates: dict[str, dict[str, float]]
    """Modality -> template -> weight."""
    centre: dict[str, float]
    """Modality -> share of the mean that is subtracted."""
    temperature: float

    @property
    def gain(self) -> float:
        """Difference of the accuracies."""
        return self.after - self.before

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {
            "tuned_on": self.tuned_on,
            "judged_on": self.judged_on,
            "before": round(self.before, 6),
            "after": round(self.after, 6),
            "gain": round(self.gain, 6),
            "gain_low": round(self.gain_low, 6),
            "gain_high": round(self.gain_high, 6),
            "kept": self.kept,
            "templates": self.templates,
            "centre": self.centre,
            "temperature": self.temperature,
        }


@dataclass(frozen=True, eq=False)
class ModalityTuning:
    """What tuning chose for one modality."""

    templates: tuple[str, ...]
    weights: Floats
    share: float
    centre: Vectors


def tune(classifier: Classifier, examples: Sequence[Example]) -> tuple[Classifier, Tuning]:
    """Tune on one half and evaluate on the other. Raises `BadQuery` if a half would be empty."""
    if classifier.example_caches:
        raise BadQuery("a classifier with examples cannot be tuned: tune it first, then add examples")
    own, other = halves(examples)
    if not own or not other:
        raise BadQuery(
            "tuning needs at least two files of a label, from different recordings: one half is for evaluation"
        )
    tuned, choices = tune_on_all(classifier, own)
    before, after = (_correct(each, other) for each in (classifier, tuned))
    groups = group_numbers([example.group for example in other], len(other))
    low, high = interval(after - before, groups)
    kept = bool(after.mean() > before.mean())
    report = Tuning(
        tuned_on=len(own),
        judged_on=len(other),
        before=float(before.mean()),
        after=float(after.mean()),
        gain_low=low,
        gain_high=high,
        kept=kept,
        templates={str(modality): _rounded_weights(choice) for modality, choice in choices.items()},
        centre={str(modality): choice.share for modality, choice in choices.items()},
        temperature=tuned.temperature,
    )
    return (tuned if kept else classifier), report


def tune_on_all(
    classifier: Classifier, examples: Sequence[Example]
) -> tuple[Classifier, dict[Modality, ModalityTuning]]:
    """Tune on all of these files: each modality by itself, then one temperature."""
    codes = np.array([classifier.labels.index(example.label) for example in examples], dtype=np.int64)
    prompts, centre, choices = classifier.prompts, dict(classifier.centre), {}
    for modality in sorted({modality for example in examples for modality in example.media.vectors}):
        places = [place for place, example in enumerate(examples) if modality in example.media.vectors]
        rows = np.stack([examples[place].media.vectors[modality] for place in places])
        choice = _tune_modality(classifier, modality, rows, codes[places])
        choices[modality] = choice
        prompts = prompts.with_templates(modality, choice.templates, choice.weights)
        centre[modality] = choice.centre
    tuned = classifier.tuned(prompts, centre=centre, temperature=1.0)
    cosines = tuned.logits([example.media for example in examples])[:, : len(classifier.labels)]
    return classifier.tuned(prompts, centre=centre, temperature=best_temperature(cosines, codes)[1]), choices


def best_temperature(cosines: Floats, codes: Ids) -> tuple[float, float]:
    """Return the lowest cross-entropy and the temperature that gives it. *Shape:* (files, labels)"""
    return min((cross_entropy(cosines / temperature, codes), temperature) for temperature in TEMPERATURES)


def halves(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Split examples by label and group, deterministically: the groups of a label alternate between the halves."""
    groups: dict[tuple[str, str], list[Example]] = {}
    for number, example in enumerate(examples):
        groups.setdefault((example.label, example.group or f"\0{number}"), []).append(example)
    parts: tuple[list[Example], list[Example]] = ([], [])
    turns: dict[str, int] = {}
    for label, group in sorted(groups, key=lambda key: hashlib.sha256("\0".join(key).encode()).digest()):
        turn = turns.setdefault(label, len(turns))  # labels with one group alternate too
        parts[turn % 2].extend(groups[label, group])
        turns[label] += 1
    return parts


def _tune_modality(classifier: Classifier, modality: Modality, rows: Vectors, codes: Ids) -> ModalityTuning:
    """Choose the templates and the centre of one modality that minimise the cross-entropy."""
    count = len(classifier.labels)
    templates = tuple(dict.fromkeys((*classifier.prompts.templates[modality], *CANDIDATE_TEMPLATES[modality])))
    prompts = classifier.prompts.with_templates(modality, templates, np.full(len(templates), 1 / len(templates)))
    prompt_vectors = prompts.rows(modality)[:count]
    start = np.array([template in classifier.prompts.templates[modality] for template in templates], dtype=np.float64)
    start[start > 0] = classifier.prompts.weight(modality)
    mean = rows.mean(axis=0)
    candidates = [
        (*_pick_templates(prompt_vectors, rows - share * mean, codes, start=start), share) for share in CENTRE_SHARES
    ]
    _, weights, share = min(candidates, key=lambda each: each[0])
    used = np.flatnonzero(weights)
    kept = tuple(templates[place] for place in used)
    return ModalityTuning(kept, weights[used], share, np.asarray(share * mean, dtype=np.float32))


def _pick_templates(prompt_vectors: Vectors, rows: Vectors, codes: Ids, *, start: Floats) -> tuple[float, Floats]:
    """Pick templates greedily; return the loss and weights, those at the start if picking gains nothing."""

    def loss(weights: Floats) -> float:
        return best_temperature(
            (rows @ weighted_mean(prompt_vectors, weights / weights.sum()).T).astype(np.float64), codes
        )[0]

    picks = np.zeros(len(start))
    best = np.inf
    for _ in range(MAX_TEMPLATES):
        candidates = [(loss(picks + one), number) for number, one in enumerate(np.eye(len(start)))]
        value, number = min(candidates)
        if value > best - MIN_GAIN:
            break
        best, picks[number] = value, picks[number] + 1
    initial = loss(start)
    return (best, picks / picks.sum()) if best < initial - MIN_GAIN else (initial, start)


def _correct(classifier: Classifier, examples: Sequence[Example]) -> Floats:
    """Return 1 for each file whose best label, ignoring "none of these", is correct."""
    logits = classifier.logits([example.media for example in examples])[:, : len(classifier.labels)]
    truth = [classifier.labels.index(example.label) for example in examples]
    correct: Floats = (logits.argmax(axis=1) == truth).astype(np.float64)
    return correct


def _rounded_weights(choice: ModalityTuning) -> dict[str, float]:
    pairs = zip(choice.templates, choice.weights.tolist(), strict=True)
    return {template: round(weight, 6) for template, weight in pairs}
