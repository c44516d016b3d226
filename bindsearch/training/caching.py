"""Gradient caching (Gao et al., 2021): a contrast over many rows with the memory of a few.

Vectors of all rows are made without a graph, the loss gives each its gradient, and then every chunk is made again
with a graph and receives its part. The gradients of the weights are those of one large batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Encode = Callable[["Tensor"], "Tensor"]
Loss = Callable[["Tensor"], "Tensor"]


def backward(encode: Encode, inputs: Tensor, loss: Loss, *, chunk: int) -> Tensor:
    """Add the gradients of `loss(encode(inputs))` to the weights that `encode` uses; gives the loss.

    `encode` must treat rows alike in any company: with layers that look at their whole batch, what is given is
    that of chunks.
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
