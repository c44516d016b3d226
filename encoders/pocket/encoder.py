"""The `pocket` space: three small towers trained by this project, shipped inside, for pictures, texts and sounds.

The weights lie beside this file: `weights/pocket.safetensors` (float16), `weights/words.txt`, `weights/card.json`.
The weights are read when something is encoded for the first time; torch is imported for pictures and sounds only.
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
"""The longest text, in word pieces."""
WINDOWING = Windowing(image_side=2 * IMAGE_SIDE)
TEMPERATURE = 0.05
"""What the text tower learned with to tell pictures apart (`losses.distillation`); the card may say another."""
PREPROCESSING_VERSION = "pocket 2"
"""Change it with every change of what `prepare` gives."""


class PocketEncoder(LazyTowers):
    """Keeps the `Encoder` protocol with the towers that were trained through images."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """Read the card; the weights wait. Raises `MissingWeights`."""
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
        """Squeeze a picture to a square, number the pieces of a text, turn a sound into its spectrogram."""
        if isinstance(piece.content, str):
            return _token_ids(piece.content, self._words)
        if isinstance(piece.content, Image):
            return _normalised_pixels(piece.content)
        return spectrogram(np.asarray(piece.content, np.float32))

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        kind = Modality.IMAGE if modality == Modality.VIDEO else modality
        tower, rows = self._tower(kind), np.stack(batch)
        if modality == Modality.TEXT:
            read: Vectors = tower(rows)
            return read
        import torch

        with torch.inference_mode():
            found = tower(torch.from_numpy(rows))
            vectors: Vectors = torch.nn.functional.normalize(found, dim=1).numpy()
        return vectors

    @functools.cached_property
    def _words(self) -> WordPieceTokenizer:
        return WordPieceTokenizer.from_file(self._folder / "words.txt")

    def _load(self, kind: Modality) -> Any:
        tower = _read_tower(self._folder / "pocket.safetensors", kind, self._model_card["weights"])
        if kind == Modality.TEXT:
            return tower
        return import_module("bindsearch.encoders.pocket.towers").fuse_batch_norms(tower)


def build_pretrained_audio_tower(dim: int) -> Any:
    """Build a sound tower that hears as the shipped one does, for a space of any dimension: its head is new."""
    towers = import_module("bindsearch.encoders.pocket.towers")
    tower = towers.AudioTower(dim=dim)
    digest = _read_model_card(WEIGHTS / "card.json")["weights"]
    shipped = _read_tower(WEIGHTS / "pocket.safetensors", Modality.AUDIO, digest).state_dict()
    own = {"listening.head.mean", "listening.head.scale"}  # how what is heard is spread, whatever it is bound to
    kept = {name: value for name, value in shipped.items() if name.startswith(("trunk.", "widen.")) or name in own}
    tower.load_state_dict(kept, strict=False)
    return tower


def _read_model_card(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(f"{path}: the weights of the pocket space are not installed") from error


def _normalised_pixels(picture: Image) -> NDArray[np.float32]:
    """*Shape:* (3, 128, 128), centred."""
    small = picture.convert("RGB").resize((IMAGE_SIDE, IMAGE_SIDE), Resampling.BICUBIC, reducing_gap=2.0)
    centred = (np.asarray(small, np.float32) - 118) / 62
    return np.ascontiguousarray(centred.transpose(2, 0, 1))


def _token_ids(text: str, words: WordPieceTokenizer) -> NDArray[np.int64]:
    """*Shape:* (32,), 0 behind the end; a text of nothing is one unknown piece."""
    numbers = words.encode(text)[:MAX_TOKENS] or [UNKNOWN_TOKEN]
    row = np.zeros(MAX_TOKENS, np.int64)
    row[: len(numbers)] = numbers
    return row


def _read_tower(path: Path, kind: Modality, digest: str) -> Any:
    """Read one tower out of the file that holds all three, in float32."""
    try:
        from safetensors import safe_open

        towers = None if kind == Modality.TEXT else import_module("bindsearch.encoders.pocket.towers")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the pocket space needs the package {error.name!r}: pip install {error.name}") from error
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise MissingWeights(f"{path} is not the file that card.json beside it describes: install bindsearch again")
    with safe_open(path, framework="pt" if towers else "np") as file:
        mine = [name for name in file.keys() if name.startswith(f"{kind}.")]
        weights = {name.removeprefix(f"{kind}."): file.get_tensor(name) for name in mine}
    if towers is None:
        return NumpyTextTower({name: value.astype(np.float32) for name, value in weights.items()})
    tower = towers.build_tower(str(kind), weights)
    tower.load_state_dict(weights)
    return tower.float().eval()
