"""How a tower is trained: every number that changes the outcome, so that a card can state them all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training, but for its data."""

    tower: str = "pocket"
    """Which architecture, as `towers` calls it."""
    steps: int = 2_000
    batch: int = 256
    """Sounds that are contrasted with each other."""
    chunk: int = 64
    """Sounds that are held in memory together: what is more is done by gradient caching, to the same effect."""
    rate: float = 1e-3
    taught: float = 0.1
    """The rate of layers that have learnt to hear already, as a share of the rate of those that have not."""
    decay: float = 0.05
    """Of weights, a step and unit of rate."""
    temperature: float = 0.07
    """Of InfoNCE; fixed, as ImageBind's is for sound."""
    contrast: float = 1.0
    regression: float = 1.0
    distillation: float = 0.5
    """Weights of the three losses; the last counts only where a teacher's features are given."""
    positives: int = 4
    """Pictures that a sound's anchor is the mean of, drawn anew each time from those it belongs to."""
    mask: float = 0.2
    """The most of a spectrogram's time, and of its bands, that SpecAugment hides."""
    mixing: float = 0.3
    """Share of sounds that are mixed with another of the batch; the anchors are mixed alike."""
    average: float = 0.998
    """How slowly the kept mean of the weights follows."""
    bfloat16: bool = True
    seed: int = 0
    permuted: bool = False
    """The control: every sound is given the pictures of another concept."""
