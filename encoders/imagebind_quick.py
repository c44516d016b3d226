"""ImageBind's audio tower made ready for a processor: the same function in shorter numbers, in fewer steps.

Weights are laid out once as the processor's matrix products want them, what follows a product (bias, GELU, the sum with
what went in) happens while its result is at hand, and few clips at a time go through, so that these stay in the caches.
With int8 the weights have a scale for each output, and what is multiplied with them one for each clip.

This calls operators that torch made for its own compiler. Where they are missing, or give something else than they
should, the plain tower is used.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .imagebind_audio import AudioTower, Block

CLIPS = 8
"""That go through together."""
ROUGH = 0.05
"""How far a trial product may be off, of its largest value."""
_LEVELS, _SIGNED = 255, 127


class Packed:
    """A linear layer in bfloat16, its weights laid out for the processor."""

    dtype = torch.bfloat16

    def __init__(self, layer: nn.Linear) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(self.dtype).contiguous(), None)
        self._bias = layer.bias.to(self.dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """*Shape:* (clips, tokens, width) to (clips, tokens, other width)."""
        run = torch.ops.mkldnn._linear_pointwise
        if add is not None:
            return run.binary(x, add.contiguous(), self._weight, self._bias, "add")
        return run.default(x, self._weight, self._bias, "gelu" if gelu else "none", [], "none")


class Quantised:
    """A linear layer in int8. Every clip has its own scale, so that it does not matter what else is in the batch."""

    dtype = torch.float32
    """Of what lies between the products."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.float()
        self._scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _SIGNED
        levels = (weight / self._scale[:, None]).round().to(torch.int8)
        self._weight = torch.ops.onednn.qlinear_prepack(levels, None)
        self._zero = torch.zeros(len(weight), dtype=torch.int32)
        self._bias = layer.bias.float()

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """*Shape:* (clips, tokens, width) to (clips, tokens, other width)."""
        found = torch.stack([self._clip(each.float(), "gelu" if gelu else "none") for each in x])
        return found if add is None else found.add_(add)

    def _clip(self, x: Tensor, then: str) -> Tensor:
        low, high = (float(each) for each in torch.aminmax(x))
        low, high = min(low, 0.0), max(high, 1e-12)
        scale = (high - low) / _LEVELS
        zero = round(-low / scale)
        levels = torch.quantize_per_tensor(x.contiguous(), scale, zero, torch.quint8).int_repr()
        run = torch.ops.onednn.qlinear_pointwise.default
        weights = (self._weight, self._scale, self._zero, self._bias)
        return run(levels, scale, zero, *weights, 1.0, 0, torch.float32, then, [], "none")


Layer = Packed | Quantised


class QuickBlock:
    """One of the tower's blocks."""

    def __init__(self, block: Block, kind: type[Layer]) -> None:
        attention = block.attention
        self._heads = attention.heads
        self._norm_1, self._norm_2 = block.norm_1.to(kind.dtype), block.norm_2.to(kind.dtype)
        self._more_key, self._more_value = (each.bfloat16() for each in (attention.more_key, attention.more_value))
        self._query_key_value, self._out = kind(attention.query_key_value), kind(attention.out)
        self._widen, self._narrow = kind(block.widen), kind(block.narrow)

    def __call__(self, x: Tensor, asked: Tensor) -> Tensor:
        """Give what becomes of the first tokens, those that are `asked` for.

        *Shape:* (clips, tokens, width) and (clips, fewer, width) to the latter.
        """
        query, key, value = self._query_key_value(self._norm_1(x)).bfloat16().chunk(3, dim=-1)
        key = torch.cat([key, self._more_key.expand(len(x), -1, -1)], dim=1)
        value = torch.cat([value, self._more_value.expand(len(x), -1, -1)], dim=1)
        seen = self._attended(query[:, : asked.shape[1]], key, value).to(x.dtype)
        x = self._out(seen, add=asked)
        return self._narrow(self._widen(self._norm_2(x), gelu=True), add=x)

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend in plain products: for so few tokens they are quicker than torch's own attention, in bfloat16."""
        query, key, value = (each.unflatten(2, (self._heads, -1)).transpose(1, 2) for each in (query, key, value))
        weights = (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).softmax(dim=-1)
        return (weights @ value).transpose(1, 2).flatten(2)


class QuickTower:
    """The tower; it takes the blocks of the one that it is made of, and leaves that without them."""

    def __init__(self, tower: AudioTower, kind: type[Layer]) -> None:
        self._blocks = [QuickBlock(block, kind) for block in tower.blocks]
        tower.blocks = nn.Sequential()
        self._tower = tower.to(kind.dtype)

    def __call__(self, clips: Tensor) -> Tensor:
        """*Shape:* (batch, 1, bands, frames) to (batch, dim), not normalised."""
        return torch.cat([self._few(few.to(self._tower.class_token.dtype)) for few in clips.split(CLIPS)])

    def _few(self, clips: Tensor) -> Tensor:
        x = self._tower.tokens(clips)
        for block in self._blocks[:-1]:
            x = block(x, x)
        return self._tower.project(self._blocks[-1](x, x[:, :1]))


KINDS: dict[Any, Any] = {torch.bfloat16: Packed, torch.int8: Quantised}


def ready(tower: AudioTower, dtype: Any) -> Callable[[Tensor], Tensor]:
    """Make a tower ready to run where it lies; it is used up by that. int8 becomes bfloat16 where there is none."""
    on_processor = tower.class_token.device.type == "cpu"
    for wanted in dict.fromkeys((dtype, torch.bfloat16) if dtype is torch.int8 else (dtype,)):
        kind = KINDS.get(wanted)
        if kind is not None and on_processor and works(kind):
            return QuickTower(tower, kind)
    plain = tower.to(torch.bfloat16 if dtype is torch.int8 else dtype)
    return lambda clips: plain(clips.to(plain.class_token.dtype))


@cache
def works(kind: type[Layer]) -> bool:
    """Tell whether this torch has the operators of a kind of layer, and whether they give what they should."""
    random = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 32, device="meta").to_empty(device="cpu").requires_grad_(False)
    for each in layer.parameters():
        each.copy_(torch.randn(each.shape, generator=random))
    x, add = (torch.randn(2, 3, width, generator=random).to(kind.dtype) for width in (64, 32))
    exact = F.linear(x.float(), layer.weight, layer.bias)
    try:
        ours = kind(layer)
        pairs = ((ours(x), exact), (ours(x, gelu=True), F.gelu(exact)), (ours(x, add=add), exact + add))
    except (AttributeError, RuntimeError, TypeError, ValueError):  # whatever another torch says to such calls
        return False
    return all(float((found - wanted).abs().max()) <= ROUGH * float(wanted.abs().max()) for found, wanted in pairs)
