"""The `pocket` space: three small towers for images, texts and sounds, trained by this project and shipped with it.

The weights are `weights/pocket.safetensors` (float16), with the vocabulary in `weights/words.txt` and the model card in
`weights/card.json`. Each tower is an ONNX graph beside them that refers to its tensors in that file; ONNX Runtime loads
and runs it when something of its modality is first encoded.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling, fromarray

from bindsearch.errors import MissingWeights
from bindsearch.ports import Prepared
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

from ..shared.file_hash import sha256_of
from ..shared.lazy_towers import LazyTowers
from .spectrogram import RATE, spectrogram
from .wordpiece import UNKNOWN_TOKEN, WordPieceTokenizer

WEIGHTS = Path(__file__).parent / "weights"
IMAGE_SIDE = 128
MAX_TOKENS = 32
"""Longest text in word pieces; the rest is cut."""
PADDING = 0
"""Token behind the last word piece of a text."""
PIECES_AT_ONCE, TEXTS_AT_ONCE = 16, 8
"""Larger parts of a batch are no faster, and ONNX Runtime keeps the memory of the largest."""
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
        self._model_card = read_model_card(weights / "card.json")
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
        if modality == Modality.TEXT:
            return self._encode_texts(tower, np.stack(batch))
        starts = range(0, len(batch), PIECES_AT_ONCE)
        return np.concatenate([tower(np.stack(batch[start : start + PIECES_AT_ONCE])) for start in starts])

    def _encode_texts(self, tower: Any, rows: NDArray[np.int64]) -> Vectors:
        """Encode texts of similar length together: what is shorter than the longest is computed as padding."""
        lengths = (rows != PADDING).sum(axis=1)
        vectors = np.empty((len(rows), self.spec.dim), np.float32)
        by_length = np.argsort(lengths, kind="stable")
        for start in range(0, len(rows), TEXTS_AT_ONCE):
            places = by_length[start : start + TEXTS_AT_ONCE]
            vectors[places] = tower(rows[places, : lengths[places[-1]]])
        return vectors

    @functools.cached_property
    def _tokenizer(self) -> WordPieceTokenizer:
        return WordPieceTokenizer.from_file(self._folder / "words.txt")

    def _load(self, modality: Modality) -> Any:
        from ..shared.onnx_tower import OnnxTower  # imported here, so that `spec` does not load ONNX Runtime

        digest = self._model_card["weights"]
        check_weights(self._folder / "pocket.safetensors", digest)
        path = self._folder / f"{modality}.onnx"
        return OnnxTower.load(path, weights=digest, probe=lambda: np.stack(list(map(self.prepare, probes(modality)))))


def read_model_card(path: Path) -> Any:
    """Return the model card of shipped weights. Raises `MissingWeights`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(
            f"{path} cannot be read: the weights of the pocket space are not installed; install bindsearch again"
        ) from error


def check_weights(path: Path, digest: str) -> None:
    """Raise `MissingWeights` unless the SHA-256 of a weight file is the one in its model card."""
    if not path.exists() or sha256_of(path) != digest:
        raise MissingWeights(
            f"{path} is not the file that its model card, card.json, describes: install bindsearch again"
        )


def probes(modality: Modality) -> list[Piece]:
    """Return pieces on which an accelerator is compared with the CPU."""
    rng = np.random.default_rng(0)
    if modality == Modality.TEXT:
        contents: list[Any] = ["rain", "two dogs run along a beach at night", "Frogs, croaking in a pond!"]
    elif modality == Modality.IMAGE:
        contents = [fromarray(rng.integers(0, 255, (side, side, 3), np.uint8)) for side in (4, 16, 128)]
    else:
        contents = [rng.normal(0, scale, RATE).astype(np.float32) for scale in (0.01, 0.1, 0.3)]
    return [Piece(modality, content) for content in contents]


def _normalised_pixels(image: Image) -> NDArray[np.float32]:
    """Return the pixels of an image, resized and standardised. *Shape:* (3, 128, 128)."""
    small = image.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE), Resampling.BICUBIC, reducing_gap=2.0)
    centred = (np.asarray(small, np.float32) - 118) / 62
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def _token_ids(text: str, tokenizer: WordPieceTokenizer) -> NDArray[np.int64]:
    """Return the tokens of a text, padded; an empty text is one unknown token. *Shape:* (32,)."""
    tokens = tokenizer.encode(text)[:MAX_TOKENS] or [UNKNOWN_TOKEN]
    row = np.full(MAX_TOKENS, PADDING, np.int64)
    row[: len(tokens)] = tokens
    return row
