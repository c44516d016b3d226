"""Labelled examples that a classifier remembers and lets speak beside the words, as Tip-Adapter does.

A file is like the examples of a label as much as the mean over them of exp(cosine / width) says: a density. Its
logarithm and the words' own logits are blended: `share` of the first, the rest of the second. Share and width are
those under which the examples themselves are told best, each without itself and all of its recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bindsearch.types import Ids, Modality, Vectors

Floats = NDArray[np.float64]

SHARES = tuple(step / 10 for step in range(11))
WIDTHS = (0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3)
EVEN = 0.5
"""The share of examples where there is only one for each label: leaving it out would leave nothing to compare with."""


@dataclass(frozen=True, eq=False)
class ExampleCache:
    """Examples of one kind of media."""

    keys: Vectors
    """*Shape:* (examples, dim)"""
    codes: Ids
    """The number of each example's label."""
    share: float
    width: float
    judged: int = 0
    """Examples by which share and width were chosen; 0 if there was nothing to choose by."""

    def evidence(self, rows: Vectors, count: int) -> Floats:
        """Return the logarithm of how like the examples of each label some files are. *Shape:* (files, count)

        Labels without examples are as likely as all examples together.
        """
        return densities(_kernel(rows, self.keys, self.width), self.codes, count)


def kind_of(modality: Modality) -> Modality:
    """Return what kind of examples a vector is compared with: frames of films are pictures."""
    return Modality.IMAGE if modality == Modality.VIDEO else modality


def remembered(
    keys: Vectors, codes: Sequence[int], groups: Sequence[str], *, logits: Floats, temperature: float
) -> ExampleCache:
    """Remember examples, and choose by leaving each out how much they count. *Shape of logits:* (examples, labels)"""
    truth = np.asarray(codes, dtype=np.int64)
    same = np.unique(np.asarray(groups), return_inverse=True)[1]
    others = same[:, None] != same[None, :]
    has_peers = (others & (truth[:, None] == truth[None, :])).any(axis=1)
    if not has_peers.any():
        return ExampleCache(keys, truth, EVEN, temperature)
    tried = [
        (_surprise(logits[has_peers], kept[has_peers], truth[has_peers], share), share, width)
        for width in WIDTHS
        for kept in [densities(_kernel(keys, keys, width), truth, logits.shape[1], among=others)]
        for share in SHARES
    ]
    _, share, width = min(tried)
    return ExampleCache(keys, truth, share, width, int(has_peers.sum()))


def densities(kernel: Floats, codes: Ids, count: int, *, among: NDArray[np.bool_] | None = None) -> Floats:
    """Return the logarithm of the mean of exp(kernel) over the examples of each label. *Shape:* (files, count)"""
    allowed = np.ones(kernel.shape, dtype=np.bool_) if among is None else among
    top = kernel.max(axis=1, keepdims=True)
    weights = np.exp(kernel - top) * allowed
    owners = np.eye(count)[codes]
    numbers = allowed.astype(np.float64) @ owners
    means = (weights @ owners) / np.maximum(numbers, 1)
    overall = weights.sum(axis=1, keepdims=True) / np.maximum(allowed.sum(axis=1, keepdims=True), 1)
    logs: Floats = np.log(np.maximum(np.where(numbers > 0, means, overall), 1e-300)) + top
    return logs


def blend(logits: Floats, evidence: Floats, share: float) -> Floats:
    """Let words and examples speak together."""
    return (1 - share) * logits + share * evidence


def _kernel(rows: Vectors, keys: Vectors, width: float) -> Floats:
    kernel: Floats = (rows @ keys.T).astype(np.float64) / width
    return kernel


def _surprise(logits: Floats, evidence: Floats, truth: Ids, share: float) -> float:
    return surprisal(blend(logits, evidence, share), truth)


def surprisal(logits: Floats, truth: Ids) -> float:
    """Return the mean of minus the logarithm of the probability of what is true."""
    return float(-log_shares(logits)[np.arange(len(truth)), truth].mean())


def log_shares(logits: Floats) -> Floats:
    """Return the logarithms of what a softmax over each row gives."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs
