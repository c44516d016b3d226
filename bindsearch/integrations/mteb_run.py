"""Tasks of the `mteb` package, run with a space as the model, or with a library as the search engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from bindsearch.integrations.mteb_model import LibrarySearch, SpaceModel
from bindsearch.integrations.mteb_tasks import package, task_of
from bindsearch.spaces.space import Space

Through = Literal["encoder", "library"]
"""Whether a space is evaluated as an encoder, or a library as a search engine."""


@dataclass(frozen=True, slots=True)
class TaskScore:
    """The scores of a task for one split and subset of its data."""

    task: str
    kind: str
    split: str
    subset: str
    main: float
    measure: str
    """The name of the main score."""
    scores: dict[str, float]
    """All numeric scores."""
    package: str

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return {
            "task": self.task,
            "type": self.kind,
            "split": self.split,
            "subset": self.subset,
            "measure": self.measure,
            "score": self.main,
            "scores": self.scores,
            "mteb": self.package,
        }


def run_tasks(
    names: Sequence[str], space: Space, *, through: Through, on_progress: Callable[[str], None]
) -> Iterator[TaskScore]:
    """Run tasks, by name or folder, one after the other. Raises `BadQuery`, `MissingExtra`."""
    mteb = package()
    for task in [task_of(name) for name in names]:
        on_progress(task.metadata.name)
        with closing(LibrarySearch(space)) as search:
            model = search if through == "library" else SpaceModel(space)
            done = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
        for result in done.task_results:
            yield from _task_scores(task, result)


def _task_scores(task: Any, result: Any) -> Iterator[TaskScore]:
    for split, subsets in result.scores.items():
        for values in subsets:
            numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
            yield TaskScore(
                task.metadata.name,
                str(task.metadata.type),
                split,
                str(values["hf_subset"]),
                float(values["main_score"]),
                str(task.metadata.main_score),
                numbers,
                str(result.mteb_version),
            )
