"""Prompts tuned on files whose label is known: on one half, and judged on the other.

Few things are tuned, so that a few dozen files are enough: which templates speak (picked one after the other, as long
as the half is told better), whether the mean of the files is taken off their vectors, and the temperature. Groups of
files, such as clips of one recording, are never torn apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.evaluation.metrics import interval
from bindsearch.spaces.prompt_templates import CANDIDATES
from bindsearch.types import Ids, Modality, Vectors
from bindsearch.zeroshot.classifier import Classifier, Taught
from bindsearch.zeroshot.examples import Floats, surprisal
from bindsearch.zeroshot.prompts import blended
from bindsearch.zeroshot.scoring import group_codes

PICKS = 8
"""Templates are picked at most so often; one may be picked again."""
TEMPERATURES = tuple(float(value) for value in np.geomspace(0.005, 0.5, 41))
CENTRES = (0.0, 0.5, 1.0)
"""How much of the mean of the files may be taken off."""
LEAST_GAIN = 1e-3
"""Another template must make the half less surprising by this much."""


@dataclass(frozen=True)
class Tuning:
    """What tuning changed, and what it was worth on files that it did not see."""

    tuned_on: int
    judged_on: int
    before: float
    """The share of right answers on the other half, as it was."""
    after: float
    gain_low: float
    gain_high: float
    """The 95 % interval of the gain: both answers to a file are drawn together, and files of one group."""
    kept: bool
    """Whether the classifier is the tuned one; it stays as it was where nothing was gained."""
    templates: dict[str, dict[str, float]]
    """Modality -> template -> how much it counts."""
    centre: dict[str, float]
    """Modality -> how much of the mean of the files is taken off."""
    temperature: float

    @property
    def gain(self) -> float:
        """By how much more is right."""
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
class Choice:
    """What was chosen for one modality."""

    templates: tuple[str, ...]
    weights: Floats
    share: float
    centre: Vectors


def tune(classifier: Classifier, examples: Sequence[Taught]) -> tuple[Classifier, Tuning]:
    """Tune on one half, judge on the other. Raises `BadQuery` where a half would be empty."""
    if classifier.memories:
        raise BadQuery("a classifier that has examples already is not tuned: tune it first, then show it examples")
    own, other = halves(examples)
    if not own or not other:
        raise BadQuery("tuning takes at least two files of a label, from different recordings: one half is for judging")
    tuned, choices = tuned_on(classifier, own)
    before, after = (_right(each, other) for each in (classifier, tuned))
    groups = group_codes([example.group for example in other], len(other))
    low, high = interval(after - before, groups)
    kept = bool(after.mean() > before.mean())
    told = Tuning(
        tuned_on=len(own),
        judged_on=len(other),
        before=float(before.mean()),
        after=float(after.mean()),
        gain_low=low,
        gain_high=high,
        kept=kept,
        templates={str(modality): _weighed(choice) for modality, choice in choices.items()},
        centre={str(modality): choice.share for modality, choice in choices.items()},
        temperature=tuned.temperature,
    )
    return (tuned if kept else classifier), told


def tuned_on(classifier: Classifier, examples: Sequence[Taught]) -> tuple[Classifier, dict[Modality, Choice]]:
    """Tune on all of some files: each modality by itself, then the temperature of all."""
    codes = np.array([classifier.labels.index(example.label) for example in examples], dtype=np.int64)
    prompts, centre, choices = classifier.prompts, dict(classifier.centre), {}
    for modality in sorted({modality for example in examples for modality in example.seen.vectors}):
        places = [place for place, example in enumerate(examples) if modality in example.seen.vectors]
        rows = np.stack([examples[place].seen.vectors[modality] for place in places])
        choice = _chosen(classifier, modality, rows, codes[places])
        choices[modality] = choice
        prompts = prompts.changed(modality, choice.templates, choice.weights)
        centre[modality] = choice.centre
    tuned = classifier.tuned(prompts, centre=centre, temperature=1.0)
    cosines = tuned.logits([example.seen for example in examples])[:, : len(classifier.labels)]
    return classifier.tuned(prompts, centre=centre, temperature=best_temperature(cosines, codes)[1]), choices


def best_temperature(cosines: Floats, codes: Ids) -> tuple[float, float]:
    """Return the least surprise at the truth, and the temperature that gives it. *Shape:* (files, labels)"""
    return min((surprisal(cosines / temperature, codes), temperature) for temperature in TEMPERATURES)


def halves(examples: Sequence[Taught]) -> tuple[list[Taught], list[Taught]]:
    """Split examples by label and group, always in the same way: every second group of a label goes to the other."""
    groups: dict[tuple[str, str], list[Taught]] = {}
    for number, example in enumerate(examples):
        groups.setdefault((example.label, example.group or f"\0{number}"), []).append(example)
    parts: tuple[list[Taught], list[Taught]] = ([], [])
    seats: dict[str, int] = {}
    for label, group in sorted(groups, key=lambda key: hashlib.sha256("\0".join(key).encode()).digest()):
        seat = seats.setdefault(label, len(seats))  # labels with one group go to either half by turns
        parts[seat % 2].extend(groups[label, group])
        seats[label] += 1
    return parts


def _chosen(classifier: Classifier, modality: Modality, rows: Vectors, codes: Ids) -> Choice:
    """Choose templates and centre for one modality by what the labels are told best with."""
    count = len(classifier.labels)
    templates = tuple(dict.fromkeys((*classifier.prompts.templates[modality], *CANDIDATES[modality])))
    prompts = classifier.prompts.changed(modality, templates, np.full(len(templates), 1 / len(templates)))
    sentences = prompts.rows(modality)[:count]
    start = np.array([template in classifier.prompts.templates[modality] for template in templates], dtype=np.float64)
    start[start > 0] = classifier.prompts.weight(modality)
    mean = rows.mean(axis=0)
    tried = [(*_picked(sentences, rows - share * mean, codes, start=start), share) for share in CENTRES]
    _, weights, share = min(tried, key=lambda each: each[0])
    used = np.flatnonzero(weights)
    kept = tuple(templates[place] for place in used)
    return Choice(kept, weights[used], share, np.asarray(share * mean, dtype=np.float32))


def _picked(sentences: Vectors, rows: Vectors, codes: Ids, *, start: Floats) -> tuple[float, Floats]:
    """Pick templates one after the other, beginning with the best one or with those that there are."""

    def worth(weights: Floats) -> float:
        return best_temperature((rows @ blended(sentences, weights / weights.sum()).T).astype(np.float64), codes)[0]

    picks = np.zeros(len(start))
    best = np.inf
    for _ in range(PICKS):
        tried = [(worth(picks + one), number) for number, one in enumerate(np.eye(len(start)))]
        value, number = min(tried)
        if value > best - LEAST_GAIN:
            break
        best, picks[number] = value, picks[number] + 1
    usual = worth(start)
    return (best, picks / picks.sum()) if best < usual - LEAST_GAIN else (usual, start)


def _right(classifier: Classifier, examples: Sequence[Taught]) -> Floats:
    """Return for each file whether the best label, "none of these" left out, is the right one."""
    logits = classifier.logits([example.seen for example in examples])[:, : len(classifier.labels)]
    truth = [classifier.labels.index(example.label) for example in examples]
    right: Floats = (logits.argmax(axis=1) == truth).astype(np.float64)
    return right


def _weighed(choice: Choice) -> dict[str, float]:
    pairs = zip(choice.templates, choice.weights.tolist(), strict=True)
    return {template: round(weight, 6) for template, weight in pairs}
