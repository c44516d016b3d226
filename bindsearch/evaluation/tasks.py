"""Scores the tasks that a data set allows, by its kind of ground truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.dataset import Example, Truth
from bindsearch.evaluation.embedding import Embedded, embed_labels, embed_texts
from bindsearch.evaluation.metrics import rank_items
from bindsearch.evaluation.retrieval_task import Codes, RetrievalTask, Score, score_task
from bindsearch.spaces.space import Space
from bindsearch.types import Ids, Modality

MODALITY_WORDS = {Modality.AUDIO: "sound", Modality.IMAGE: "image", Modality.VIDEO: "video", Modality.TEXT: "text"}
LABEL_METRICS = ("R@10", "hit@10", "mAP", "nDCG@10")
CAPTION_METRICS = ("R@1", "R@5", "R@10", "mAP", "nDCG@10")
NAME_METRICS = ("R@1", "R@5", "mAP")


@dataclass(frozen=True, slots=True)
class Confusion:
    """A confusion matrix. *Shape of counts:* (labels, labels), true labels by row."""

    data: str
    labels: tuple[str, ...]
    counts: Ids

    def per_class(self) -> dict[str, tuple[float, int]]:
        """Return for each label the share of its examples that were classified correctly, and their number."""
        right = np.diag(self.counts).tolist()
        rows = zip(self.labels, right, self.counts.sum(axis=1).tolist(), strict=True)
        return {name: (found / total, total) for name, found, total in rows if total}


@dataclass(frozen=True, slots=True)
class DatasetScores:
    """The scores of one data set."""

    scores: tuple[Score, ...]
    confusion: Confusion | None = None
    note: str = ""


def measure(embedded: Embedded, space: Space, *, seed: int) -> DatasetScores:
    """Score all tasks that a data set allows."""
    dataset = embedded.dataset
    if not dataset.examples:
        return DatasetScores((), note=f"{dataset.name}: nothing to measure")
    if dataset.truth == Truth.CAPTIONS:
        return _by_caption(embedded, space, seed)
    if dataset.truth == Truth.NAMES:
        return _by_name(embedded, space, seed)
    if len(dataset.labels) < 2:
        return DatasetScores((), note=f"{dataset.name}: there is only one label: nothing to distinguish")
    return _by_class(embedded, space, seed)


def _by_class(embedded: Embedded, space: Space, seed: int) -> DatasetScores:
    """Score retrieval by label, and zero-shot classification if each example has one label."""
    dataset = embedded.dataset
    names, kind = dataset.labels, MODALITY_WORDS[dataset.modality]
    label_vectors = embed_labels(names, space, modality=dataset.modality)
    place = {name: row for row, name in enumerate(names)}
    scores: list[Score] = []
    confusion = None
    if all(len(example.words) == 1 for example in dataset.examples):
        codes = np.array([place[example.words[0]] for example in dataset.examples])
        one = RetrievalTask(
            embedded.rows, codes, label_vectors, np.arange(len(names)), recording_codes(dataset.examples)
        )
        wanted = ("top-1", "top-5") if len(names) > 5 else ("top-1",)
        scores += score_task(one, wanted, data=dataset.name, task=f"zero-shot {kind}", seed=seed)
        confusion = _confusion(one, dataset.name, names, seed)
        truth: Codes | NDArray[np.bool_] = codes
    else:
        truth = np.zeros((len(dataset.examples), len(names)), dtype=np.bool_)
        for row, example in enumerate(dataset.examples):
            truth[row, [place[word] for word in example.words]] = True
    every = np.arange(len(names))
    present = np.flatnonzero(np.bincount(truth, minlength=len(names)) if truth.ndim == 1 else truth.any(axis=0))
    many = RetrievalTask(label_vectors[present], every[present], embedded.rows, truth, present)
    scores += score_task(many, LABEL_METRICS, data=dataset.name, task=f"text→{kind}", seed=seed)
    return DatasetScores(tuple(scores), confusion)


def _confusion(retrieval: RetrievalTask, data: str, names: tuple[str, ...], seed: int) -> Confusion:
    predicted = rank_items(retrieval.queries @ retrieval.items.T, seed=seed)[:, 0]
    counts = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(counts, (retrieval.query_concepts, predicted), 1)
    return Confusion(data, names, counts)


def _by_caption(embedded: Embedded, space: Space, seed: int) -> DatasetScores:
    """Score the retrieval of media by caption, and of captions by medium."""
    dataset, kind = embedded.dataset, MODALITY_WORDS[embedded.dataset.modality]
    rows = embed_texts([caption for example in dataset.examples for caption in example.words], space)
    owners = np.repeat(np.arange(len(dataset.examples)), [len(example.words) for example in dataset.examples])
    each = np.arange(len(dataset.examples))
    to_media = RetrievalTask(rows, owners, embedded.rows, each, owners)
    to_text = RetrievalTask(embedded.rows, each, rows, owners, recording_codes(dataset.examples))
    scores = score_task(to_media, CAPTION_METRICS, data=dataset.name, task=f"text→{kind}", seed=seed)
    scores += score_task(to_text, ("hit@5", "hit@10"), data=dataset.name, task=f"{kind}→text", seed=seed)
    return DatasetScores(tuple(scores))


def _by_name(embedded: Embedded, space: Space, seed: int) -> DatasetScores:
    """Score the retrieval of media by name in the whole collection."""
    dataset, kind = embedded.dataset, MODALITY_WORDS[embedded.dataset.modality]
    names_of_media = [example.words[0] for example in dataset.examples]
    names = sorted(set(names_of_media))
    if len(names) < 2:
        return DatasetScores(
            (), note=f"{dataset.name}: all media are named {names_of_media[0]!r}: nothing to distinguish"
        )
    rows = embed_labels(names, space, modality=dataset.modality)
    every = np.arange(len(names))
    retrieval = RetrievalTask(rows, every, embedded.rows, np.searchsorted(names, names_of_media), every)
    return DatasetScores(tuple(score_task(retrieval, NAME_METRICS, data=dataset.name, task=f"name→{kind}", seed=seed)))


def recording_codes(examples: Iterable[Example]) -> Codes:
    """Return the recording of each example as a number; an example without one is its own recording."""
    names: Sequence[str] = [example.recording or str(example.media) for example in examples]
    return np.unique(names, return_inverse=True)[1].astype(np.intp)
