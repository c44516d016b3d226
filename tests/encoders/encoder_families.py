"""The encoders that must pass the contract. A new family adds one entry, with what it must be able to tell apart."""

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

Meaning = Mapping[Modality, Piece]
"""One meaning, as a piece of each modality that can show it."""


@dataclass(frozen=True, slots=True)
class Family:
    name: str
    """In the registry."""
    make: Callable[[], Encoder]
    meanings: Sequence[Meaning]
    """From every modality to every other, each meaning finds itself first among all of these..."""
    margin: float
    """...and the second is this much behind."""


def meaning(words: str, picture: Piece, sound: Piece) -> Meaning:
    return {Modality.TEXT: media.text(words), Modality.IMAGE: picture, Modality.AUDIO: sound}


TOY = Family(
    name="toy",
    make=ToyEncoder,
    meanings=[
        meaning("a low rumble", media.plain("red"), media.tone(80)),
        meaning("green forest", media.plain("green"), media.tone(450)),
        meaning("high whistle", media.plain((120, 0, 255)), media.tone(4000)),
        meaning("static noise", media.speckled(), media.hiss()),
        meaning("silence", media.plain("black"), media.silence()),
        meaning("beeping alarm", media.chequered(), media.beeps()),
    ],
    margin=0.2,
)


def seen(words: str, picture: Piece) -> Meaning:
    frame = Piece(Modality.VIDEO, picture.content)
    return {Modality.TEXT: media.text(words), Modality.IMAGE: picture, Modality.VIDEO: frame}


SEEN = [
    seen("a red wall", media.plain("red")),
    seen("green forest", media.plain("green")),
    seen("the deep blue sea", media.plain("blue")),
    seen("static noise", media.speckled()),
    seen("night", media.plain("black")),
    seen("a chess board", media.chequered()),
]

OPENCLIP = Family(
    name=f"local:{openclip_models.TRAINED}",
    make=lambda: openclip_models.trained(SEEN),
    meanings=SEEN,
    margin=0.2,
)

IMAGEBIND = Family(
    name=f"imagebind/local:{small_models.IMAGEBIND}",
    make=small_models.imagebind,
    meanings=[],  # its weights are random
    margin=0,
)
CLAP = Family(name=f"clap:local:{small_models.CLAP}", make=small_models.clap, meanings=[], margin=0)

POCKET = Family(
    name="pocket",
    make=PocketEncoder,
    meanings=[],  # it was trained on photos and real sounds, and these are none: tests/test_pocket_space.py
    margin=0,
)

FAMILIES = [TOY, POCKET, OPENCLIP, IMAGEBIND, CLAP]
