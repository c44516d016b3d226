"""Labelled examples that a classifier weighs beside the text prompts, as Tip-Adapter does.

The density of a label's examples at a file is the mean of exp(cosine / width) over them. Its logarithm and the text
logits are blended, with weight `share` for the first. Share and width minimise the cross-entropy of the examples
themselves, each evaluated without its own group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Modality, Vectors

Floats = NDArray[np.float64]

EXAMPLE_SHARES = tuple(step / 10 for step in range(11))
KERNEL_WIDTHS = (0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
SINGLE_EXAMPLE_SHARE = 0.5
"""The share where every label has one example at most, and leaving it out would leave nothing to compare with."""


@dataclass(frozen=True, eq=False)
class ExampleCache:
    """The fitted examples of one kind of media."""

    keys: Vectors
    """*Shape:* (examples, dim)"""
    codes: Ids
    """The index of each example's label. *Shape:* (examples,)"""
    share: float
    width: float
    judged: int = 0
    """Number of examples that share and width were fitted on; 0 if none has a peer outside its group."""

    def evidence(self, rows: Vectors, count: int) -> Floats:
        """Return the log density of each label's examples at each row. *Shape:* (files, count)

        A label without examples gets the density of all examples together.
        """
        return log_densities(_kernel(rows, self.keys, self.width), self.codes, count)


def example_kind(modality: Modality) -> Modality:
    """Return the kind of examples that a modality is compared with: video frames with images."""
    return Modality.IMAGE if modality == Modality.VIDEO else modality


def fit_examples(
    keys: Vectors, codes: Sequence[int], groups: Sequence[str], *, logits: Floats, temperature: float
) -> ExampleCache:
    """Fit share and width by leave-one-group-out. *Shape of logits:* (examples, labels)"""
    truth = np.asarray(codes, dtype=np.int64)
    group_of = np.unique(np.asarray(groups), return_inverse=True)[1]
    others = group_of[:, None] != group_of[None, :]
    has_peers = (others & (truth[:, None] == truth[None, :])).any(axis=1)
    if not has_peers.any():
        return ExampleCache(keys, truth, SINGLE_EXAMPLE_SHARE, temperature)
    candidates = [
        (_blended_loss(logits[has_peers], evidence[has_peers], truth[has_peers], share), share, width)
        for width in KERNEL_WIDTHS
        for evidence in [log_densities(_kernel(keys, keys, width), truth, logits.shape[1], allowed=others)]
        for share in EXAMPLE_SHARES
    ]
    _, share, width = min(candidates)
    return ExampleCache(keys, truth, share, width, int(has_peers.sum()))


def log_densities(kernel: Floats, codes: Ids, count: int, *, allowed: NDArray[np.bool_] | None = None) -> Floats:
    """Return the log of the mean of exp(kernel) over the allowed examples of each label. *Shape:* (files, count)"""
    if allowed is None:
        allowed = np.ones(kernel.shape, dtype=np.bool_)
    top = kernel.max(axis=1, keepdims=True)
    weights = np.exp(kernel - top) * allowed
    owners = np.eye(count)[codes]
    numbers = allowed.astype(np.float64) @ owners
    means = (weights @ owners) / np.maximum(numbers, 1)
    overall = weights.sum(axis=1, keepdims=True) / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
    logs: Floats = np.log(np.maximum(np.where(numbers > 0, means, overall), 1e-300)) + top
    return logs


def blend(logits: Floats, evidence: Floats, share: float) -> Floats:
    """Return the weighted mean of text logits and example evidence."""
    return (1 - share) * logits + share * evidence


def _kernel(rows: Vectors, keys: Vectors, width: float) -> Floats:
    kernel: Floats = (rows @ keys.T).astype(np.float64) / width
    return kernel


def _blended_loss(logits: Floats, evidence: Floats, truth: Ids, share: float) -> float:
    return cross_entropy(blend(logits, evidence, share), truth)


def cross_entropy(logits: Floats, truth: Ids) -> float:
    """Return the mean of minus the log probability of the true labels."""
    return float(-log_softmax(logits)[np.arange(len(truth)), truth].mean())


def log_softmax(logits: Floats) -> Floats:
    """Return the logarithm of the softmax of each row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
