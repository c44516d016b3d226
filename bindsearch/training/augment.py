"""Sounds made different without changing what they are of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor


def masked(spectra: Tensor, most: float, chance: Generator) -> Tensor:
    """SpecAugment (Park et al., 2019): in each spectrogram, set a run of frames and a run of bands to the mean.

    *Shape:* (n, frames, bands) to the same.
    """
    frames = _runs(len(spectra), spectra.shape[1], most, chance)[:, :, None]
    bands = _runs(len(spectra), spectra.shape[2], most, chance)[:, None, :]
    return spectra.masked_fill((frames | bands).to(spectra.device), 0.0)


def mixed(spectra: Tensor, anchors: Tensor, share: float, chance: Generator) -> tuple[Tensor, Tensor]:
    """Blend a share of the sounds with their neighbours in the batch, and their anchors in the same measure.

    Spectrograms are logarithms: what sounds together adds up in power. Order in a batch is random, so a neighbour
    is anybody. *Shape:* (n, frames, bands) and (n, dim) to the same.
    """
    import torch

    n = len(spectra)
    weight = torch.rand(n, generator=chance) * 0.5
    weight = torch.where(torch.rand(n, generator=chance) < share, weight, torch.zeros(n)).to(spectra.device)
    other = torch.roll(torch.arange(n), 1)
    heard = weight[:, None, None]
    loud = torch.logaddexp(spectra + torch.log1p(-heard), spectra[other] + heard.clamp(min=1e-6).log())
    spectra = torch.where(heard > 0, loud, spectra)
    return spectra, (1 - weight[:, None]) * anchors + weight[:, None] * anchors[other]


def _runs(n: int, length: int, most: float, chance: Generator) -> Tensor:
    """One run of up to `most` of the length in each row. *Shape:* (n, length), bool."""
    import torch

    size = torch.rand(n, 1, generator=chance) * most * length
    start = torch.rand(n, 1, generator=chance) * (length - size)
    place = torch.arange(length)[None, :]
    return (place >= start) & (place < start + size)
