"""The sentences that a label is put into before it is embedded for zero-shot classification.

A label's vector is the mean of its sentences' unit vectors: one sentence alone says too much about itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bindsearch.types import Modality

TEMPLATES: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        Modality.IMAGE: (
            "a photo of {}",
            "a photo of the {}",
            "a close-up of {}",
            "a picture of {}",
            "a drawing of {}",
            "a scene with {}",
            "{}",
        ),
        Modality.AUDIO: (
            "the sound of {}",
            "a sound of {}",
            "a recording of {}",
            "an audio clip of {}",
            "you can hear {}",
            "{}",
        ),
        Modality.VIDEO: (
            "a video of {}",
            "a video clip of {}",
            "a scene with {}",
            "{}",
        ),
        Modality.TEXT: (
            "a text about {}",
            "notes about {}",
            "{}",
        ),
    }
)
"""By the modality of what is classified; `{}` stands for the label."""
