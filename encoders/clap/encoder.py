"""Spaces of CLAP models (Wu et al., 2023), for comparison: these were trained on sounds with their captions.

    clap:REPOSITORY     files that `bindsearch spaces get clap:REPOSITORY` fetched, or that are in the hub's cache
    clap:local:FOLDER   the same files in your own folder

The feature extractor of transformers crops sounds of more than ten seconds at random, and marks a random sound of a
batch as longer. Here a recording is cut into adjacent windows, and none is marked, so the same file always has the same
vectors. Only the tower that is needed is loaded.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.errors import DamagedWeights, MissingExtra, MissingWeights, SpaceError
from bindsearch.ports import Prepared
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

from ..shared.file_hash import sha256_of
from ..shared.lazy_towers import DeviceTowers
from ..shared.weight_files import first_existing, open_tensors

PREPROCESSING_VERSION = "clap 1"
"""Part of the fingerprint: change it with every change of what `prepare` or a tower returns."""
LOCAL = "local:"
CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin")
MAX_TOKENS = 77
"""Tokens per text, as in CLAP's training; longer texts are truncated."""
TEMPERATURE = 0.05
_CHARACTERS_PER_TOKEN = 4
_OPTIONAL_BUFFERS = ("position_ids", "token_type_ids")
"""Buffers that some checkpoints lack and transformers computes."""
_TOWERS = {
    Modality.AUDIO: (
        "ClapAudioModelWithProjection",
        "audio_config",
        ("audio_model.", "audio_projection."),
        "audio_embeds",
    ),
    Modality.TEXT: ("ClapTextModelWithProjection", "text_config", ("text_model.", "text_projection."), "text_embeds"),
}
"""Class of transformers, its part of the configuration, prefixes of its parameters, and the output to use."""


class ClapEncoder(DeviceTowers):
    """Implements `Encoder` with the `ClapModel` of transformers."""

    def __init__(self, rest: str) -> None:
        """Find the files for what follows `clap:`; towers are loaded later.

        Raises `MissingWeights`, `DamagedWeights`.
        """
        local = rest.startswith(LOCAL)
        folder = Path(rest.removeprefix(LOCAL)).expanduser().absolute() if local else _find_folder(f"clap:{rest}")
        self._folder = folder
        self._checkpoint = first_existing(folder, CHECKPOINTS)
        self._config, self._preprocessor = (_read_json(folder / name) for name in (CONFIG_FILE, PREPROCESSOR_FILE))
        self._tokenizing = threading.Lock()
        self._initialise(self._describe_space(f"clap:{LOCAL}{folder}" if local else f"clap:{rest}", local=local))

    def cost(self, modality: Modality) -> float:
        """Return the size of one prepared piece: tokens of a text, seconds of audio."""
        return float(MAX_TOKENS) if modality == Modality.TEXT else self.spec.windowing.window

    def prepare(self, piece: Piece) -> Prepared:
        """Return the token ids of a text, or the model's spectrogram of a window of audio."""
        if isinstance(piece.content, str):
            return self._tokenize(piece.content)
        if piece.modality != Modality.AUDIO:
            raise SpaceError(f"{self.spec.name} cannot embed {piece.modality}: it has towers for audio and text only")
        return self._spectrogram(np.asarray(piece.content, np.float32))

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        tower = self._tower(modality)
        import torch

        from ..shared.device import device

        stacked = torch.from_numpy(np.stack(batch)).to(device())
        if modality == Modality.AUDIO:
            is_longer = torch.zeros(len(batch), 1, dtype=torch.bool, device=device())
            inputs = {"input_features": stacked, "is_longer": is_longer}
        else:
            inputs = {"input_ids": stacked[:, 0], "attention_mask": stacked[:, 1]}
        with torch.inference_mode():
            vectors: Vectors = getattr(tower(**inputs), _TOWERS[modality][3]).float().cpu().numpy()
        return vectors

    # -- input

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the spectrogram of one window, which is short enough not to be cropped.

        *Shape:* (n,) to (1 or 4, frames, bands)
        """
        sound = samples[: self._window_samples] if len(samples) else np.zeros(1, np.float32)
        features = self._extractor([sound], sampling_rate=self._rate, return_tensors="np")
        return np.asarray(features["input_features"][0], np.float32)

    def _tokenize(self, text: str) -> NDArray[np.int64]:
        """Return token ids and attention mask. *Shape:* (2, 77)"""
        with self._tokenizing:  # tokenizers are not thread-safe
            tokens = self._tokenizer(text, padding="max_length", truncation=True, max_length=MAX_TOKENS)
        return np.array([tokens["input_ids"], tokens["attention_mask"]], np.int64)

    @property
    def _rate(self) -> int:
        return int(self._preprocessor.get("sampling_rate", 48_000))

    @property
    def _window_samples(self) -> int:
        return self._rate * int(self._preprocessor.get("max_length_s", 10))

    @cached_property
    def _extractor(self) -> Any:
        return _transformers("ClapFeatureExtractor").from_pretrained(self._folder, local_files_only=True)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            return _transformers("AutoTokenizer").from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise MissingWeights(
                f"{self._folder} holds no tokenizer of CLAP ({reason}): put tokenizer.json there"
            ) from error

    # -- towers

    def _load(self, modality: Modality) -> Any:
        class_name, config_part, prefixes, _ = _TOWERS[modality]
        config = getattr(_transformers("ClapConfig").from_dict(self._config), config_part)
        tower = _transformers(class_name)(config)
        with open_tensors(self._checkpoint) as weights:
            state = {name: weights[name] for name in weights if name.startswith(prefixes)}
        try:
            missing, unknown = tower.load_state_dict(state, strict=False)
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1].strip()
            raise DamagedWeights(f"{self._checkpoint} does not fit the {CONFIG_FILE} next to it: {reason}") from error
        lacking, surplus = (
            [each for each in names if not each.endswith(_OPTIONAL_BUFFERS)] for names in (missing, unknown)
        )
        if lacking or surplus:
            difference = f"lacks {lacking[0]}" if lacking else f"has {surplus[0]}, which the model does not have"
            raise DamagedWeights(f"{self._checkpoint} does not fit the {CONFIG_FILE} next to it: it {difference}")
        from ..shared.device import device

        return tower.eval().requires_grad_(False).to(device())

    def _describe_space(self, name: str, *, local: bool) -> SpaceSpec:
        windowing = Windowing(
            sample_rate=self._rate,
            window=float(self._window_samples / self._rate),
            hop=float(self._window_samples / self._rate),
            passage=_CHARACTERS_PER_TOKEN * MAX_TOKENS,
        )
        known = None if local else import_module("bindsearch.spaces.catalogue").find_weights(name)
        identity = [
            PREPROCESSING_VERSION,
            self._config,
            self._preprocessor,
            str(windowing),
            sha256_of(self._checkpoint),
        ]
        return SpaceSpec(
            name=name,
            dim=int(self._config.get("projection_dim", 512)),
            modalities=frozenset({Modality.AUDIO, Modality.TEXT}),
            licence="not stated" if known is None else known.licence,
            fingerprint=hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32],
            summary="CLAP, trained on pairs of sounds and captions, which no other space here was trained on.",
            windowing=windowing,
            temperature=TEMPERATURE,
            commercial=known is not None and known.commercial,
        )


def _find_folder(space: str) -> Path:
    """Return the folder with a repository's files: our own or the hub's cache. Raises `MissingWeights`."""
    # Loaded by string: adapters do not import the engine, which decides where weights are.
    weights = import_module("bindsearch.spaces.catalogue").find_weights(space)
    engine = import_module("bindsearch.spaces.locate")
    paths = {file.name: engine.locate(weights, file) for file in weights.files}
    for file in weights.files:
        if paths[file.name] is None and file.name in (CONFIG_FILE, PREPROCESSOR_FILE, CHECKPOINTS[0]):
            raise engine.missing_weights(weights, file)
    return Path(paths[CONFIG_FILE]).parent


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingWeights(f"{path} is missing: it is published together with the weights") from error
    except (OSError, ValueError) as error:
        raise DamagedWeights(f"{path} cannot be read: {error}") from error
    return dict(values)


def _transformers(name: str) -> Any:
    try:
        return getattr(import_module("transformers"), name)
    except ImportError as error:
        raise MissingExtra(f"clap spaces need transformers: pip install 'bindsearch[models]' ({error})") from error
