"""Spaces of open_clip's models: images, texts, and videos by their frames.

    openclip:MODEL/TAG             weights that the installed open_clip lists, on this machine
    openclip:MODEL/TAG/local:PATH  the same weights, in a file or folder of your own
    openclip:MODEL/local:PATH      other weights for a listed architecture, with the preprocessing of OpenAI's weights
    local:FOLDER                   open_clip_config.json and weights, as open_clip saves them

A tower is loaded alone, when a piece of its modality is encoded for the first time: a text query never loads the image
tower.
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
from .licences import licence_of
from .model_source import ModelSource, pretrained_names, source_from_folder, source_from_name
from .preprocess import Preprocessing
from .text_files import load_tokenizer, with_text_files
from .towers import IMAGE, TEXT, Tower, load_tower
from .weight_location import find_weights

PREPROCESSING_VERSION = "openclip 1"
"""Part of the fingerprint: change it with every change of what `prepare` or a tower returns."""
TEMPERATURE = 0.01
"""The temperature that training of most of these models ended with."""
_CHARACTERS_PER_TOKEN = 4


class OpenClipEncoder(DeviceTowers):
    """Implements `Encoder` with a model of open_clip."""

    def __init__(self, rest: str) -> None:
        """Find the model for what follows `openclip:`; its towers are loaded later.

        Raises `UnknownSpace`, `MissingWeights`, `SpaceError`.
        """
        self._start(source_from_name(rest))

    @classmethod
    def local(cls, path: str) -> OpenClipEncoder:
        """Return the encoder of a folder in open_clip's layout. Raises `MissingWeights`, `SpaceError`."""
        encoder = cls.__new__(cls)
        encoder._start(source_from_folder(path))
        return encoder

    @staticmethod
    def members() -> list[FamilyMember]:
        """Return all weights that the installed open_clip lists; none of them is loaded."""
        return [_member(name) for name in pretrained_names()]

    def _start(self, source: ModelSource) -> None:
        self._source = source
        self._preprocessing = _preprocessing(source)
        self._tokenizing = threading.Lock()
        self._initialise(_describe_space(source, self._preprocessing))

    def cost(self, modality: Modality) -> float:
        """Return the size of one prepared piece: pixels of an image, tokens of a text."""
        if modality == Modality.TEXT:
            return float(self._source.config["text_cfg"].get("context_length", 77))
        height, width = self._preprocessing.size
        return float(height * width)

    def prepare(self, piece: Piece) -> Prepared:
        """Resize and crop an image as the weights require, or turn a text into token ids."""
        if isinstance(piece.content, str):
            with self._tokenizing:  # tokenizers of transformers are not thread-safe
                tokens = self._tokenizer(piece.content)
            return tokens[0].numpy()
        if isinstance(piece.content, Image):
            return self._preprocessing(piece.content)
        raise SpaceError(f"{self.spec.name} cannot embed {piece.modality}: it has towers for images and texts only")

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        vectors: Vectors = self._tower(TEXT if modality == Modality.TEXT else IMAGE)(np.stack(batch))
        return vectors

    def _load(self, kind: str) -> Tower:
        source = self._source
        config = with_text_files(source) if kind == TEXT else source.config
        return load_tower(source.checkpoint, config, kind, preprocessing=self._preprocessing, key=self.spec.fingerprint)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            return load_tokenizer(self._source)
        except ImportError as error:
            raise MissingExtra(
                f"{self.spec.name} needs the package 'transformers' for its tokenizer: pip install 'bindsearch[models]'"
            ) from error


def local(path: str) -> OpenClipEncoder:
    """Return the encoder for what follows `local:`. Raises `MissingWeights`, `SpaceError`."""
    return OpenClipEncoder.local(path)


def _preprocessing(source: ModelSource) -> Preprocessing:
    try:
        size = source.config["vision_cfg"].get("image_size", 224)
        return Preprocessing.of(source.preprocess, size)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SpaceError(f"the configuration of {source.name} is not valid for open_clip: {error!r}") from error


def _describe_space(source: ModelSource, preprocessing: Preprocessing) -> SpaceSpec:
    length = int(source.config["text_cfg"].get("context_length", 77))
    windowing = Windowing(image_side=2 * max(preprocessing.size), passage=_CHARACTERS_PER_TOKEN * length)
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
        licence=source.licence.name,
        fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32],
        summary="A model of open_clip, trained on pairs of images and texts; videos are embedded frame by frame.",
        windowing=windowing,
        temperature=TEMPERATURE,
        commercial=source.licence.commercial,
    )


def _member(name: str) -> FamilyMember:
    licence, commercial = licence_of(name)
    model, _, tag = name.partition("/")
    return FamilyMember(f"openclip:{name}", licence, commercial, here=find_weights(model, tag) is not None)
