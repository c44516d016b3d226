"""ImageBind's audio tower (Girdhar et al., 2023): a vision transformer that looks at log-mel clips.

A clip is cut into overlapping patches, which become tokens; a class token goes before them; blocks of attention and
perceptron follow; the class token, through a head, is the sound's place in the space.
"""

# mypy: disallow-subclassing-any=False
# Types or none: torch is an extra.

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AudioTowerConfig:
    """The shape of a tower; the defaults are those of the published one."""

    width: int = 768
    blocks: int = 12
    heads: int = 12
    dim: int = 1024
    """Of the space."""
    bands: int = 128
    frames: int = 204
    kernel: int = 16
    stride: int = 10
    """Less than the kernel: patches overlap."""
    ratio: int = 4
    """How much wider than its input a perceptron is."""
    stem_eps: float = 1e-5
    eps: float = 1e-6
    """Of the LayerNorms in blocks and head."""

    @property
    def patches(self) -> int:
        """Of a clip: 12 up the frequencies times 19 along the time, in the published tower."""
        up, along = ((side - self.kernel) // self.stride + 1 for side in (self.bands, self.frames))
        return up * along


PUBLISHED_CONFIG = AudioTowerConfig()


class Attention(nn.Module):
    """Attention among tokens, and to one learned token more that is there for all to look at."""

    def __init__(self, shape: AudioTowerConfig) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.more_key = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.more_value = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.out = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, asked: int | None = None) -> Tensor:
        """*Shape:* (batch, tokens, width) to the same, or to (batch, asked, width)."""
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        query = query[:, :asked]
        key = torch.cat([key, self.more_key.expand(len(x), -1, -1)], dim=1)
        value = torch.cat([value, self.more_value.expand(len(x), -1, -1)], dim=1)
        seen = F.scaled_dot_product_attention(*(self._by_head(each) for each in (query, key, value)))
        return self.out(seen.transpose(1, 2).flatten(2))

    def _by_head(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, tokens, width) to (batch, heads, tokens, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """Attention, then a perceptron; each looks at its input normalised, and adds to it."""

    def __init__(self, shape: AudioTowerConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.attention = Attention(shape)
        self.norm_2 = nn.LayerNorm(shape.width, eps=shape.eps)
        self.widen = nn.Linear(shape.width, shape.ratio * shape.width)
        self.narrow = nn.Linear(shape.ratio * shape.width, shape.width)

    def forward(self, x: Tensor, asked: int | None = None) -> Tensor:
        """Return what becomes of the tokens, or of the first few, if only those are asked for.

        *Shape:* (batch, tokens, width) to the same, or to (batch, asked, width).
        """
        x = x[:, :asked] + self.attention(self.norm_1(x), asked)
        return x + self.narrow(F.gelu(self.widen(self.norm_2(x))))


class AudioTower(nn.Module):
    """A clip of sound in the space."""

    def __init__(self, shape: AudioTowerConfig = PUBLISHED_CONFIG) -> None:
        super().__init__()
        self.shape = shape
        self.stem = nn.Conv2d(1, shape.width, shape.kernel, stride=shape.stride, bias=False)
        self.stem_norm = nn.LayerNorm(shape.width, eps=shape.stem_eps)
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.places = nn.Parameter(torch.zeros(1, shape.patches + 1, shape.width))
        self.blocks = nn.Sequential(*(Block(shape) for _ in range(shape.blocks)))
        self.norm = nn.LayerNorm(shape.width, eps=shape.eps)
        self.head = nn.Linear(shape.width, shape.dim, bias=False)
        self.register_buffer("log_scale", torch.tensor(20.0).log())

    def tokens(self, clips: Tensor) -> Tensor:
        """Cut clips into patches, lowest frequencies first, and give each its place.

        *Shape:* (batch, 1, bands, frames) to (batch, 1 + patches, width).
        """
        patches = self.stem_norm(self.stem(clips).flatten(2).transpose(1, 2))
        return torch.cat([self.class_token.expand(len(clips), -1, -1), patches], dim=1) + self.places

    def project(self, tokens: Tensor) -> Tensor:
        """Return the class token's place in the space. *Shape:* (batch, tokens, width) to (batch, dim)."""
        return self.head(self.norm(tokens[:, 0]))

    def forward(self, clips: Tensor) -> Tensor:
        """*Shape:* (batch, 1, bands, frames) to (batch, dim), not normalised."""
        *most, last = self.blocks
        tokens = self.tokens(clips)
        for block in most:
            tokens = block(tokens)
        return self.project(last(tokens, 1))  # nobody looks at the others

    def normalise_and_scale(self, places: Tensor) -> Tensor:
        """Bring places to one length, the scale that the tower was trained with. *Shape:* (..., dim) to the same."""
        return self.log_scale.exp() * F.normalize(places, dim=-1)

    def embed_recordings(self, clips: Tensor) -> Tensor:
        """Return the mean of each recording's scaled clips, as the reference does: shorter than the scale.

        *Shape:* (batch, clips, 1, bands, frames) to (batch, dim).
        """
        return self.normalise_and_scale(self(clips.flatten(0, 1))).unflatten(0, clips.shape[:2]).mean(dim=1)


# The published checkpoint -----------------------------------------------------------------------------------------

_NAMES = {
    r"modality_preprocessors\.audio\.cls_token": "class_token",
    r"modality_preprocessors\.audio\.rgbt_stem\.proj\.": "stem.",
    r"modality_preprocessors\.audio\.rgbt_stem\.norm_layer\.": "stem_norm.",
    r"modality_preprocessors\.audio\.pos_embedding_helper\.pos_embed": "places",
    r"modality_trunks\.audio\.blocks\.(\d+)\.attn\.in_proj_": r"blocks.\1.attention.query_key_value.",
    r"modality_trunks\.audio\.blocks\.(\d+)\.attn\.bias_k": r"blocks.\1.attention.more_key",
    r"modality_trunks\.audio\.blocks\.(\d+)\.attn\.bias_v": r"blocks.\1.attention.more_value",
    r"modality_trunks\.audio\.blocks\.(\d+)\.attn\.out_proj\.": r"blocks.\1.attention.out.",
    r"modality_trunks\.audio\.blocks\.(\d+)\.mlp\.fc1\.": r"blocks.\1.widen.",
    r"modality_trunks\.audio\.blocks\.(\d+)\.mlp\.fc2\.": r"blocks.\1.narrow.",
    r"modality_trunks\.audio\.blocks\.(\d+)\.(norm_[12])\.": r"blocks.\1.\2.",
    r"modality_heads\.audio\.0\.": "norm.",
    r"modality_heads\.audio\.2\.": "head.",
    r"modality_postprocessors\.audio\.1\.log_logit_scale": "log_scale",
}
"""How the published checkpoint calls what this file calls otherwise."""


def is_audio_entry(name: str) -> bool:
    """Whether the checkpoint's entry of this name belongs to the audio tower."""
    return re.match(r"modality_(preprocessors|trunks|heads|postprocessors)\.audio\.", name) is not None


def from_published_names(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the audio entries of a checkpoint under this tower's names."""
    return {_renamed(name): tensor for name, tensor in checkpoint.items() if is_audio_entry(name)}


def _renamed(name: str) -> str:
    for theirs, ours in _NAMES.items():
        if re.match(theirs, name):
            return re.sub(theirs, ours, name, count=1)
    return name


def build_tower(checkpoint: Mapping[str, Tensor], shape: AudioTowerConfig = PUBLISHED_CONFIG) -> AudioTower:
    """Build a tower and give it a checkpoint's weights, in evaluation mode.

    Raises `RuntimeError` where entries are missing, unknown or of another shape.
    """
    with torch.device("meta"):
        tower = AudioTower(shape)
    weights = from_published_names(checkpoint)
    tower.load_state_dict(weights, assign=True)
    tower.eval().requires_grad_(False)
    return tower
