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

_SEEN = (
    "a {}",
    "the {}",
    "one {}",
    "a photo of a {}",
    "a photograph of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a painting of {}",
    "a view of {}",
    "{} in the background",
    "there is {} in the picture",
    "this is {}",
)
_HEARD = (
    "the sound of a {}",
    "this is the sound of {}",
    "the noise of {}",
    "a loud {}",
    "{} in the distance",
    "{} can be heard",
    "a field recording of {}",
    "a photo of {}",
    "a photo of {} making a sound",
    "a photo of a {}",
    "a picture of {}",
    "a scene with {}",
    "a {}",
    "this is {}",
)
_READ = ("about {}", "an article on {}", "a story about {}", "this is about {}", "a letter about {}", "a {}")

CANDIDATES: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        Modality.IMAGE: _SEEN,
        Modality.AUDIO: _HEARD,
        Modality.VIDEO: (*_SEEN, "a film of {}", "footage of {}"),
        Modality.TEXT: _READ,
    }
)
"""What tuning on labelled files may pick from, besides the templates above. Never used without such files."""
