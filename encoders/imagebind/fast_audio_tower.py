"""ImageBind's audio tower made ready for a processor: the same function in shorter numbers, in fewer steps.

Weights are laid out once as the processor's matrix products want them, and what follows a product (bias, GELU, the sum
with what went in) happens while its result is at hand. Threads take clips, not pieces of one, so that none waits for
another. With int8 the weights have a scale for each output, and what is multiplied with them one for each clip, so that
it does not matter what else is in its batch; channels that stand out are evened before.

This calls operators that torch made for its own compiler. Where they are missing, or give something else than they
should, the plain tower is used.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .audio_tower import AudioTower, Block

CLIPS_PER_STEP = 8
"""That a thread takes through a block before the next one, while the block's weights are in the caches."""
MAX_RELATIVE_ERROR = 0.05
"""How far a trial product may be off, of its largest value."""
_UNSIGNED_LEVELS, _SIGNED_LEVELS = 255, 127
_EXPECTED_DEVIATIONS = 4.0
"""Deviations that what is normalised is expected to reach."""
_MIN_MAGNITUDE = 1e-6


class PackedLinear:
    """A linear layer in bfloat16, its weights laid out for the processor."""

    dtype = torch.bfloat16
    clips_per_call = CLIPS_PER_STEP
    """Clips that go through at once."""

    def __init__(self, layer: nn.Linear) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(self.dtype).contiguous(), None)
        self._bias = layer.bias.to(self.dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """*Shape:* (clips, tokens, width) to (clips, tokens, other width). What is to `add` may be used up."""
        run = torch.ops.mkldnn._linear_pointwise
        if add is not None:
            return run.binary(x, add, self._weight, self._bias, "add")
        return run.default(x, self._weight, self._bias, "gelu" if gelu else "none", [], "none")


class Int8Linear:
    """A linear layer in int8."""

    dtype = torch.float32
    """Of what lies between the products."""
    clips_per_call = 1
    """For a scale each."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.float()
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _SIGNED_LEVELS
        levels = (weight / scale[:, None]).round().to(torch.int8)
        zero = torch.zeros(len(weight), dtype=torch.int32)
        self._weight = (torch.ops.onednn.qlinear_prepack(levels, None), scale, zero)
        self._bias = layer.bias.float()

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """*Shape:* (clips, tokens, width) to (clips, tokens, other width). What is to `add` may be used up."""
        run, levels = torch.ops.onednn.qlinear_pointwise, _quantise(x.float())
        as_it_is = (1.0, 0)
        if add is not None:
            both = (*levels, *self._weight, add, self._bias, *as_it_is, torch.float32, *as_it_is)
            return run.binary(*both, "sum", 1.0, "none", [], "none")
        one = (*levels, *self._weight, self._bias, *as_it_is, torch.float32)
        return run.default(*one, "gelu" if gelu else "none", [], "none")


def _quantise(x: Tensor) -> tuple[Tensor, float, int]:
    """Return numbers as steps of one scale: the steps, their size, and which of them is nothing."""
    low, high = (each.item() for each in torch.aminmax(x))
    low, high = min(low, 0.0), max(high, 1e-12)
    scale = (high - low) / _UNSIGNED_LEVELS
    zero = round(-low / scale)
    held = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
    # `held.int_repr()` would copy them
    return torch.empty(0, dtype=torch.uint8).set_(held.untyped_storage(), 0, held.shape), scale, zero


LinearLayer = PackedLinear | Int8Linear


def balance_channels(norm: nn.LayerNorm, layer: nn.Linear) -> None:
    """Share out, channel by channel, what is large between what a norm gives and the weights that meet it.

    A channel that stands out would leave the others few steps. By powers of two: in floats nothing changes.
    """
    given = norm.bias.abs() + _EXPECTED_DEVIATIONS * norm.weight.abs()
    met = layer.weight.abs().amax(dim=0)
    by = (given.clamp_min(_MIN_MAGNITUDE) / met.clamp_min(_MIN_MAGNITUDE)).sqrt().log2().round().exp2()
    norm.weight, norm.bias, layer.weight = (
        nn.Parameter(each, requires_grad=False) for each in (norm.weight / by, norm.bias / by, layer.weight * by)
    )


class FastBlock:
    """One of the tower's blocks."""

    def __init__(self, block: Block, kind: type[LinearLayer]) -> None:
        attention = block.attention
        balance_channels(block.norm_1, attention.query_key_value)
        balance_channels(block.norm_2, block.widen)
        self._heads = attention.heads
        self._norm_1, self._norm_2 = block.norm_1.to(kind.dtype), block.norm_2.to(kind.dtype)
        self._learned_key_value = torch.stack([attention.more_key, attention.more_value]).flatten().bfloat16()
        self._query_key_value, self._out = kind(attention.query_key_value), kind(attention.out)
        self._widen, self._narrow = kind(block.widen), kind(block.narrow)

    def __call__(self, x: Tensor, asked: int | None = None) -> Tensor:
        """Return what becomes of the tokens, or of the first few, if only those are asked for. `x` is used up.

        The last token only keeps the place of the learned key and value.
        *Shape:* (clips, tokens, width) to the same, or to (clips, asked, width).
        """
        query_key_value = self._query_key_value(self._norm_1(x)).bfloat16()
        query_key_value[:, -1, -len(self._learned_key_value) :] = self._learned_key_value
        x = x[:, :asked].contiguous()
        seen = torch.empty_like(x, dtype=torch.bfloat16)
        for clip, into in zip(query_key_value, seen, strict=True):
            self._attend(clip, into)
        x = self._out(seen.to(x.dtype), add=x)
        return self._narrow(self._widen(self._norm_2(x), gelu=True), add=x)

    def _attend(self, query_key_value: Tensor, into: Tensor) -> None:
        """Attend in plain products: for so few tokens they are quicker than torch's own attention, in bfloat16.

        *Shape:* (tokens, 3 width) to what is seen, (asked, width).
        """
        by_head = query_key_value.unflatten(1, (3, self._heads, -1)).permute(1, 2, 0, 3)
        query, key, value = by_head.contiguous()
        query = query[:, : len(into)] * query.shape[-1] ** -0.5
        weights = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
        torch.bmm(weights, value, out=into.unflatten(1, (self._heads, -1)).transpose(0, 1))


class FastAudioTower:
    """The tower; it takes the blocks of the one that it is made of, and leaves that without them."""

    def __init__(self, tower: AudioTower, kind: type[LinearLayer]) -> None:
        self._blocks = [FastBlock(block, kind) for block in tower.blocks]
        tower.blocks = nn.Sequential()
        self._tower = tower.to(kind.dtype)
        self._clips_per_call = kind.clips_per_call

    def __call__(self, clips: Tensor) -> Tensor:
        """*Shape:* (batch, 1, bands, frames) to (batch, dim), not normalised."""
        threads = torch.get_num_threads()
        workers = min(threads, len(clips))
        rounds = -(-len(clips) // (workers * CLIPS_PER_STEP))
        parts = clips.to(self._tower.class_token.dtype).tensor_split(workers * rounds)
        if workers == 1:
            return torch.cat([self._encode_part(part) for part in parts])
        try:
            # how many threads an operator may use is each thread's own
            with ThreadPoolExecutor(workers, "hearing", torch.set_num_threads, (threads // workers,)) as pool:
                return torch.cat(list(pool.map(self._encode_part, parts)))
        finally:
            torch.set_num_threads(threads)  # but new threads begin with what was said last

    def _encode_part(self, clips: Tensor) -> Tensor:
        """*Shape:* (few, 1, bands, frames) to (few, dim)."""
        *most, last = self._blocks
        with torch.inference_mode():  # each thread has to be told
            each = [F.pad(self._tower.tokens(some), (0, 0, 0, 1)) for some in clips.split(self._clips_per_call)]
            for block in most:
                each = [block(x) for x in each]
            return torch.cat([self._tower.project(last(x, 1)) for x in each])


LAYER_TYPES: dict[Any, Any] = {torch.bfloat16: PackedLinear, torch.int8: Int8Linear}


def prepare_tower(tower: AudioTower, dtype: Any) -> Callable[[Tensor], Tensor]:
    """Make a tower ready to run where it lies; it is used up by that. int8 becomes bfloat16 where there is none."""
    on_processor = tower.class_token.device.type == "cpu"
    for wanted in dict.fromkeys((dtype, torch.bfloat16) if dtype is torch.int8 else (dtype,)):
        kind = LAYER_TYPES.get(wanted)
        if kind is not None and on_processor and is_supported(kind):
            return FastAudioTower(tower, kind)
    plain = tower.to(torch.bfloat16 if dtype is torch.int8 else dtype)
    return lambda clips: plain(clips.to(plain.class_token.dtype))


@cache
def is_supported(kind: type[LinearLayer]) -> bool:
    """Whether this torch has the operators of a kind of layer, and whether they give what they should."""
    random = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 32, device="meta").to_empty(device="cpu").requires_grad_(False)
    for each in layer.parameters():
        each.copy_(torch.randn(each.shape, generator=random))
    x, add = (torch.randn(1, 5, width, generator=random).to(kind.dtype) for width in (64, 32))
    exact = F.linear(x.float(), layer.weight, layer.bias)
    try:
        ours = kind(layer)
        pairs = ((ours(x), exact), (ours(x, gelu=True), F.gelu(exact)), (ours(x, add=add.clone()), exact + add))
    except (AttributeError, RuntimeError, TypeError, ValueError):  # whatever another torch says to such calls
        return False
    return all(
        float((found - wanted).abs().max()) <= MAX_RELATIVE_ERROR * float(wanted.abs().max()) for found, wanted in pairs
    )
