"""The `pocket` space: three small towers for images, texts and sounds, trained by this project and shipped with it.

The weights are `weights/pocket.safetensors` (float16), with the vocabulary in `weights/words.txt` and the model card in
`weights/card.json`. A tower is loaded when something of its modality is first encoded; only images and sounds need
torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from bindsearch.errors import MissingExtra, MissingWeights
from bindsearch.ports import Prepared
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

from ..shared.lazy_towers import LazyTowers
from .spectrogram import spectrogram
from .text_tower import NumpyTextTower
from .wordpiece import UNKNOWN_TOKEN, WordPieceTokenizer

WEIGHTS = Path(__file__).parent / "weights"
IMAGE_SIDE = 128
MAX_TOKENS = 32
"""Longest text in word pieces; the rest is cut."""
WINDOWING = Windowing(image_side=2 * IMAGE_SIDE)
TEMPERATURE = 0.05
"""Temperature of the text tower's distillation loss (`losses.distillation`), unless the model card has another."""
PREPROCESSING_VERSION = "pocket 2"
"""Part of the fingerprint: change it whenever the output of `prepare` changes."""


class PocketEncoder(LazyTowers):
    """Implements `Encoder` with the shipped towers, which were aligned through images."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """Read the model card, without loading weights. Raises `MissingWeights`."""
        self._folder = weights
        self._model_card = _read_model_card(weights / "card.json")
        spec = SpaceSpec(
            name="pocket",
            dim=int(self._model_card["dim"]),
            modalities=frozenset(Modality),
            licence="MIT",
            fingerprint=hashlib.sha256(
                f"{PREPROCESSING_VERSION} {WINDOWING} {self._model_card['weights']}".encode()
            ).hexdigest()[:32],
            summary="Trained by this project: texts were paired with images and sounds with images, never with texts.",
            windowing=WINDOWING,
            temperature=float(self._model_card.get("temperature", TEMPERATURE)),
        )
        self._initialise(spec)

    def prepare(self, piece: Piece) -> Prepared:
        """Resize an image to a square, tokenise a text, or compute the spectrogram of a sound."""
        if isinstance(piece.content, str):
            return _token_ids(piece.content, self._tokenizer)
        if isinstance(piece.content, Image):
            return _normalised_pixels(piece.content)
        return spectrogram(np.asarray(piece.content, np.float32))

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        tower = self._tower(Modality.IMAGE if modality == Modality.VIDEO else modality)
        rows = np.stack(batch)
        if modality == Modality.TEXT:
            text_vectors: Vectors = tower(rows)
            return text_vectors
        import torch

        with torch.inference_mode():
            vectors: Vectors = torch.nn.functional.normalize(tower(torch.from_numpy(rows)), dim=1).numpy()
        return vectors

    @functools.cached_property
    def _tokenizer(self) -> WordPieceTokenizer:
        return WordPieceTokenizer.from_file(self._folder / "words.txt")

    def _load(self, modality: Modality) -> Any:
        tower = _read_tower(self._folder / "pocket.safetensors", modality, self._model_card["weights"])
        if modality == Modality.TEXT:
            return tower
        return import_module("bindsearch.encoders.pocket.towers").fuse_batch_norms(tower)


def build_pretrained_audio_tower(dim: int) -> Any:
    """Build the shipped audio tower for a space of any dimension, with a new head."""
    towers = import_module("bindsearch.encoders.pocket.towers")
    tower = towers.AudioTower(dim=dim)
    digest = _read_model_card(WEIGHTS / "card.json")["weights"]
    shipped = _read_tower(WEIGHTS / "pocket.safetensors", Modality.AUDIO, digest).state_dict()
    statistics = {"listening.head.mean", "listening.head.scale"}  # of the features, so they hold for any head
    pretrained = {
        name: value for name, value in shipped.items() if name.startswith(("trunk.", "widen.")) or name in statistics
    }
    tower.load_state_dict(pretrained, strict=False)
    return tower


def _read_model_card(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(
            f"{path} cannot be read: the weights of the pocket space are not installed; install bindsearch again"
        ) from error


def _normalised_pixels(image: Image) -> NDArray[np.float32]:
    """Return the pixels of an image, resized and standardised. *Shape:* (3, 128, 128)."""
    small = image.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE), Resampling.BICUBIC, reducing_gap=2.0)
    centred = (np.asarray(small, np.float32) - 118) / 62
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def _token_ids(text: str, tokenizer: WordPieceTokenizer) -> NDArray[np.int64]:
    """Return the tokens of a text, padded with 0; an empty text is one unknown token. *Shape:* (32,)."""
    tokens = tokenizer.encode(text)[:MAX_TOKENS] or [UNKNOWN_TOKEN]
    row = np.zeros(MAX_TOKENS, np.int64)
    row[: len(tokens)] = tokens
    return row


def _read_tower(path: Path, modality: Modality, digest: str) -> Any:
    """Load one tower, in float32, from the file with all three. Raises `MissingWeights`, `MissingExtra`."""
    try:
        from safetensors import safe_open

        towers = None if modality == Modality.TEXT else import_module("bindsearch.encoders.pocket.towers")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the pocket space needs the package {error.name!r}: pip install {error.name}") from error
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise MissingWeights(
            f"{path} is not the file that its model card, card.json, describes: install bindsearch again"
        )
    with safe_open(path, framework="pt" if towers else "np") as file:
        names = [name for name in file.keys() if name.startswith(f"{modality}.")]
        weights = {name.removeprefix(f"{modality}."): file.get_tensor(name) for name in names}
    if towers is None:
        return NumpyTextTower({name: value.astype(np.float32) for name, value in weights.items()})
    tower = towers.build_tower(str(modality), weights)
    tower.load_state_dict(weights)
    return tower.float().eval()
