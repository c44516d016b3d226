"""The sentences that a label is put into before it is encoded for zero-shot classification.

The vector of a label is the mean of the unit vectors of its sentences, so that no single wording dominates.
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
"""By the modality of the items to classify; `{}` stands for the label."""

_IMAGE_CANDIDATES = (
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
_AUDIO_CANDIDATES = (
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
_TEXT_CANDIDATES = ("about {}", "an article on {}", "a story about {}", "this is about {}", "a letter about {}", "a {}")

CANDIDATE_TEMPLATES: Mapping[Modality, tuple[str, ...]] = MappingProxyType(
    {
        Modality.IMAGE: _IMAGE_CANDIDATES,
        Modality.AUDIO: _AUDIO_CANDIDATES,
        Modality.VIDEO: (*_IMAGE_CANDIDATES, "a film of {}", "footage of {}"),
        Modality.TEXT: _TEXT_CANDIDATES,
    }
)
"""Templates that tuning may choose from besides those above; used only with labelled files."""
