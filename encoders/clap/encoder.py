"""Spaces of CLAP models (Wu et al., 2023), for comparison: these were shown sounds with their captions.

    clap:REPOSITORY     what `bindsearch spaces get clap:REPOSITORY` fetched, or what lies in the hub's cache
    clap:local:FOLDER   the same files in a folder of one's own

Transformers' feature extractor crops what is longer than ten seconds at random, and marks a random sound of a batch as
longer. Here a recording is cut into windows that lie side by side, and none is marked: the same file always gives the
same vectors. Only the tower that is needed is read.
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
"""Change it with every change of what `prepare` or a tower gives."""
LOCAL = "local:"
CONFIG_FILE, PREPROCESSOR_FILE = "config.json", "preprocessor_config.json"
CHECKPOINTS = ("model.safetensors", "pytorch_model.bin")
MAX_TOKENS = 77
"""The longest text; CLAP was trained with as many."""
TEMPERATURE = 0.05
_LETTERS_PER_TOKEN = 4
_OPTIONAL_BUFFERS = ("position_ids", "token_type_ids")
"""What some checkpoints lack: transformers makes it anew."""
_TOWERS = {
    Modality.AUDIO: (
        "ClapAudioModelWithProjection",
        "audio_config",
        ("audio_model.", "audio_projection."),
        "audio_embeds",
    ),
    Modality.TEXT: ("ClapTextModelWithProjection", "text_config", ("text_model.", "text_projection."), "text_embeds"),
}
"""transformers' class, its part of the configuration, how its parameters' names begin, and what it gives."""


class ClapEncoder(DeviceTowers):
    """Keeps the `Encoder` protocol with transformers' `ClapModel`."""

    def __init__(self, rest: str) -> None:
        """Find what follows `clap:`; towers wait. Raises `MissingWeights`, `DamagedWeights`."""
        local = rest.startswith(LOCAL)
        folder = Path(rest.removeprefix(LOCAL)).expanduser().absolute() if local else _find_folder(f"clap:{rest}")
        self._folder = folder
        self._checkpoint = first_existing(folder, CHECKPOINTS)
        self._config, self._preprocessor = (_read_json(folder / name) for name in (CONFIG_FILE, PREPROCESSOR_FILE))
        self._tokenizing = threading.Lock()
        self._initialise(self._describe_space(f"clap:{LOCAL}{folder}" if local else f"clap:{rest}", local=local))

    def cost(self, modality: Modality) -> float:
        """Return what one prepared piece costs: tokens, or seconds."""
        return float(MAX_TOKENS) if modality == Modality.TEXT else self.spec.windowing.window

    def prepare(self, piece: Piece) -> Prepared:
        """Return the tokens of a text, or turn a window of sound into the model's spectrogram."""
        if isinstance(piece.content, str):
            return self._tokenize(piece.content)
        if piece.modality != Modality.AUDIO:
            raise SpaceError(f"{self.spec.name} cannot see: it has towers for sounds and texts only")
        return self._spectrogram(np.asarray(piece.content, np.float32))

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        """Embed a batch of one modality. *Shape:* (len(batch), dim), float32."""
        if not batch:
            return np.empty((0, self.spec.dim), np.float32)
        tower = self._tower(modality)
        import torch

        from ..shared.device import device

        given = torch.from_numpy(np.stack(batch)).to(device())
        if modality == Modality.AUDIO:
            told = {"input_features": given, "is_longer": torch.zeros(len(batch), 1, dtype=torch.bool, device=device())}
        else:
            told = {"input_ids": given[:, 0], "attention_mask": given[:, 1]}
        with torch.inference_mode():
            vectors: Vectors = getattr(tower(**told), _TOWERS[modality][3]).float().cpu().numpy()
        return vectors

    # -- input

    def _spectrogram(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Let transformers measure what is never longer than it takes at once.

        *Shape:* (n,) to (1 or 4, frames, bands)
        """
        sound = samples[: self._samples] if len(samples) else np.zeros(1, np.float32)
        told = self._extractor([sound], sampling_rate=self._rate, return_tensors="np")
        return np.asarray(told["input_features"][0], np.float32)

    def _tokenize(self, text: str) -> NDArray[np.int64]:
        """*Shape:* (2, 77): numbers of tokens, and which of them count."""
        with self._tokenizing:  # a tokenizer serves one thread at a time
            told = self._tokenizer(text, padding="max_length", truncation=True, max_length=MAX_TOKENS)
        return np.array([told["input_ids"], told["attention_mask"]], np.int64)

    @property
    def _rate(self) -> int:
        return int(self._preprocessor.get("sampling_rate", 48_000))

    @property
    def _samples(self) -> int:
        return self._rate * int(self._preprocessor.get("max_length_s", 10))

    @cached_property
    def _extractor(self) -> Any:
        return _transformers("ClapFeatureExtractor").from_pretrained(self._folder, local_files_only=True)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            return _transformers("AutoTokenizer").from_pretrained(self._folder, local_files_only=True)
        except (OSError, ValueError) as error:
            first = str(error).strip().partition("\n")[0]
            raise MissingWeights(
                f"{self._folder} holds no tokenizer of CLAP ({first}): put tokenizer.json there"
            ) from error

    # -- towers

    def _load(self, modality: Modality) -> Any:
        name, part, starts, _ = _TOWERS[modality]
        config = getattr(_transformers("ClapConfig").from_dict(self._config), part)
        tower = _transformers(name)(config)
        with open_tensors(self._checkpoint) as weights:
            state = {name: weights[name] for name in weights if name.startswith(starts)}
        try:
            missing, unknown = tower.load_state_dict(state, strict=False)
        except RuntimeError as error:
            first = str(error).strip().splitlines()[-1].strip()
            raise DamagedWeights(
                f"{self._checkpoint} is not of the model in {CONFIG_FILE} beside it: {first}"
            ) from error
        wrong = [each for each in (*missing, *unknown) if not each.endswith(_OPTIONAL_BUFFERS)]
        if wrong:
            raise DamagedWeights(f"{self._checkpoint} is not of the model in {CONFIG_FILE} beside it: see {wrong[0]}")
        from ..shared.device import device

        return tower.eval().requires_grad_(False).to(device())

    def _describe_space(self, name: str, *, local: bool) -> SpaceSpec:
        windowing = Windowing(
            sample_rate=self._rate,
            window=float(self._samples / self._rate),
            hop=float(self._samples / self._rate),
            passage=_LETTERS_PER_TOKEN * MAX_TOKENS,
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
            summary="CLAP: sounds were paired with their captions, which is what the other spaces never see.",
            windowing=windowing,
            temperature=TEMPERATURE,
            commercial=known is not None and known.commercial,
        )


def _find_folder(space: str) -> Path:
    """Find the folder with a repository's files: put there by hand, or of the hub's cache. Raises `MissingWeights`."""
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
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MissingWeights(f"{path} is missing: it belongs to the weights") from error
    except (OSError, ValueError) as error:
        raise DamagedWeights(f"{path} cannot be read: {error}") from error
    return dict(told)


def _transformers(name: str) -> Any:
    try:
        return getattr(import_module("transformers"), name)
    except ImportError as error:
        raise MissingExtra(f"clap spaces need transformers: pip install 'bindsearch[models]' ({error})") from error
