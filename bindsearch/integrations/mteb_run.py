"""Tasks of the `mteb` package, run with a space as the model, or with a library as the search engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

from bindsearch.integrations.mteb_model import LibrarySearch, SpaceModel
from bindsearch.integrations.mteb_tasks import package, task_of
from bindsearch.spaces.space import Space

Way = Literal["encoder", "library"]


@dataclass(frozen=True, slots=True)
class Scored:
    """What a task gave for one part of its data."""

    task: str
    kind: str
    split: str
    subset: str
    main: float
    measure: str
    """The name of the main score."""
    scores: dict[str, float]
    """All scores that are numbers."""
    package: str

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
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


def run_tasks(names: Sequence[str], space: Space, *, way: Way, on_progress: Callable[[str], None]) -> Iterator[Scored]:
    """Run tasks, by name or folder, one after the other. Raises `BadQuery`, `MissingExtra`."""
    mteb = package()
    for task in [task_of(name) for name in names]:
        on_progress(task.metadata.name)
        with closing(LibrarySearch(space)) as search:
            model = search if way == "library" else SpaceModel(space)
            done = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
        for result in done.task_results:
            yield from _scored(task, result)


def _scored(task: Any, result: Any) -> Iterator[Scored]:
    for split, subsets in result.scores.items():
        for told in subsets:
            numbers = {name: float(value) for name, value in told.items() if isinstance(value, int | float)}
            yield Scored(
                task.metadata.name,
                str(task.metadata.type),
                split,
                str(told["hf_subset"]),
                float(told["main_score"]),
                str(task.metadata.main_score),
                numbers,
                str(result.mteb_version),
            )
