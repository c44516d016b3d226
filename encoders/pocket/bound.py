"""The `bound:FOLDER` spaces: another space's encoder for images and texts, and a sound tower trained for it.

FOLDER is the output of `bindsearch train --out FOLDER`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.errors import MissingExtra, MissingWeights, SpaceMismatch
from bindsearch.ports import Encoder, Prepared
from bindsearch.types import Modality, Piece, Vectors

from ..shared.lazy_towers import LazyTowers
from .spectrogram import spectrogram


class BoundEncoder(LazyTowers):
    """Implements `Encoder`: sound with the trained tower, everything else with the base space."""

    def __init__(self, folder: str) -> None:
        """Read the model card in a folder, without loading weights. Raises `MissingWeights`, `SpaceMismatch`."""
        self._folder = Path(folder).expanduser()
        self._model_card = _read_model_card(self._folder / "card.json")
        self._base = _load_base(self._model_card["base"]["name"])
        if self._base.spec.fingerprint != self._model_card["base"]["fingerprint"]:
            raise SpaceMismatch(
                f"{folder} was trained for another version of {self._base.spec.name} than the one installed here: "
                "train again"
            )
        spec = replace(
            self._base.spec,
            name=f"bound:{folder}",
            modalities=self._base.spec.modalities | {Modality.AUDIO},
            fingerprint=hashlib.sha256(
                f"{self._base.spec.fingerprint} {self._model_card['weights']}".encode()
            ).hexdigest()[:32],
            summary=f"{self._base.spec.summary} Sound was bound to it through pictures.",
        )
        self._initialise(spec)

    def prepare(self, piece: Piece) -> Prepared:
        """Compute the spectrogram of a sound; prepare everything else as the base space does."""
        if piece.modality == Modality.AUDIO:
            return spectrogram(np.asarray(piece.content, np.float32))
        return self._base.prepare(piece)

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if modality != Modality.AUDIO:
            return self._base.encode(modality, batch)
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        return self._encode_audio(np.stack(batch))

    def _encode_audio(self, spectra: NDArray[np.float32]) -> Vectors:
        tower = self._tower(Modality.AUDIO)
        import torch

        with torch.inference_mode():
            vectors: Vectors = tower(torch.from_numpy(spectra)).numpy()
        return vectors

    def _load(self, modality: Modality) -> Any:
        try:
            from safetensors.torch import load_file

            towers = import_module("bindsearch.encoders.pocket.towers")
        except ModuleNotFoundError as error:
            raise MissingExtra(
                f"{self.spec.name} needs the package {error.name!r}: pip install 'bindsearch[train]'"
            ) from error
        path = self._folder / "tower.safetensors"
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != self._model_card["weights"]:
            raise MissingWeights(f"{path} is not the file that its model card, card.json, describes: train again")
        tower = towers.AUDIO_TOWER_BUILDERS[self._model_card["recipe"]["tower"]](self.spec.dim)
        tower.load_state_dict(load_file(path))
        return towers.fuse_batch_norms(tower.eval())


def _read_model_card(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MissingWeights(
            f"{path} is not the model card of a trained tower; `bindsearch train --out` writes one"
        ) from error


def _load_base(name: str) -> Encoder:
    # Imported by name, as the engine imports adapters: an adapter does not depend on the registry.
    encoder: Encoder = import_module("bindsearch.registry").load_space(name)
    return encoder
