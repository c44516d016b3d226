"""Data augmentation for spectrograms: changes that keep what a sound is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, Tensor

MAX_MIXING_WEIGHT = 0.5
"""The other sound of a mix is never louder than the sound itself."""


def mask_spectrograms(spectra: Tensor, max_share: float, generator: Generator) -> Tensor:
    """Set a run of frames and a run of bands of each spectrogram to the mean: SpecAugment (Park et al., 2019).

    *Shape:* (n, frames, bands) to the same.
    """
    frames = _random_runs(len(spectra), spectra.shape[1], max_share, generator)[:, :, None]
    bands = _random_runs(len(spectra), spectra.shape[2], max_share, generator)[:, None, :]
    return spectra.masked_fill((frames | bands).to(spectra.device), 0.0)


def mix_spectrograms(spectra: Tensor, anchors: Tensor, share: float, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mix a share of the sounds with their neighbours in the batch, and their anchors in the same ratio.

    Spectrograms are logarithms, and the power of simultaneous sounds adds up. The order of a batch is random, so a
    neighbour is a random sound. *Shape:* (n, frames, bands) and (n, dim) to the same.
    """
    import torch

    n = len(spectra)
    weight = torch.rand(n, generator=generator) * MAX_MIXING_WEIGHT
    weight = torch.where(torch.rand(n, generator=generator) < share, weight, torch.zeros(n)).to(spectra.device)
    other = torch.roll(torch.arange(n), 1)
    level = weight[:, None, None]
    mixed = torch.logaddexp(spectra + torch.log1p(-level), spectra[other] + level.clamp(min=1e-6).log())
    spectra = torch.where(level > 0, mixed, spectra)
    return spectra, (1 - weight[:, None]) * anchors + weight[:, None] * anchors[other]


def _random_runs(n: int, length: int, max_share: float, generator: Generator) -> Tensor:
    """Return a mask with one run in each row, of at most `max_share` of the length. *Shape:* (n, length), bool."""
    import torch

    size = torch.rand(n, 1, generator=generator) * max_share * length
    start = torch.rand(n, 1, generator=generator) * (length - size)
    place = torch.arange(length)[None, :]
    return (place >= start) & (place < start + size)
