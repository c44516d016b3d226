"""What training makes small. Vectors come as they leave a tower; every loss normalises them itself.

No loss knows what its rows stand for: that anchors are vectors of pictures is `binding`'s to keep, and tested there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def contrast(vectors: Tensor, anchors: Tensor, owners: Tensor, *, temperature: float = 0.07) -> Tensor:
    """InfoNCE in both directions with several positives: rows of one owner belong together.

    *Shape:* vectors and anchors (n, dim), owners (n,).
    """
    from torch.nn.functional import normalize

    alike = normalize(vectors, dim=1) @ normalize(anchors, dim=1).T / temperature
    together = (owners[:, None] == owners[None, :]).to(alike.dtype)
    return (_towards(alike, together) + _towards(alike.T, together)) / 2


def regression(vectors: Tensor, anchors: Tensor) -> Tensor:
    """One minus the cosine, in the mean over rows. *Shape:* (n, dim) twice."""
    from torch.nn.functional import cosine_similarity

    return 1 - cosine_similarity(vectors, anchors, dim=1).mean()


def distillation(vectors: Tensor, teacher: Tensor, bank: Tensor, *, temperature: float = 0.05) -> Tensor:
    """How differently the student sees a bank of vectors from how the teacher sees it (KL divergence).

    *Shape:* vectors and teacher (n, dim), bank (m, dim).
    """
    from torch.nn.functional import normalize

    bank = normalize(bank, dim=1)
    student = normalize(vectors, dim=1) @ bank.T / temperature
    return _divergence(student, normalize(teacher, dim=1) @ bank.T / temperature)


def softened(logits: Tensor, teacher: Tensor, *, temperature: float = 2.0) -> Tensor:
    """KL divergence from a teacher's classes, both softened. *Shape:* (n, classes) twice."""
    return _divergence(logits / temperature, teacher / temperature) * temperature**2


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    from torch.nn.functional import kl_div

    return kl_div(student.log_softmax(dim=1), teacher.log_softmax(dim=1), reduction="batchmean", log_target=True)


def _towards(alike: Tensor, together: Tensor) -> Tensor:
    shares = together / together.sum(dim=1, keepdim=True)
    return -(shares * alike.log_softmax(dim=1)).sum(dim=1).mean()
