"""ImageBind's audio tower optimised for CPUs: the same function in bfloat16 or int8, with fused operators.

Weights are packed once in the layout of the CPU's matrix products, and what follows a product (bias, GELU, the residual
sum) is fused with it. Each thread takes whole clips instead of a part of every operator, so that no thread waits for
another. In int8, weights have one scale per output channel and activations one per clip, so that a clip's result does
not depend on its batch; outlier channels are equalised first.

This calls operators that torch provides for its own compiler. Where they are missing or give wrong results, the plain
tower is used.
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
"""Clips that a thread takes through one block before the next, while the block's weights are in the CPU's caches."""
MAX_RELATIVE_ERROR = 0.05
"""Largest error of a trial product, relative to the product's largest value."""
_UNSIGNED_LEVELS, _SIGNED_LEVELS = 255, 127
_MAX_NORMALISED_VALUE = 4.0
"""Expected largest magnitude of a normalised activation, in standard deviations."""
_MIN_MAGNITUDE = 1e-6


class PackedLinear:
    """A linear layer in bfloat16, with its weights packed for the CPU."""

    dtype = torch.bfloat16
    clips_per_call = CLIPS_PER_STEP
    """Clips multiplied in one call."""

    def __init__(self, layer: nn.Linear) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(self.dtype).contiguous(), None)
        self._bias = layer.bias.to(self.dtype)

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """Apply the layer, with GELU or a residual sum. `add` may be overwritten.

        *Shape:* (clips, tokens, width) to (clips, tokens, output width).
        """
        operator = torch.ops.mkldnn._linear_pointwise
        if add is not None:
            return operator.binary(x, add, self._weight, self._bias, "add")
        return operator.default(x, self._weight, self._bias, "gelu" if gelu else "none", [], "none")


class Int8Linear:
    """A linear layer in int8: weights with one scale per output channel, activations with one per call."""

    dtype = torch.float32
    """Of the activations between the products."""
    clips_per_call = 1
    """One, so that each clip has its own scale."""

    def __init__(self, layer: nn.Linear) -> None:
        weight = layer.weight.float()
        scale = weight.abs().amax(dim=1).clamp_min(1e-12) / _SIGNED_LEVELS
        levels = (weight / scale[:, None]).round().to(torch.int8)
        zero = torch.zeros(len(weight), dtype=torch.int32)
        self._weight = (torch.ops.onednn.qlinear_prepack(levels, None), scale, zero)
        self._bias = layer.bias.float()

    def __call__(self, x: Tensor, *, gelu: bool = False, add: Tensor | None = None) -> Tensor:
        """Apply the layer, with GELU or a residual sum. `add` may be overwritten.

        *Shape:* (clips, tokens, width) to (clips, tokens, output width).
        """
        operator, quantised = torch.ops.onednn.qlinear_pointwise, _quantise(x.float())
        unquantised = (1.0, 0)  # scale and zero point of the float32 output
        if add is not None:
            summed = (*quantised, *self._weight, add, self._bias, *unquantised, torch.float32, *unquantised)
            return operator.binary(*summed, "sum", 1.0, "none", [], "none")
        arguments = (*quantised, *self._weight, self._bias, *unquantised, torch.float32)
        return operator.default(*arguments, "gelu" if gelu else "none", [], "none")


def _quantise(x: Tensor) -> tuple[Tensor, float, int]:
    """Quantise to uint8 with one scale: return the levels, the scale, and the level of zero."""
    low, high = (each.item() for each in torch.aminmax(x))
    low, high = min(low, 0.0), max(high, 1e-12)
    scale = (high - low) / _UNSIGNED_LEVELS
    zero = round(-low / scale)
    quantised = torch.quantize_per_tensor(x, scale, zero, torch.quint8)
    # `quantised.int_repr()` would copy the levels
    return torch.empty(0, dtype=torch.uint8).set_(quantised.untyped_storage(), 0, quantised.shape), scale, zero


LinearLayer = PackedLinear | Int8Linear


def balance_channels(norm: nn.LayerNorm, layer: nn.Linear) -> None:
    """Equalise, channel by channel, the magnitudes of a norm's output and of the weights that multiply it.

    An outlier channel would leave few int8 levels for the others. The factors are powers of two, so that the product in
    floats stays exactly the same.
    """
    activations = norm.bias.abs() + _MAX_NORMALISED_VALUE * norm.weight.abs()
    weights = layer.weight.abs().amax(dim=0)
    factors = (activations.clamp_min(_MIN_MAGNITUDE) / weights.clamp_min(_MIN_MAGNITUDE)).sqrt().log2().round().exp2()
    norm.weight, norm.bias, layer.weight = (
        nn.Parameter(balanced, requires_grad=False)
        for balanced in (norm.weight / factors, norm.bias / factors, layer.weight * factors)
    )


class FastBlock:
    """`Block` with fast linear layers. It takes the layers of the block that it is built from."""

    def __init__(self, block: Block, layer_type: type[LinearLayer]) -> None:
        attention = block.attention
        balance_channels(block.norm_1, attention.query_key_value)
        balance_channels(block.norm_2, block.widen)
        self._heads = attention.heads
        self._norm_1, self._norm_2 = block.norm_1.to(layer_type.dtype), block.norm_2.to(layer_type.dtype)
        self._learned_key_value = torch.stack([attention.more_key, attention.more_value]).flatten().bfloat16()
        self._query_key_value, self._out = layer_type(attention.query_key_value), layer_type(attention.out)
        self._widen, self._narrow = layer_type(block.widen), layer_type(block.narrow)

    def __call__(self, x: Tensor, queries: int | None = None) -> Tensor:
        """Transform all tokens, or return only the first `queries` tokens, transformed. `x` is overwritten.

        The last token is padding: its key and value are replaced by the learned ones.
        *Shape:* (clips, tokens, width) to the same, or to (clips, queries, width).
        """
        query_key_value = self._query_key_value(self._norm_1(x)).bfloat16()
        query_key_value[:, -1, -len(self._learned_key_value) :] = self._learned_key_value
        x = x[:, :queries].contiguous()
        attended = torch.empty_like(x, dtype=torch.bfloat16)
        for clip, out in zip(query_key_value, attended, strict=True):
            self._attend(clip, out)
        x = self._out(attended.to(x.dtype), add=x)
        return self._narrow(self._widen(self._norm_2(x), gelu=True), add=x)

    def _attend(self, query_key_value: Tensor, out: Tensor) -> None:
        """Write the attention of one clip to `out`.

        Plain products in bfloat16 are faster than torch's own attention for this number of tokens (about 230).
        *Shape:* (tokens, 3 width) to (queries, width).
        """
        by_head = query_key_value.unflatten(1, (3, self._heads, -1)).permute(1, 2, 0, 3)
        query, key, value = by_head.contiguous()
        query = query[:, : len(out)] * query.shape[-1] ** -0.5
        weights = torch.bmm(query, key.transpose(1, 2)).softmax(dim=-1)
        torch.bmm(weights, value, out=out.unflatten(1, (self._heads, -1)).transpose(0, 1))


class FastAudioTower:
    """`AudioTower` with fast blocks. It takes the blocks of the tower that it is built from and leaves that empty."""

    def __init__(self, tower: AudioTower, layer_type: type[LinearLayer]) -> None:
        self._blocks = [FastBlock(block, layer_type) for block in tower.blocks]
        tower.blocks = nn.Sequential()
        self._tower = tower.to(layer_type.dtype)
        self._clips_per_call = layer_type.clips_per_call

    def __call__(self, clips: Tensor) -> Tensor:
        """*Shape:* (batch, 1, bands, frames) to (batch, dim), not normalised."""
        threads = torch.get_num_threads()
        workers = min(threads, len(clips))
        rounds = -(-len(clips) // (workers * CLIPS_PER_STEP))
        parts = clips.to(self._tower.class_token.dtype).tensor_split(workers * rounds)
        if workers == 1:
            return torch.cat([self._encode_part(part) for part in parts])
        try:
            # torch keeps the number of threads of an operator per thread
            with ThreadPoolExecutor(workers, "audio-tower", torch.set_num_threads, (threads // workers,)) as pool:
                return torch.cat(list(pool.map(self._encode_part, parts)))
        finally:
            torch.set_num_threads(threads)  # new threads start with the number that was set last

    def _encode_part(self, clips: Tensor) -> Tensor:
        """*Shape:* (clips, 1, bands, frames) to (clips, dim)."""
        *blocks, last = self._blocks
        with torch.inference_mode():  # inference mode is per thread
            batches = [F.pad(self._tower.tokens(part), (0, 0, 0, 1)) for part in clips.split(self._clips_per_call)]
            for block in blocks:
                batches = [block(x) for x in batches]
            return torch.cat([self._tower.project(last(x, 1)) for x in batches])


LAYER_TYPES: dict[Any, Any] = {torch.bfloat16: PackedLinear, torch.int8: Int8Linear}


def prepare_tower(tower: AudioTower, dtype: Any) -> Callable[[Tensor], Tensor]:
    """Return the fastest form of a tower on its device in a dtype. The given tower is consumed.

    int8 becomes bfloat16 where it is not supported.
    """
    on_cpu = tower.class_token.device.type == "cpu"
    for candidate in dict.fromkeys((dtype, torch.bfloat16) if dtype is torch.int8 else (dtype,)):
        layer_type = LAYER_TYPES.get(candidate)
        if layer_type is not None and on_cpu and is_supported(layer_type):
            return FastAudioTower(tower, layer_type)
    plain = tower.to(torch.bfloat16 if dtype is torch.int8 else dtype)
    return lambda clips: plain(clips.to(plain.class_token.dtype))


@cache
def is_supported(layer_type: type[LinearLayer]) -> bool:
    """Whether this torch has the operators of a layer type, and they give correct results."""
    random = torch.Generator().manual_seed(0)
    layer = nn.Linear(64, 32, device="meta").to_empty(device="cpu").requires_grad_(False)
    for parameter in layer.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=random))
    x, add = (torch.randn(1, 5, width, generator=random).to(layer_type.dtype) for width in (64, 32))
    exact = F.linear(x.float(), layer.weight, layer.bias)
    try:
        fast = layer_type(layer)
        pairs = ((fast(x), exact), (fast(x, gelu=True), F.gelu(exact)), (fast(x, add=add.clone()), exact + add))
    except (AttributeError, RuntimeError, TypeError, ValueError):  # raised by versions of torch without these operators
        return False
    return all(
        float((found - expected).abs().max()) <= MAX_RELATIVE_ERROR * float(expected.abs().max())
        for found, expected in pairs
    )
