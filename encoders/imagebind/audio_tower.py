"""ImageBind's audio tower (Girdhar et al., 2023): a vision transformer over log-mel clips.

A clip is cut into overlapping patches, each of which becomes a token. A class token is put before them. Blocks of
attention and MLP follow, and a head projects the class token into the space.
"""

# mypy: disallow-subclassing-any=False
# torch is an extra: without it installed, its classes are untyped.

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, slots=True)
class AudioTowerConfig:
    """The dimensions of a tower; the defaults are those of the published tower.

    The field names are the keys of `audio` in imagebind_config.json.
    """

    width: int = 768
    blocks: int = 12
    heads: int = 12
    dim: int = 1024
    """Dimension of the space."""
    bands: int = 128
    frames: int = 204
    kernel: int = 16
    stride: int = 10
    """Smaller than the kernel, so that patches overlap."""
    ratio: int = 4
    """Width of the hidden layer of the MLPs, as a multiple of `width`."""
    stem_eps: float = 1e-5
    eps: float = 1e-6
    """Epsilon of the LayerNorms in blocks and head."""

    @property
    def patches(self) -> int:
        """Number of patches of a clip: 12 along frequency times 19 along time in the published tower."""
        rows, columns = ((side - self.kernel) // self.stride + 1 for side in (self.bands, self.frames))
        return rows * columns


PUBLISHED_CONFIG = AudioTowerConfig()


class Attention(nn.Module):
    """Multi-head self-attention with one additional, learned key and value (`add_bias_kv` in torch)."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.query_key_value = nn.Linear(config.width, 3 * config.width)
        self.more_key = nn.Parameter(torch.zeros(1, 1, config.width))
        self.more_value = nn.Parameter(torch.zeros(1, 1, config.width))
        self.out = nn.Linear(config.width, config.width)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """Attend from all tokens, or only from the first `queries` tokens, to all tokens.

        *Shape:* (batch, tokens, width) to the same, or to (batch, queries, width).
        """
        query, key, value = self.query_key_value(x).chunk(3, dim=-1)
        query = query[:, :queries]
        key = torch.cat([key, self.more_key.expand(len(x), -1, -1)], dim=1)
        value = torch.cat([value, self.more_value.expand(len(x), -1, -1)], dim=1)
        attended = F.scaled_dot_product_attention(*(self._split_heads(part) for part in (query, key, value)))
        return self.out(attended.transpose(1, 2).flatten(2))

    def _split_heads(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, tokens, width) to (batch, heads, tokens, width / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block: attention, then an MLP, both residual."""

    def __init__(self, config: AudioTowerConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.width, eps=config.eps)
        self.attention = Attention(config)
        self.norm_2 = nn.LayerNorm(config.width, eps=config.eps)
        self.widen = nn.Linear(config.width, config.ratio * config.width)
        self.narrow = nn.Linear(config.ratio * config.width, config.width)

    def forward(self, x: Tensor, queries: int | None = None) -> Tensor:
        """Transform all tokens, or return only the first `queries` tokens, transformed.

        *Shape:* (batch, tokens, width) to the same, or to (batch, queries, width).
        """
        x = x[:, :queries] + self.attention(self.norm_1(x), queries)
        return x + self.narrow(F.gelu(self.widen(self.norm_2(x))))


class AudioTower(nn.Module):
    """Embeds clips of sound."""

    def __init__(self, config: AudioTowerConfig = PUBLISHED_CONFIG) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(1, config.width, config.kernel, stride=config.stride, bias=False)
        self.stem_norm = nn.LayerNorm(config.width, eps=config.stem_eps)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.places = nn.Parameter(torch.zeros(1, config.patches + 1, config.width))
        self.blocks = nn.Sequential(*(Block(config) for _ in range(config.blocks)))
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
        self.head = nn.Linear(config.width, config.dim, bias=False)
        self.register_buffer("log_scale", torch.tensor(20.0).log())

    def tokens(self, clips: Tensor) -> Tensor:
        """Cut clips into patches, lowest frequencies first, and add the positional embedding.

        *Shape:* (batch, 1, bands, frames) to (batch, 1 + patches, width).
        """
        patches = self.stem_norm(self.stem(clips).flatten(2).transpose(1, 2))
        return torch.cat([self.class_token.expand(len(clips), -1, -1), patches], dim=1) + self.places

    def project(self, tokens: Tensor) -> Tensor:
        """Project the class token into the space. *Shape:* (batch, tokens, width) to (batch, dim)."""
        return self.head(self.norm(tokens[:, 0]))

    def forward(self, clips: Tensor) -> Tensor:
        """*Shape:* (batch, 1, bands, frames) to (batch, dim), not normalised."""
        *blocks, last = self.blocks
        tokens = self.tokens(clips)
        for block in blocks:
            tokens = block(tokens)
        return self.project(last(tokens, 1))  # the head uses the class token only

    def normalise_and_scale(self, vectors: Tensor) -> Tensor:
        """Scale vectors to the length that the tower was trained with. *Shape:* (..., dim) to the same."""
        return self.log_scale.exp() * F.normalize(vectors, dim=-1)

    def embed_recordings(self, clips: Tensor) -> Tensor:
        """Return the mean of each recording's scaled clips, as the reference does.

        The mean is not normalised again, so it is shorter than the scale.

        *Shape:* (batch, clips, 1, bands, frames) to (batch, dim).
        """
        return self.normalise_and_scale(self(clips.flatten(0, 1))).unflatten(0, clips.shape[:2]).mean(dim=1)


# The published checkpoint -----------------------------------------------------------------------------------------

_OWN_NAMES = {
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
"""Patterns of names in the published checkpoint -> the names in this file."""


def is_audio_entry(name: str) -> bool:
    """Whether the checkpoint's entry of this name belongs to the audio tower."""
    return re.match(r"modality_(preprocessors|trunks|heads|postprocessors)\.audio\.", name) is not None


def from_published_names(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the audio entries of a checkpoint under this tower's names."""
    return {_renamed(name): tensor for name, tensor in checkpoint.items() if is_audio_entry(name)}


def _renamed(name: str) -> str:
    for published, own in _OWN_NAMES.items():
        if re.match(published, name):
            return re.sub(published, own, name, count=1)
    return name


def build_tower(checkpoint: Mapping[str, Tensor], config: AudioTowerConfig = PUBLISHED_CONFIG) -> AudioTower:
    """Build a tower with the weights of a checkpoint, in evaluation mode.

    Raises `RuntimeError` if entries are missing, unknown or of another shape.
    """
    with torch.device("meta"):
        tower = AudioTower(config)
    weights = from_published_names(checkpoint)
    tower.load_state_dict(weights, assign=True)
    tower.eval().requires_grad_(False)
    return tower
