"""The hyperparameters of a training run: every number that changes the outcome, so that a model card can list them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that defines a training run except its data."""

    tower: str = "pocket"
    """Name of the architecture, as in `towers.TOWERS`."""
    steps: int = 2_000
    batch: int = 256
    """Sounds that are contrasted with each other in one step."""
    chunk: int = 64
    """Sounds in memory at once; larger batches use gradient caching, which gives the same gradients."""
    learning_rate: float = 1e-3
    pretrained_rate: float = 0.1
    """Learning rate of the pretrained layers, as a share of `learning_rate`."""
    weight_decay: float = 0.05
    temperature: float = 0.07
    """Of InfoNCE; fixed, as ImageBind's is for sound."""
    contrastive_weight: float = 1.0
    regression_weight: float = 1.0
    distillation_weight: float = 0.5
    """Weights of the three losses; the last one counts only if a teacher's features are given."""
    positives: int = 4
    """A sound's anchor is the mean of this many of its images, drawn again in every step."""
    max_mask_share: float = 0.2
    """SpecAugment masks up to this share of a spectrogram's frames, and of its bands."""
    mixed_share: float = 0.3
    """Share of sounds that are mixed with another sound of the batch; their anchors are mixed in the same ratio."""
    average_decay: float = 0.998
    """Decay of the exponential moving average of the weights."""
    bfloat16: bool = True
    seed: int = 0
    permuted: bool = False
    """The control: pair every sound with the images of another concept."""
