"""The three towers of the pocket space, as torch modules: a picture, a text or a sound in, a place in the space out.

The picture tower is a RegNet (Radosavovic et al., 2020), the sound tower the same network over a spectrogram with
attention over time instead of a mean, the text tower a small transformer over word pieces.
"""

# mypy: disallow-subclassing-any=False
# Types or none: torch is an extra.

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

DIM = 256
"""Of the space."""
IMAGE_FEATURES, AUDIO_FEATURES = 1280, 1024
"""Features of a picture and of a sound before their heads."""


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """The shape of a convolutional trunk."""

    channels: int
    """Of the input: 3 of a picture, 1 of a spectrogram."""
    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    group: int
    """Channels that one group of a 3x3 convolution mixes."""


IMAGE_TRUNK = TrunkConfig(channels=3, stem=32, widths=(32, 64, 160, 384), depths=(1, 2, 7, 12), group=16)
"""RegNetX-400MF: 4.7 M parameters."""
AUDIO_TRUNK = TrunkConfig(channels=1, stem=24, widths=(32, 64, 160, 368), depths=(1, 2, 5, 7), group=16)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The shape of the text tower."""

    pieces: int
    table: int = 128
    """Width of the table of word pieces; it holds most of the parameters."""
    width: int = 256
    layers: int = 2
    heads: int = 4
    length: int = 48
    """The longest text in pieces; what is longer is cut."""


class BottleneckBlock(nn.Module):
    """Squeeze, mix in groups, widen, and add to what came in."""

    def __init__(self, before: int, after: int, stride: int, group: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(before, after, 1),
            nn.ReLU(inplace=True),
            *_convolution(after, after, 3, stride=stride, groups=after // group),
            nn.ReLU(inplace=True),
            *_convolution(after, after, 1),
        )
        nn.init.zeros_(self.path[-1].weight)  # every block begins as the identity
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(before, after, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, before, h, w) to (batch, after, h / stride, w / stride)."""
        return F.relu(self.shortcut(x) + self.path(x))


class ConvTrunk(nn.Module):
    """A stem and four stages, each halving the picture."""

    def __init__(self, shape: TrunkConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_convolution(shape.channels, shape.stem, 3, stride=2), nn.ReLU(inplace=True)]
        before = shape.stem
        for width, depth in zip(shape.widths, shape.depths, strict=True):
            for place in range(depth):
                layers.append(BottleneckBlock(before, width, 2 if place == 0 else 1, shape.group))
                before = width
        self.layers = nn.Sequential(*layers)
        self.width, self.width_before = before, shape.widths[-2]
        self._last = shape.depths[-1]

    def last_stages(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the last two stages see. *Shape:* (n, channels, h, w) to (n, width, h / 16, w / 16), / 32."""
        before = self.layers[: -self._last](x)
        return before, self.layers[-self._last :](before)

    def forward(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, channels, h, w) to (batch, width, h / 32, w / 32)."""
        return self.layers(x)


class Head(nn.Module):
    """From what is seen or read to the space: a straight line and a bend."""

    def __init__(self, width: int, *, hidden: int = 256, drop: float = 0.0, dim: int = DIM) -> None:
        super().__init__()
        self.through = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Dropout(drop), nn.Linear(hidden, dim))
        self.straight = nn.Linear(width, dim, bias=False)
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def forward(self, features: Tensor) -> Tensor:
        """*Shape:* (n, width) to (n, dim), not normalised."""
        x = (features - self.mean) / self.scale
        return self.through(x) + self.straight(x)


class ImageTower(nn.Module):
    """A picture in the space."""

    def __init__(self, shape: TrunkConfig = IMAGE_TRUNK, dim: int = DIM) -> None:
        super().__init__()
        self.trunk = ConvTrunk(shape)
        self.widen = nn.Sequential(*_convolution(self.trunk.width, IMAGE_FEATURES, 1), nn.ReLU(inplace=True))
        self.head = Head(IMAGE_FEATURES, dim=dim)

    def features(self, pixels: Tensor) -> Tensor:
        """*Shape:* (batch, 3, side, side), centred, to (batch, SEEN)."""
        return self.widen(self.trunk(pixels)).mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """*Shape:* (batch, 3, side, side) to (batch, dim), not normalised."""
        return self.head(self.features(pixels))


class AttentionPoolingHead(nn.Module):
    """From the moments of a sound to the space: the moments that matter weigh more."""

    def __init__(self, width: int = AUDIO_FEATURES, dim: int = DIM, *, drop: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.weigh = nn.Linear(width, 1)
        nn.init.zeros_(self.weigh.weight)
        self.head = Head(width, drop=drop, dim=dim)

    def features(self, moments: Tensor) -> Tensor:
        """*Shape:* (batch, moments, width) to (batch, width)."""
        shares = self.weigh((moments - self.head.mean) / self.head.scale).softmax(dim=1)
        return (moments * shares).sum(dim=1)

    def forward(self, moments: Tensor) -> Tensor:
        """*Shape:* (batch, moments, width) to (batch, dim), not normalised."""
        return self.head(self.features(moments))


class AudioTower(nn.Module):
    """A stretch of sound in the space."""

    def __init__(self, shape: TrunkConfig = AUDIO_TRUNK, dim: int = DIM, *, width: int = AUDIO_FEATURES) -> None:
        super().__init__()
        self.trunk = ConvTrunk(shape)
        self.widen = nn.Sequential(*_convolution(self.trunk.width, width, 1), nn.ReLU(inplace=True))
        self.listening = AttentionPoolingHead(width, dim)

    def frame_features(self, spectra: Tensor) -> Tensor:
        """*Shape:* (batch, frames, bands) to (batch, frames / 32, width)."""
        return self.widen(self.trunk(spectra[:, None])).mean(dim=3).transpose(1, 2)

    def features(self, spectra: Tensor) -> Tensor:
        """*Shape:* (batch, frames, bands) to (batch, width)."""
        return self.listening.features(self.frame_features(spectra))

    @property
    def width(self) -> int:
        """How many features there are before the head."""
        return self.listening.width

    @property
    def head(self) -> nn.Module:
        """From features to the space."""
        return self.listening.head

    def forward(self, spectra: Tensor) -> Tensor:
        """*Shape:* (batch, frames, bands) to (batch, dim), not normalised."""
        return self.listening(self.frame_features(spectra))


class TextTower(nn.Module):
    """A text in the space."""

    def __init__(self, shape: TextConfig, dim: int = DIM) -> None:
        super().__init__()
        self.table = nn.Embedding(shape.pieces, shape.table, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.5)
        self.widen = nn.Linear(shape.table, shape.width)
        self.places = nn.Parameter(torch.zeros(shape.length, shape.width))
        self.layers = nn.ModuleList(TransformerLayer(shape.width, shape.heads) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, dim)

    def forward(self, pieces: Tensor) -> Tensor:
        """*Shape:* (batch, length) of numbers, 0 where nothing is, to (batch, dim), not normalised."""
        there = pieces != 0
        x = self.widen(self.table(pieces)) + self.places[: pieces.shape[1]]
        for layer in self.layers:
            x = layer(x, there)
        weights = there[:, :, None].to(x.dtype)
        mean = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return self.head(mean)


class TransformerLayer(nn.Module):
    """Attention, then a layer of neurons; each adds to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.neurons = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """*Shape:* (batch, length, width) and (batch, length) to (batch, length, width)."""
        x = x + self._attend(self.before(x), there)
        return x + self.neurons(self.between(x))

    def _attend(self, x: Tensor, there: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.ask(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=there[:, None, None, :])
        return self.answer(seen.transpose(1, 2).reshape(batch, length, width))


SMALL_AUDIO_TRUNK = TrunkConfig(channels=1, stem=16, widths=(16, 32, 64), depths=(1, 1, 1), group=16)
"""Learns within a minute what can be learnt within a minute."""


def build_audio_tower(dim: int) -> AudioTower:
    """Build the pocket space's sound tower for a space of any dimension."""
    return AudioTower(AUDIO_TRUNK, dim)


def build_small_audio_tower(dim: int) -> AudioTower:
    """Build a sound tower for trials and tests."""
    return AudioTower(SMALL_AUDIO_TRUNK, dim, width=128)


def build_tower(kind: str, weights: dict[str, Tensor]) -> nn.Module:
    """Build the tower of a modality as its weights are shaped."""
    if kind == "text":
        pieces, table = weights["table.weight"].shape
        length, width = weights["places"].shape
        return TextTower(TextConfig(pieces, table, width, length=length))
    return ImageTower() if kind == "image" else AudioTower()


def fuse_batch_norms(tower: nn.Module) -> nn.Module:
    """Make a tower ready to be used: every norm becomes part of the convolution before it. It cannot learn any more."""
    for layers in [each for each in tower.modules() if isinstance(each, nn.Sequential)]:
        for place, (layer, norm) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[place], layers[place + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    return tower.to(memory_format=torch.channels_last)


def _convolution(
    before: int, after: int, side: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    layer = nn.Conv2d(before, after, side, stride=stride, padding=side // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer, nn.BatchNorm2d(after)
