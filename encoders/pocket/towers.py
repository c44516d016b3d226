"""The three towers of the pocket space as torch modules: they embed images, texts and sounds.

The image tower is a RegNet (Radosavovic et al., 2020). The audio tower is the same network over a spectrogram, with
attention pooling over time instead of a mean. The text tower is a small transformer over word pieces.

The names of submodules and parameters are those in the weight files. `listening` is the audio tower's pooling head.
In a transformer layer, `ask` projects to query, key and value, and `answer` is the output projection.
"""

# mypy: disallow-subclassing-any=False
# torch is an extra: without it installed, its classes are untyped.

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

DIM = 256
"""Dimension of the space."""
IMAGE_FEATURES, AUDIO_FEATURES = 1280, 1024
"""Number of features of an image and of a sound before their heads."""


@dataclass(frozen=True, slots=True)
class TrunkConfig:
    """The dimensions of a convolutional trunk."""

    channels: int
    """Channels of the input: 3 of an image, 1 of a spectrogram."""
    stem: int
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    group: int
    """Channels in one group of a 3x3 convolution."""


IMAGE_TRUNK = TrunkConfig(channels=3, stem=32, widths=(32, 64, 160, 384), depths=(1, 2, 7, 12), group=16)
"""RegNetX-400MF: 4.7 M parameters."""
AUDIO_TRUNK = TrunkConfig(channels=1, stem=24, widths=(32, 64, 160, 368), depths=(1, 2, 5, 7), group=16)


@dataclass(frozen=True, slots=True)
class TextConfig:
    """The dimensions of the text tower."""

    vocabulary: int
    """Number of word pieces."""
    table: int = 128
    """Width of the table of word pieces, which holds most of the parameters."""
    width: int = 256
    layers: int = 2
    heads: int = 4
    length: int = 48
    """Longest text in word pieces."""


class BottleneckBlock(nn.Module):
    """RegNet's residual block: a grouped 3x3 convolution between two 1x1 convolutions."""

    def __init__(self, width_in: int, width_out: int, stride: int, group: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            *_convolution(width_in, width_out, 1),
            nn.ReLU(inplace=True),
            *_convolution(width_out, width_out, 3, stride=stride, groups=width_out // group),
            nn.ReLU(inplace=True),
            *_convolution(width_out, width_out, 1),
        )
        nn.init.zeros_(self.path[-1].weight)  # so that every block begins as the identity
        same = width_in == width_out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(width_in, width_out, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, width_in, h, w) to (batch, width_out, h / stride, w / stride)."""
        return F.relu(self.shortcut(x) + self.path(x))


class ConvTrunk(nn.Module):
    """A stem and four stages; each halves height and width."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_convolution(config.channels, config.stem, 3, stride=2), nn.ReLU(inplace=True)]
        previous = config.stem
        for width, depth in zip(config.widths, config.depths, strict=True):
            for number in range(depth):
                layers.append(BottleneckBlock(previous, width, 2 if number == 0 else 1, config.group))
                previous = width
        self.layers = nn.Sequential(*layers)
        self.width, self.width_before = config.widths[-1], config.widths[-2]
        self._last_depth = config.depths[-1]

    def last_stages(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the feature maps of the last two stages.

        *Shape:* (batch, channels, h, w) to (batch, width_before, h / 16, w / 16) and (batch, width, h / 32, w / 32).
        """
        before = self.layers[: -self._last_depth](x)
        return before, self.layers[-self._last_depth :](before)

    def forward(self, x: Tensor) -> Tensor:
        """*Shape:* (batch, channels, h, w) to (batch, width, h / 32, w / 32)."""
        return self.layers(x)


class Head(nn.Module):
    """Projects features into the space: the sum of a linear layer (`straight`) and an MLP (`through`)."""

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
    """Embeds images."""

    def __init__(self, config: TrunkConfig = IMAGE_TRUNK, dim: int = DIM) -> None:
        super().__init__()
        self.trunk = ConvTrunk(config)
        self.widen = nn.Sequential(*_convolution(self.trunk.width, IMAGE_FEATURES, 1), nn.ReLU(inplace=True))
        self.head = Head(IMAGE_FEATURES, dim=dim)

    def features(self, pixels: Tensor) -> Tensor:
        """*Shape:* (batch, 3, side, side), standardised, to (batch, IMAGE_FEATURES)."""
        return self.widen(self.trunk(pixels)).mean(dim=(2, 3))

    def forward(self, pixels: Tensor) -> Tensor:
        """*Shape:* (batch, 3, side, side) to (batch, dim), not normalised."""
        return self.head(self.features(pixels))


class AttentionPoolingHead(nn.Module):
    """Projects the features of a sound's frames into the space, weighted by learned attention (`weigh`)."""

    def __init__(self, width: int = AUDIO_FEATURES, dim: int = DIM, *, drop: float = 0.0) -> None:
        super().__init__()
        self.width = width
        self.weigh = nn.Linear(width, 1)
        nn.init.zeros_(self.weigh.weight)
        self.head = Head(width, drop=drop, dim=dim)

    def features(self, frames: Tensor) -> Tensor:
        """*Shape:* (batch, frames, width) to (batch, width)."""
        weights = self.weigh((frames - self.head.mean) / self.head.scale).softmax(dim=1)
        return (frames * weights).sum(dim=1)

    def forward(self, frames: Tensor) -> Tensor:
        """*Shape:* (batch, frames, width) to (batch, dim), not normalised."""
        return self.head(self.features(frames))


class AudioTower(nn.Module):
    """Embeds windows of sound."""

    def __init__(self, config: TrunkConfig = AUDIO_TRUNK, dim: int = DIM, *, width: int = AUDIO_FEATURES) -> None:
        super().__init__()
        self.trunk = ConvTrunk(config)
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
        """Number of features before the head."""
        return self.listening.width

    @property
    def head(self) -> nn.Module:
        """The head that projects features into the space."""
        return self.listening.head

    def forward(self, spectra: Tensor) -> Tensor:
        """*Shape:* (batch, frames, bands) to (batch, dim), not normalised."""
        return self.listening(self.frame_features(spectra))


class TextTower(nn.Module):
    """Embeds texts."""

    def __init__(self, config: TextConfig, dim: int = DIM) -> None:
        super().__init__()
        self.table = nn.Embedding(config.vocabulary, config.table, padding_idx=0)
        nn.init.normal_(self.table.weight, std=0.5)
        self.widen = nn.Linear(config.table, config.width)
        self.places = nn.Parameter(torch.zeros(config.length, config.width))
        self.layers = nn.ModuleList(TransformerLayer(config.width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """*Shape:* (batch, length), padded with 0, to (batch, dim), not normalised."""
        mask = tokens != 0
        x = self.widen(self.table(tokens)) + self.places[: tokens.shape[1]]
        for layer in self.layers:
            x = layer(x, mask)
        weights = mask[:, :, None].to(x.dtype)
        mean = (self.norm(x) * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
        return self.head(mean)


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer: attention, then an MLP, both residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.answer = nn.Linear(width, width)
        self.neurons = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """*Shape:* (batch, length, width) and (batch, length) to (batch, length, width)."""
        x = x + self._attend(self.before(x), mask)
        return x + self.neurons(self.between(x))

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.ask(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.answer(attended.transpose(1, 2).reshape(batch, length, width))


SMALL_AUDIO_TRUNK = TrunkConfig(channels=1, stem=16, widths=(16, 32, 64), depths=(1, 1, 1), group=16)
"""Trains within a minute: for trials and tests."""


def build_audio_tower(dim: int) -> AudioTower:
    """Build the pocket space's audio tower, untrained, for a space of any dimension."""
    return AudioTower(AUDIO_TRUNK, dim)


def build_small_audio_tower(dim: int) -> AudioTower:
    """Build a small audio tower for trials and tests."""
    return AudioTower(SMALL_AUDIO_TRUNK, dim, width=128)


AUDIO_TOWER_BUILDERS = {
    "pocket": build_audio_tower,
    "pocket-new": build_audio_tower,
    "pocket-small": build_small_audio_tower,
}
"""The `tower` of a training recipe -> the function that builds it."""


def build_tower(modality: str, weights: dict[str, Tensor]) -> nn.Module:
    """Build the tower of a modality, without loading the weights; a text tower takes its dimensions from them."""
    if modality == "text":
        vocabulary, table = weights["table.weight"].shape
        length, width = weights["places"].shape
        return TextTower(TextConfig(vocabulary, table, width, length=length))
    return ImageTower() if modality == "image" else AudioTower()


def fuse_batch_norms(tower: nn.Module) -> nn.Module:
    """Fuse every batch norm with the convolution before it. The tower is for inference only then."""
    for layers in [module for module in tower.modules() if isinstance(module, nn.Sequential)]:
        for index, (layer, norm) in enumerate(pairwise(layers)):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                layers[index], layers[index + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    return tower.to(memory_format=torch.channels_last)


def _convolution(
    width_in: int, width_out: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Return a convolution and its batch norm."""
    layer = nn.Conv2d(width_in, width_out, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer, nn.BatchNorm2d(width_out)
