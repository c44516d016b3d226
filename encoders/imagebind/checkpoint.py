"""Where ImageBind's weights lie, and how its audio tower is cut out of the published checkpoint, once.

The checkpoint holds six modalities in 4.8 GB. Pictures and texts are open_clip's towers, so only the 177 entries of
the audio tower are wanted: they are read through a memory map and kept as 345 MB of safetensors, under their names.
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
"""May lie beside weights of another shape than the published: `model_cfg` as open_clip writes it, and `audio`."""

MODEL_CONFIG: Mapping[str, Any] = {
    "embed_dim": 1024,
    "vision_cfg": {"image_size": 224, "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49_408, "width": 1024, "heads": 16, "layers": 24},
}
"""open_clip's ViT-H-14."""
LAYER_NORM_EPS = 1e-6
"""Of every LayerNorm in ImageBind; open_clip's is 1e-5 unless told otherwise."""


@dataclass(frozen=True, slots=True)
class ImageBindFiles:
    """What the space is made of; nothing of it is loaded."""

    image_text: Path
    """open_clip's weights for pictures and texts."""
    audio: Path
    """The audio tower's entries of the checkpoint."""
    model: Mapping[str, Any]
    """open_clip's `model_cfg`, with ImageBind's epsilon."""
    shape: Mapping[str, Any]
    """What differs from the published audio tower."""

    def identity(self) -> list[object]:
        """Return what tells these weights from others."""
        return [self.model, self.shape, sha256_of(self.image_text), sha256_of(self.audio)]


def find_published() -> ImageBindFiles:
    """Find what `bindsearch spaces get imagebind` fetches. Raises `MissingWeights`, `DamagedWeights`."""
    # By string, as the engine loads adapters: where weights lie is the engine's to say.
    require = import_module("bindsearch.spaces.locate").require
    image_text = require(SPACE, IMAGE_TEXT_FILE)
    own = import_module("bindsearch.spaces.catalogue").find_weights(SPACE).folder / AUDIO_SLICE_FILE
    audio = own if own.is_file() else extract_audio_tower(require(SPACE, CHECKPOINT_FILE), own)
    return ImageBindFiles(image_text, audio, with_epsilon(MODEL_CONFIG), {})


def find_in_folder(folder: Path) -> ImageBindFiles:
    """Find the same files in a folder. Raises `MissingWeights`, `DamagedWeights`."""
    told = _config(folder / CONFIG_FILE)
    image_text = first_existing(folder, (IMAGE_TEXT_FILE, "open_clip_pytorch_model.bin"))
    audio = first_existing(folder, (AUDIO_SLICE_FILE, CHECKPOINT_FILE))
    if audio.name == CHECKPOINT_FILE:
        audio = extract_audio_tower(audio, folder / AUDIO_SLICE_FILE)
    return ImageBindFiles(image_text, audio, with_epsilon(told.get("model_cfg", MODEL_CONFIG)), told.get("audio", {}))


def with_epsilon(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an open_clip configuration in which every LayerNorm has ImageBind's epsilon."""
    towers = {name: {**model[name], "norm_kwargs": {"eps": LAYER_NORM_EPS}} for name in ("vision_cfg", "text_cfg")}
    return {**model, **towers}


def extract_audio_tower(checkpoint: Path, target: Path) -> Path:
    """Cut the audio tower out of a checkpoint, into a file of its own. Raises `DamagedWeights`, `MissingWeights`."""
    try:
        save = import_module("safetensors.torch").save_file
        is_audio_entry = import_module("bindsearch.encoders.imagebind.audio_tower").is_audio_entry
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{SPACE} needs the package {error.name!r}: pip install 'bindsearch[models]'") from error
    with open_tensors(checkpoint) as weights:
        mine = {name: weights[name].contiguous() for name in weights if is_audio_entry(name)}
        if not mine:
            raise DamagedWeights(f"{checkpoint} holds no audio tower of ImageBind: it is another checkpoint")
        draft = target.with_name(f"{target.name}.{os.getpid()}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            save(mine, draft)
            return draft.replace(target)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise MissingWeights(f"{target} cannot be written: {error.strerror or error}") from error


def load_audio_tower(files: ImageBindFiles) -> Any:
    """Read the audio tower, in float32. Raises `DamagedWeights` where the file is not of its shape."""
    from .audio_tower import AudioTowerConfig, build_tower

    try:
        with open_tensors(files.audio) as weights:
            return build_tower({name: weights[name] for name in weights}, AudioTowerConfig(**files.shape))
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise DamagedWeights(f"{files.audio} does not hold the audio tower: {first}") from error


def _config(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedWeights(f"{path} cannot be read: {error}") from error
    return told if isinstance(told, dict) else {}
