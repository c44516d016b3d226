"""Find ImageBind's weight files, and extract its audio tower from the published checkpoint.

The checkpoint holds six modalities in 4.8 GB. Images and texts use open_clip's towers, so only the 177 entries of the
audio tower are needed. They are read through a memory map once and saved under the same names as 345 MB of safetensors.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bindsearch.errors import DamagedWeights, MissingExtra, MissingWeights

from ..shared.file_hash import sha256_of
from ..shared.weight_files import first_existing, open_tensors

SPACE = "imagebind"
IMAGE_TEXT_FILE, AUDIO_SLICE_FILE, CHECKPOINT_FILE = (
    "open_clip_model.safetensors",
    "imagebind_audio.safetensors",
    "imagebind_huge.pth",
)
CONFIG_FILE = "imagebind_config.json"
"""Optional, for weights of other dimensions than the published ones: `model_cfg` as open_clip writes it, and `audio`,
the fields of `AudioTowerConfig`."""

MODEL_CONFIG: Mapping[str, Any] = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 1024, "heads": 16, "layers": 24},
}
"""open_clip's ViT-H-14."""
LAYER_NORM_EPS = 1e-6
"""Epsilon of every LayerNorm in ImageBind; open_clip's default is 1e-5."""


@dataclass(frozen=True, slots=True)
class ImageBindFiles:
    """The weight files of a space and their configuration."""

    image_text: Path
    """open_clip's weights for images and texts."""
    audio: Path
    """The audio entries of the checkpoint."""
    model: Mapping[str, Any]
    """open_clip's `model_cfg`, with ImageBind's epsilon."""
    audio_config: Mapping[str, Any]
    """The fields of `AudioTowerConfig` that differ from the published tower."""

    def identity(self) -> list[object]:
        """Return the part of the fingerprint that depends on the weights."""
        return [self.model, self.audio_config, sha256_of(self.image_text), sha256_of(self.audio)]


def find_published() -> ImageBindFiles:
    """Find the files that `bindsearch spaces get imagebind` fetches. Raises `MissingWeights`, `DamagedWeights`."""
    # Imported by name, as the engine imports adapters: the engine decides where weights are stored.
    require = import_module("bindsearch.spaces.locate").require
    image_text = require(SPACE, IMAGE_TEXT_FILE)
    audio = import_module("bindsearch.spaces.catalogue").find_weights(SPACE).folder / AUDIO_SLICE_FILE
    if not audio.is_file():
        extract_audio_tower(require(SPACE, CHECKPOINT_FILE), audio)
    return ImageBindFiles(image_text, audio, with_epsilon(MODEL_CONFIG), {})


def find_in_folder(folder: Path) -> ImageBindFiles:
    """Find the weight files in a folder. Raises `MissingWeights`, `DamagedWeights`."""
    config = _read_config(folder / CONFIG_FILE)
    image_text = first_existing(folder, (IMAGE_TEXT_FILE, "open_clip_pytorch_model.bin"))
    audio = first_existing(folder, (AUDIO_SLICE_FILE, CHECKPOINT_FILE))
    if audio.name == CHECKPOINT_FILE:
        audio = extract_audio_tower(audio, folder / AUDIO_SLICE_FILE)
    return ImageBindFiles(
        image_text, audio, with_epsilon(config.get("model_cfg", MODEL_CONFIG)), config.get("audio", {})
    )


def with_epsilon(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an open_clip configuration with ImageBind's epsilon in every LayerNorm."""
    towers = {name: {**model[name], "norm_kwargs": {"eps": LAYER_NORM_EPS}} for name in ("vision_cfg", "text_cfg")}
    return {**model, **towers}


def extract_audio_tower(checkpoint: Path, target: Path) -> Path:
    """Save the audio entries of a checkpoint as `target`, and return it.

    Raises `DamagedWeights`, `MissingWeights`, `MissingExtra`.
    """
    try:
        save = import_module("safetensors.torch").save_file
        is_audio_entry = import_module("bindsearch.encoders.imagebind.audio_tower").is_audio_entry
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{SPACE} needs the package {error.name!r}: pip install 'bindsearch[models]'") from error
    with open_tensors(checkpoint) as weights:
        entries = {name: weights[name].contiguous() for name in weights if is_audio_entry(name)}
        if not entries:
            raise DamagedWeights(f"{checkpoint} holds no audio tower: it is not a checkpoint of ImageBind")
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            save(entries, draft)
            return draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise MissingWeights(f"{target} cannot be written: {error.strerror or error}") from error


def load_audio_tower(files: ImageBindFiles) -> Any:
    """Load the audio tower in float32. Raises `DamagedWeights` if the file does not match the configuration."""
    from .audio_tower import AudioTowerConfig, build_tower

    try:
        with open_tensors(files.audio) as weights:
            return build_tower({name: weights[name] for name in weights}, AudioTowerConfig(**files.audio_config))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DamagedWeights(f"{files.audio} does not hold the audio tower: {reason}") from error


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedWeights(f"{path} cannot be read: {error}") from error
    return config if isinstance(config, dict) else {}
