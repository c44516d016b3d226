"""What is asked of a data set, by what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.dataset import Example, Truth
from bindsearch.evaluation.embedding import Embedded, labels, texts
from bindsearch.evaluation.metrics import ordered
from bindsearch.evaluation.retrieval_task import Codes, RetrievalTask, Score, answer
from bindsearch.spaces.space import Space
from bindsearch.types import Ids, Modality

HEARD_AS = {Modality.AUDIO: "sound", Modality.IMAGE: "image", Modality.VIDEO: "video", Modality.TEXT: "text"}
BY_LABEL = ("R@10", "hit@10", "mAP", "nDCG@10")
BY_CAPTION = ("R@1", "R@5", "R@10", "mAP", "nDCG@10")
BY_NAME = ("R@1", "R@5", "mAP")


@dataclass(frozen=True, slots=True)
class Confusion:
    """What was taken for what. *Shape of counts:* (labels, labels), truth by row."""

    data: str
    labels: tuple[str, ...]
    counts: Ids

    def per_class(self) -> dict[str, tuple[float, int]]:
        """Return each label's share of right answers, and how many there were."""
        right = np.diag(self.counts).tolist()
        rows = zip(self.labels, right, self.counts.sum(axis=1).tolist(), strict=True)
        return {name: (found / total, total) for name, found, total in rows if total}


@dataclass(frozen=True, slots=True)
class Answers:
    """The figures of one data set."""

    scores: tuple[Score, ...]
    confusion: Confusion | None = None
    note: str = ""


def measure(embedded: Embedded, space: Space, *, seed: int) -> Answers:
    """Ask what can be asked of a data set."""
    dataset = embedded.dataset
    if not dataset.examples:
        return Answers((), note=f"{dataset.name}: nothing to measure")
    if dataset.truth == Truth.CAPTIONS:
        return _by_caption(embedded, space, seed)
    if dataset.truth == Truth.NAMES:
        return _by_name(embedded, space, seed)
    if len(dataset.labels) < 2:
        return Answers((), note=f"{dataset.name}: only one label: nothing to tell apart")
    return _by_class(embedded, space, seed)


def _by_class(embedded: Embedded, space: Space, seed: int) -> Answers:
    """Zero-shot classification where each has one label; retrieval by label in any case."""
    dataset = embedded.dataset
    names, kind = dataset.labels, HEARD_AS[dataset.modality]
    asked = labels(names, space, modality=dataset.modality)
    place = {name: row for row, name in enumerate(names)}
    scores: list[Score] = []
    confusion = None
    if all(len(example.words) == 1 for example in dataset.examples):
        codes = np.array([place[example.words[0]] for example in dataset.examples])
        one = RetrievalTask(embedded.rows, codes, asked, np.arange(len(names)), recordings(dataset.examples))
        wanted = ("top-1", "top-5") if len(names) > 5 else ("top-1",)
        scores += answer(one, wanted, data=dataset.name, task=f"zero-shot {kind}", seed=seed)
        confusion = _confused(one, dataset.name, names, seed)
        truth: Codes | NDArray[np.bool_] = codes
    else:
        truth = np.zeros((len(dataset.examples), len(names)), dtype=np.bool_)
        for row, example in enumerate(dataset.examples):
            truth[row, [place[word] for word in example.words]] = True
    every = np.arange(len(names))
    present = np.flatnonzero(np.bincount(truth, minlength=len(names)) if truth.ndim == 1 else truth.any(axis=0))
    many = RetrievalTask(asked[present], every[present], embedded.rows, truth, present)
    scores += answer(many, BY_LABEL, data=dataset.name, task=f"text→{kind}", seed=seed)
    return Answers(tuple(scores), confusion)


def _confused(question: RetrievalTask, data: str, names: tuple[str, ...], seed: int) -> Confusion:
    taken = ordered(question.queries @ question.items.T, seed=seed)[:, 0]
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (question.asked, taken), 1)
    return Confusion(data, names, counts)


def _by_caption(embedded: Embedded, space: Space, seed: int) -> Answers:
    """Each caption finds its picture or sound among all, and the other way round."""
    dataset, kind = embedded.dataset, HEARD_AS[embedded.dataset.modality]
    rows = texts([caption for example in dataset.examples for caption in example.words], space)
    owners = np.repeat(np.arange(len(dataset.examples)), [len(example.words) for example in dataset.examples])
    each = np.arange(len(dataset.examples))
    to_media = RetrievalTask(rows, owners, embedded.rows, each, owners)
    to_text = RetrievalTask(embedded.rows, each, rows, owners, recordings(dataset.examples))
    scores = answer(to_media, BY_CAPTION, data=dataset.name, task=f"text→{kind}", seed=seed)
    scores += answer(to_text, ("hit@5", "hit@10"), data=dataset.name, task=f"{kind}→text", seed=seed)
    return Answers(tuple(scores))


def _by_name(embedded: Embedded, space: Space, seed: int) -> Answers:
    """Each name finds what is called so, among the whole collection."""
    dataset, kind = embedded.dataset, HEARD_AS[embedded.dataset.modality]
    called = [example.words[0] for example in dataset.examples]
    names = sorted(set(called))
    if len(names) < 2:
        return Answers((), note=f"{dataset.name}: all are called {called[0]!r}: nothing to tell apart")
    rows = labels(names, space, modality=dataset.modality)
    every = np.arange(len(names))
    question = RetrievalTask(rows, every, embedded.rows, np.searchsorted(names, called), every)
    return Answers(tuple(answer(question, BY_NAME, data=dataset.name, task=f"name→{kind}", seed=seed)))


def recordings(examples: Iterable[Example]) -> Codes:
    """Return the recordings that examples are of as numbers; one that says none is its own."""
    told: Sequence[str] = [example.recording or str(example.media) for example in examples]
    return np.unique(told, return_inverse=True)[1].astype(np.intp)
