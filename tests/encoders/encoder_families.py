"""The encoders that must pass the contract. A new family adds one entry, with the subjects that it must distinguish."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import encoder_media as media
import openclip_models
import small_models
from bindsearch.encoders.pocket.encoder import PocketEncoder
from bindsearch.encoders.toy.encoder import ToyEncoder

from bindsearch.ports import Encoder
from bindsearch.types import Modality, Piece

Subject = Mapping[Modality, Piece]
"""One subject, as a piece of each modality that can express it."""


@dataclass(frozen=True, slots=True)
class Family:
    """An encoder under contract."""

    name: str
    """Its name in the registry."""
    make: Callable[[], Encoder]
    subjects: Sequence[Subject]
    """From every modality to every other, each subject is its own nearest neighbour among these."""
    margin: float
    """Least difference in cosine between a subject and the next one."""


def audible_subject(words: str, image: Piece, sound: Piece) -> Subject:
    return {Modality.TEXT: media.text(words), Modality.IMAGE: image, Modality.AUDIO: sound}


TOY = Family(
    name="toy",
    make=ToyEncoder,
    subjects=[
        audible_subject("a low rumble", media.plain_image("red"), media.tone(80)),
        audible_subject("green forest", media.plain_image("green"), media.tone(450)),
        audible_subject("high whistle", media.plain_image((120, 0, 255)), media.tone(4000)),
        audible_subject("static noise", media.noise_image(), media.noise()),
        audible_subject("silence", media.plain_image("black"), media.silence()),
        audible_subject("beeping alarm", media.chequered_image(), media.beeps()),
    ],
    margin=0.2,
)


def visible_subject(words: str, image: Piece) -> Subject:
    frame = Piece(Modality.VIDEO, image.content)
    return {Modality.TEXT: media.text(words), Modality.IMAGE: image, Modality.VIDEO: frame}


VISIBLE_SUBJECTS = [
    visible_subject("a red wall", media.plain_image("red")),
    visible_subject("green forest", media.plain_image("green")),
    visible_subject("the deep blue sea", media.plain_image("blue")),
    visible_subject("static noise", media.noise_image()),
    visible_subject("night", media.plain_image("black")),
    visible_subject("a chess board", media.chequered_image()),
]

OPENCLIP = Family(
    name=f"local:{openclip_models.TRAINED_FOLDER}",
    make=lambda: openclip_models.trained_encoder(VISIBLE_SUBJECTS),
    subjects=VISIBLE_SUBJECTS,
    margin=0.2,
)

IMAGEBIND = Family(
    name=f"imagebind/local:{small_models.IMAGEBIND}",
    make=small_models.imagebind,
    subjects=[],  # its weights are random
    margin=0,
)
CLAP = Family(name=f"clap:local:{small_models.CLAP}", make=small_models.clap, subjects=[], margin=0)

POCKET = Family(
    name="pocket",
    make=PocketEncoder,
    subjects=[],  # trained on photos and recordings, which these synthetic pieces are not
    margin=0,
)

FAMILIES = [TOY, POCKET, OPENCLIP, IMAGEBIND, CLAP]
