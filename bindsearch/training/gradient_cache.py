"""Gradient caching (Gao et al., 2021): the contrastive loss of a large batch in the memory of a small one.

All rows are first encoded without a graph, and the loss gives the gradient of each vector. Then each chunk is encoded
again with a graph and back-propagates its part. The gradients of the weights are those of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[["Tensor"], "Tensor"]
Loss = Callable[["Tensor"], "Tensor"]


def backward(encode: Encode, inputs: Tensor, loss: Loss, *, chunk: int) -> Tensor:
    """Add the gradients of `loss(encode(inputs))` to the weights that `encode` uses, and return the loss.

    `encode` must treat every row independently of the others. Layers that use statistics of their batch see those of
    one chunk.
    """
    import torch

    if len(inputs) <= chunk:
        value = loss(encode(inputs))
        value.backward()
        return value.detach()
    with torch.no_grad():
        vectors = torch.cat([encode(part) for part in inputs.split(chunk)])
    vectors.requires_grad_()
    value = loss(vectors)
    value.backward()
    assert vectors.grad is not None
    for part, gradient in zip(inputs.split(chunk), vectors.grad.split(chunk), strict=True):
        encode(part).backward(gradient)
    return value.detach()
