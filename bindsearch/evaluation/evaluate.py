"""Evaluates a space on data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.core.progress import Progress
from bindsearch.errors import BadQuery
from bindsearch.evaluation.contamination import Overlap, find_overlap
from bindsearch.evaluation.dataset import Dataset, SplitPart
from bindsearch.evaluation.embedding import Embedded, embed
from bindsearch.evaluation.emergence import Emergence, emergence
from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.retrieval_task import Score
from bindsearch.evaluation.tasks import Confusion, measure
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.types import Modality

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What to measure, and how."""

    layout: str | None = None
    part: SplitPart = "all"
    limit: int | None = None
    """Maximum number of examples of each set, spread evenly over it."""
    seed: int = 0
    against: Path | None = None
    """A library, a folder or a tar file in which to find copies of the measured media."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one evaluation."""

    space: Space
    options: EvaluationOptions
    sets: tuple[Embedded, ...]
    scores: tuple[Score, ...]
    confusions: tuple[Confusion, ...]
    emergence: Emergence | None
    overlap: Overlap | None = None
    clean: tuple[Score, ...] = ()
    """The scores without the media that have copies."""
    notes: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> dict[str, str]:
        """Media that could not be read -> reason."""
        return {name: reason for each in self.sets for name, reason in each.failed.items()}

    def without_copies(self, score: Score) -> Score | None:
        """Return the same score without copies, if there is one."""
        same = (each for each in self.clean if (each.data, each.task, each.metric) == _key(score))
        return next(same, None)

    def as_json(self) -> list[dict[str, Any]]:
        """Return JSON records: first what was measured, then each score, then the rest."""
        spec, options = self.space.spec, self.options
        head: dict[str, Any] = {"kind": "evaluation", "space": spec.name, "fingerprint": spec.fingerprint}
        head |= {"part": options.part, "seed": options.seed, "notes": list(self.notes), "failed": self.failed}
        head["templates"] = {str(modality): list(TEMPLATES[modality]) for modality in (Modality.IMAGE, Modality.AUDIO)}
        head["sets"] = [_dataset_as_json(each.dataset) for each in self.sets]
        lines = [head, *({"kind": "score"} | self._score(score) for score in self.scores)]
        if self.emergence:
            met = self.emergence
            lines += [{"kind": "emergence"} | self._score(score) for score in met.scores]
            lines.append({"kind": "emerged", "concepts": list(met.concepts), "share": _json_number(met.share)})
        for confusion in self.confusions:
            lines.append({"kind": "classes", "data": confusion.data} | _confusion_as_json(confusion))
        if self.overlap:
            lines.append({"kind": "copies"} | self.overlap.as_json())
        return lines

    def _score(self, score: Score) -> dict[str, Any]:
        clean = self.without_copies(score)
        return score.as_json() | ({"without_copies": _json_number(clean.score)} if clean else {})


def evaluate(paths: Sequence[Path], space: Space, options: EvaluationOptions, *, on_progress: OnProgress) -> Evaluation:
    """Evaluate a space on all data sets at some paths.

    Raises `BadQuery` if nothing can be measured, `SpaceError`, and `OSError`.
    """
    notes: list[str] = []
    sets = _select_sets(read(paths, layout=options.layout), space, options, notes)
    counter = _Counter(sum(len(dataset.examples) for dataset in sets), on_progress)
    embedded = [embed(dataset, space, on_progress=counter) for dataset in sets]
    scores, confusions = _score_sets(embedded, space, options, notes)
    met = emergence(embedded, space, seed=options.seed)
    if met is None and {Modality.AUDIO, Modality.IMAGE} <= {each.dataset.modality for each in embedded}:
        notes.append("emergence is not measured: images and sounds share fewer than two concepts")
    if options.against is None:
        return Evaluation(space, options, tuple(embedded), scores, confusions, met, notes=tuple(notes))
    comparing = _Counter(None, on_progress)
    found = find_overlap([each.dataset for each in embedded], options.against, on_progress=comparing)
    clean = [_without_media(each, found.copied) for each in embedded]
    cleaned, _ = _score_sets(clean, space, options, [])
    again = emergence(clean, space, seed=options.seed) if met else None
    cleaned += again.scores if again else ()
    return Evaluation(space, options, tuple(embedded), scores, confusions, met, found, cleaned, tuple(notes))


def _select_sets(found: Sequence[Dataset], space: Space, options: EvaluationOptions, notes: list[str]) -> list[Dataset]:
    """Return the requested part of the data sets that the space can embed."""
    selected, trained_on = [], []
    for dataset in found:
        notes += [f"{dataset.name}: {note}" for note in dataset.notes]
        kept = dataset.part(options.part).first(options.limit)
        if not kept.examples:
            trained_on.append(dataset.name)
        elif not {dataset.modality, Modality.TEXT} <= space.spec.modalities:
            notes.append(f"{dataset.name}: space {space.spec.name} has no {dataset.modality} or no text; skipped")
        else:
            selected.append(kept)
            if options.part == "all" and space.spec.name == "pocket" and _has_training_media(dataset):
                notes.append(f"{dataset.name}: the pocket model may have been trained on some of it; see --part dev")
    if trained_on:
        names = ", ".join(dict.fromkeys(trained_on))
        notes.append(f"skipped, because nothing of it was held out when the pocket model was trained: {names}")
    if not selected:
        raise BadQuery("nothing to measure: " + ("; ".join(notes) or "the data sets are empty"))
    return selected


def _has_training_media(dataset: Dataset) -> bool:
    return any(not example.held_out for example in dataset.examples)


def _score_sets(
    sets: Sequence[Embedded], space: Space, options: EvaluationOptions, notes: list[str]
) -> tuple[tuple[Score, ...], tuple[Confusion, ...]]:
    results = [measure(each, space, seed=options.seed) for each in sets]
    notes += [each.note for each in results if each.note]
    scores = tuple(score for each in results for score in each.scores)
    return scores, tuple(each.confusion for each in results if each.confusion)


def _without_media(embedded: Embedded, copied: frozenset[str]) -> Embedded:
    examples = embedded.dataset.examples
    return embedded.select([place for place, example in enumerate(examples) if str(example.media) not in copied])


class _Counter:
    """Turns the names of media into reports of progress."""

    def __init__(self, total: int | None, on_progress: OnProgress) -> None:
        self._done, self._total, self._show = 0, total, on_progress

    def __call__(self, name: str) -> None:
        self._show(Progress(self._done, self._total, 0, Path(name)))
        self._done += 1


def _key(score: Score) -> tuple[str, str, str]:
    return score.data, score.task, score.metric


def _dataset_as_json(dataset: Dataset) -> dict[str, Any]:
    head = {"name": dataset.name, "layout": dataset.layout, "modality": str(dataset.modality)}
    return head | {"truth": str(dataset.truth), "examples": len(dataset.examples), "labels": len(dataset.labels)}


def _confusion_as_json(confusion: Confusion) -> dict[str, Any]:
    shares = confusion.per_class().items()
    per_class = {name: {"top-1": round(share, 6), "count": count} for name, (share, count) in shares}
    return {"labels": list(confusion.labels), "per_class": per_class, "confusion": confusion.counts.tolist()}


def _json_number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
