"""Spaces of open_clip's models: pictures, texts, and videos by their frames.

    openclip:MODEL/TAG             weights that the installed open_clip lists, from the hub's cache
    openclip:MODEL/TAG/local:PATH  the same weights, in a file or folder of one's own
    openclip:MODEL/local:PATH      other weights for a known architecture, prepared for as OpenAI's are
    local:FOLDER                   open_clip_config.json and weights, as open_clip saves them

A tower is read when something of its modality is encoded for the first time, and then alone: a search by words never
loads the image tower.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from PIL.Image import Image

from bindsearch.errors import MissingExtra, SpaceError
from bindsearch.ports import Prepared
from bindsearch.types import FamilyMember, Modality, Piece, SpaceSpec, Vectors, Windowing

from ..shared.file_hash import sha256_of
from ..shared.lazy_towers import DeviceTowers
from .model_source import (
    ModelSource,
    find_weights,
    licence_of,
    load_tokenizer,
    pretrained_names,
    source_from_folder,
    source_from_name,
    with_text_files,
)
from .preprocess import Preprocessing
from .towers import IMAGE, TEXT, Tower, load_tower

PREPROCESSING_VERSION = "openclip 1"
"""Change it with every change of what `prepare` or a tower gives."""
TEMPERATURE = 0.01
"""What most of these models were trained to end with."""
_LETTERS_PER_TOKEN = 4


class OpenClipEncoder(DeviceTowers):
    """Keeps the `Encoder` protocol with one of open_clip's models."""

    def __init__(self, rest: str) -> None:
        """Find what follows `openclip:`; towers wait. Raises `UnknownSpace`, `MissingWeights`, `SpaceError`."""
        self._start(source_from_name(rest))

    @classmethod
    def local(cls, path: str) -> OpenClipEncoder:
        """Find what follows `local:`, a folder in open_clip's layout. Raises `MissingWeights`, `SpaceError`."""
        made = cls.__new__(cls)
        made._start(source_from_folder(path))
        return made

    @staticmethod
    def members() -> list[FamilyMember]:
        """Describe all weights that the installed open_clip lists; none of them is loaded."""
        return [_member(name) for name in pretrained_names()]

    def _start(self, source: ModelSource) -> None:
        self._source = source
        self._preprocessing = _preprocessing(source)
        self._tokenizing = threading.Lock()
        self._initialise(_describe_space(source, self._preprocessing))

    def cost(self, modality: Modality) -> float:
        """Return what one prepared piece costs: pixels, or tokens."""
        if modality == Modality.TEXT:
            return float(self._source.config["text_cfg"].get("context_length", 77))
        height, width = self._preprocessing.size
        return float(height * width)

    def prepare(self, piece: Piece) -> Prepared:
        """Resize a picture as the weights want it, or number the tokens of a text."""
        if isinstance(piece.content, str):
            with self._tokenizing:  # tokenizers of transformers' serve one thread at a time
                tokens = self._tokenizer(piece.content)
            return tokens[0].numpy()
        if isinstance(piece.content, Image):
            return self._preprocessing(piece.content)
        raise SpaceError(f"{self.spec.name} cannot hear: it has towers for pictures and texts only")

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        vectors: Vectors = self._tower(TEXT if modality == Modality.TEXT else IMAGE)(np.stack(batch))
        return vectors

    def _load(self, kind: str) -> Tower:
        source = self._source
        config = with_text_files(source) if kind == TEXT else source.config
        key = self.spec.fingerprint
        return load_tower(source.checkpoint, config, kind, preprocessing=self._preprocessing, key=key)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            return load_tokenizer(self._source)
        except ImportError as error:
            raise MissingExtra(
                f"{self.spec.name} needs transformers for its words: pip install transformers"
            ) from error


def local(path: str) -> OpenClipEncoder:
    """Make the encoder of what follows `local:`. Raises `MissingWeights`, `SpaceError`."""
    return OpenClipEncoder.local(path)


def _preprocessing(source: ModelSource) -> Preprocessing:
    try:
        size = source.config["vision_cfg"].get("image_size", 224)
        return Preprocessing.of(source.preprocess, size)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpaceError(f"{source.name} has a configuration that is not open_clip's: {error!r}") from error


def _describe_space(source: ModelSource, preprocessing: Preprocessing) -> SpaceSpec:
    length = int(source.config["text_cfg"].get("context_length", 77))
    windowing = Windowing(image_side=2 * max(preprocessing.size), passage=_LETTERS_PER_TOKEN * length)
    identity = [
        PREPROCESSING_VERSION,
        source.config,
        preprocessing.as_json(),
        str(windowing),
        sha256_of(source.checkpoint),
    ]
    return SpaceSpec(
        name=source.name,
        dim=int(source.config["embed_dim"]),
        modalities=frozenset({Modality.IMAGE, Modality.VIDEO, Modality.TEXT}),
        licence=source.licence,
        fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32],
        summary="One of open_clip's models: texts were paired with pictures; videos are seen frame by frame.",
        windowing=windowing,
        temperature=TEMPERATURE,
        commercial=source.commercial,
    )


def _member(name: str) -> FamilyMember:
    licence, commercial = licence_of(name)
    model, _, tag = name.partition("/")
    return FamilyMember(f"openclip:{name}", licence, commercial, here=find_weights(model, tag) is not None)
