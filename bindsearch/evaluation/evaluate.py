"""Data sets and a space in, figures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.core.progress import Progress
from bindsearch.errors import BadQuery
from bindsearch.evaluation.contamination import Overlap, find_overlap
from bindsearch.evaluation.dataset import Component, Dataset
from bindsearch.evaluation.embedding import Embedded, embed
from bindsearch.evaluation.emergence import Emergence, emergence
from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.retrieval_task import Score
from bindsearch.evaluation.tasks import Confusion, measure
from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.spaces.space import Space
from bindsearch.types import Modality

Show = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What is measured, and how."""

    layout: str | None = None
    part: Component = "all"
    limit: int | None = None
    """At most so many examples of each set, spread evenly over it."""
    seed: int = 0
    against: Path | None = None
    """A library, a folder or a tar file, in which copies of what is measured are looked for."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of one evaluation."""

    space: Space
    options: Options
    sets: tuple[Embedded, ...]
    scores: tuple[Score, ...]
    confusions: tuple[Confusion, ...]
    emergence: Emergence | None
    overlap: Overlap | None = None
    clean: tuple[Score, ...] = ()
    """The scores without what was found to be a copy."""
    notes: tuple[str, ...] = field(default=())

    @property
    def failed(self) -> dict[str, str]:
        """Media that could not be read, and why."""
        return {name: why for each in self.sets for name, why in each.failed.items()}

    def without_copies(self, score: Score) -> Score | None:
        """Find the same measure without copies."""
        same = (each for each in self.clean if (each.data, each.task, each.metric) == _key(score))
        return next(same, None)

    def as_json(self) -> list[dict[str, Any]]:
        """Plain values, a record a line: what was measured, then each figure, then the rest."""
        spec, options = self.space.spec, self.options
        head: dict[str, Any] = {"kind": "evaluation", "space": spec.name, "fingerprint": spec.fingerprint}
        head |= {"part": options.part, "seed": options.seed, "notes": list(self.notes), "failed": self.failed}
        head["templates"] = {str(modality): list(TEMPLATES[modality]) for modality in (Modality.IMAGE, Modality.AUDIO)}
        head["sets"] = [_described(each.dataset) for each in self.sets]
        lines = [head, *({"kind": "score"} | self._score(score) for score in self.scores)]
        if self.emergence:
            met = self.emergence
            lines += [{"kind": "emergence"} | self._score(score) for score in met.scores]
            lines.append({"kind": "emerged", "concepts": list(met.concepts), "share": _number(met.share)})
        for confusion in self.confusions:
            lines.append({"kind": "classes", "data": confusion.data} | _classes(confusion))
        if self.overlap:
            lines.append({"kind": "copies"} | self.overlap.as_json())
        return lines

    def _score(self, score: Score) -> dict[str, Any]:
        clean = self.without_copies(score)
        return score.as_json() | ({"without_copies": _number(clean.score)} if clean else {})


def evaluate(paths: Sequence[Path], space: Space, options: Options, *, show: Show) -> Evaluation:
    """Measure a space on all data sets at some paths.

    Raises `BadQuery` where nothing can be measured, `SpaceError`, and `OSError`.
    """
    notes: list[str] = []
    sets = _chosen(read(paths, layout=options.layout), space, options, notes)
    told = _Counter(sum(len(dataset.examples) for dataset in sets), show)
    embedded = [embed(dataset, space, on_progress=told) for dataset in sets]
    scores, confusions = _measured(embedded, space, options, notes)
    met = emergence(embedded, space, seed=options.seed)
    if met is None and {Modality.AUDIO, Modality.IMAGE} <= {each.dataset.modality for each in embedded}:
        notes.append("emergence beside trained pairs is not measured: pictures and sounds share no two concepts")
    if options.against is None:
        return Evaluation(space, options, tuple(embedded), scores, confusions, met, notes=tuple(notes))
    comparing = _Counter(None, show)
    found = find_overlap([each.dataset for each in embedded], options.against, on_progress=comparing)
    clean = [_without(each, found.copied) for each in embedded]
    cleaned, _ = _measured(clean, space, options, [])
    again = emergence(clean, space, seed=options.seed) if met else None
    cleaned += again.scores if again else ()
    return Evaluation(space, options, tuple(embedded), scores, confusions, met, found, cleaned, tuple(notes))


def _chosen(found: Sequence[Dataset], space: Space, options: Options, notes: list[str]) -> list[Dataset]:
    """Keep the part that is asked for, of what the space can take."""
    chosen, learned = [], []
    for dataset in found:
        notes += [f"{dataset.name}: {note}" for note in dataset.notes]
        kept = dataset.part(options.part).first(options.limit)
        if not kept.examples:
            learned.append(dataset.name)
        elif not {dataset.modality, Modality.TEXT} <= space.spec.modalities:
            notes.append(f"{dataset.name}: space {space.spec.name} does not take {dataset.modality} and text; left out")
        else:
            chosen.append(kept)
            if options.part == "all" and space.spec.name == "pocket" and _has_training(dataset):
                notes.append(f"{dataset.name}: the pocket model may have been trained on some of it; see --part dev")
    if learned:
        names = ", ".join(dict.fromkeys(learned))
        notes.append(f"left out, as nothing of it was held out when the pocket model was trained: {names}")
    if not chosen:
        raise BadQuery("nothing to measure: " + ("; ".join(notes) or "the data sets are empty"))
    return chosen


def _has_training(dataset: Dataset) -> bool:
    return any(not example.held_out for example in dataset.examples)


def _measured(
    sets: Sequence[Embedded], space: Space, options: Options, notes: list[str]
) -> tuple[tuple[Score, ...], tuple[Confusion, ...]]:
    answers = [measure(each, space, seed=options.seed) for each in sets]
    notes += [told.note for told in answers if told.note]
    scores = tuple(score for told in answers for score in told.scores)
    return scores, tuple(told.confusion for told in answers if told.confusion)


def _without(embedded: Embedded, copied: frozenset[str]) -> Embedded:
    examples = embedded.dataset.examples
    return embedded.kept([place for place, example in enumerate(examples) if str(example.media) not in copied])


class _Counter:
    """Turns names of media into progress."""

    def __init__(self, total: int | None, show: Show) -> None:
        self._done, self._total, self._show = 0, total, show

    def __call__(self, name: str) -> None:
        self._show(Progress(self._done, self._total, 0, Path(name)))
        self._done += 1


def _key(score: Score) -> tuple[str, str, str]:
    return score.data, score.task, score.metric


def _described(dataset: Dataset) -> dict[str, Any]:
    told = {"name": dataset.name, "layout": dataset.layout, "modality": str(dataset.modality)}
    return told | {"truth": str(dataset.truth), "examples": len(dataset.examples), "labels": len(dataset.labels)}


def _classes(confusion: Confusion) -> dict[str, Any]:
    shares = confusion.per_class().items()
    per_class = {name: {"top-1": round(share, 6), "count": count} for name, (share, count) in shares}
    return {"labels": list(confusion.labels), "per_class": per_class, "confusion": confusion.counts.tolist()}


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
