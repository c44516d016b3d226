"""The loss functions of training. Vectors come as they leave a tower; every loss normalises them itself.

No loss knows what its rows stand for. That anchors are image vectors is ensured, and tested, in `trainer`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def contrastive(vectors: Tensor, anchors: Tensor, owners: Tensor, *, temperature: float = 0.07) -> Tensor:
    """Return InfoNCE in both directions with several positives: rows of the same owner are positives.

    *Shape:* vectors and anchors (n, dim), owners (n,).
    """
    from torch.nn.functional import normalize

    logits = normalize(vectors, dim=1) @ normalize(anchors, dim=1).T / temperature
    positive = (owners[:, None] == owners[None, :]).to(logits.dtype)
    return (_cross_entropy(logits, positive) + _cross_entropy(logits.T, positive)) / 2


def regression(vectors: Tensor, anchors: Tensor) -> Tensor:
    """Return one minus the cosine, averaged over rows. *Shape:* (n, dim) twice."""
    from torch.nn.functional import cosine_similarity

    return 1 - cosine_similarity(vectors, anchors, dim=1).mean()


def distillation(vectors: Tensor, teacher: Tensor, bank: Tensor, *, temperature: float = 0.05) -> Tensor:
    """Return the KL divergence of student and teacher in their similarities to a bank of vectors.

    *Shape:* vectors and teacher (n, dim), bank (m, dim).
    """
    from torch.nn.functional import normalize

    bank = normalize(bank, dim=1)
    student = normalize(vectors, dim=1) @ bank.T / temperature
    return _divergence(student, normalize(teacher, dim=1) @ bank.T / temperature)


def soft_label_divergence(logits: Tensor, teacher: Tensor, *, temperature: float = 2.0) -> Tensor:
    """Return the KL divergence from a teacher's classes at a temperature. *Shape:* (n, classes) twice."""
    return _divergence(logits / temperature, teacher / temperature) * temperature**2


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    from torch.nn.functional import kl_div

    return kl_div(student.log_softmax(dim=1), teacher.log_softmax(dim=1), reduction="batchmean", log_target=True)


def _cross_entropy(logits: Tensor, positive: Tensor) -> Tensor:
    shares = positive / positive.sum(dim=1, keepdim=True)
    return -(shares * logits.log_softmax(dim=1)).sum(dim=1).mean()
