"""Where the weights of open_clip's models are on this machine. Nothing here uses the network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg

from bindsearch.errors import MissingWeights

PretrainedConfig = Mapping[str, Any]
"""open_clip's `pretrained_cfg`: where the weights of a tag are published, and how their inputs are prepared."""

LOCAL = "local:"
_CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_PICKLED_CHECKPOINTS = (
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.bin",
    "pytorch_model.pth",
)
_HUB_DEFAULT = "open_clip_pytorch_model.bin"
_HUB_SAFETENSORS = "open_clip_model.safetensors"


def find_weights(model: str, tag: str) -> Path | None:
    """Return the weight file of a tag: from our folder, the hub's cache or open_clip's; None if it is in none."""
    config = get_pretrained_cfg(model, tag)
    repository, _ = hub_location(config)
    names = file_names(config)
    paths = [_weights_folder(model, tag) / name for name in names]
    cached = [path for name in names if repository and (path := cached_file(repository, name))]
    paths += cached or _download_paths(config)
    return next((path for path in paths if path.is_file()), None)


def require_weights(model: str, tag: str) -> Path:
    """Return the weight file of a tag. Raises `MissingWeights`, which says where it is published."""
    found = find_weights(model, tag)
    if found is not None:
        return found
    config = get_pretrained_cfg(model, tag)
    repository, _ = hub_location(config)
    space = f"openclip:{model}/{tag}"
    origin = f"the hub repository {repository}" if repository else str(config.get("url", "an unknown address"))
    size = max_weight_bytes(model)
    up_to = f" (up to {size / 1e6:,.0f} MB)" if size else ""
    raise MissingWeights(
        f"the weights of {space} are not on this machine: `bindsearch spaces get {space}` fetches "
        f"{file_names(config)[0]}{up_to} from {origin}; or put the file into {_weights_folder(model, tag)}; or use a "
        f"file elsewhere as {space}/{LOCAL}PATH"
    )


def checkpoint_at(path: Path) -> Path:
    """Return the weight file at a path: the path itself, or the best file of a folder. Raises `MissingWeights`."""
    if path.is_file():
        return path
    expected = [path / name for name in (*_CHECKPOINTS, *_PICKLED_CHECKPOINTS)]
    others = [each for suffix in ("safetensors", "bin", "pth", "pt") for each in sorted(path.glob(f"*.{suffix}"))]
    found = next((each for each in (*expected, *others) if each.is_file()), None)
    if found is None:
        raise MissingWeights(
            f"there are no weights at {path}: put {_CHECKPOINTS[0]} there, or give the path of the weight file"
        )
    return found


def max_weight_bytes(model: str) -> int:
    """Return the size of a model's parameters in float32; 0 if the architecture does not determine it."""
    from .towers import parameter_bytes

    config = open_clip.get_model_config(model)
    if config is None or config["text_cfg"].get("hf_model_name"):
        return 0
    return parameter_bytes(config)


def hub_location(config: PretrainedConfig) -> tuple[str, str]:
    """Return the hub repository of the weights, and the file if open_clip names one; empty if they have none."""
    repository, _, name = str(config.get("hf_hub", "")).rpartition("/")
    return repository, name


def file_names(config: PretrainedConfig) -> list[str]:
    """Return the names of equivalent weight files, best first: safetensors, as open_clip prefers them too."""
    repository, name = hub_location(config)
    if not repository:
        return [path.name for path in _download_paths(config)]
    if not name:
        return [_HUB_SAFETENSORS, _HUB_DEFAULT]
    stem, suffix = os.path.splitext(name)
    return [f"{stem}.safetensors", name] if suffix in (".bin", ".pth", ".pt") else [name]


def _download_paths(config: PretrainedConfig) -> list[Path]:
    """Return where open_clip keeps a file that it downloaded from a URL."""
    return [Path("~/.cache/clip").expanduser() / Path(str(config["url"])).name] if config.get("url") else []


def _weights_folder(model: str, tag: str) -> Path:
    return folder_for(f"openclip:{model}/{tag}")


def folder_for(space: str) -> Path:
    """Return where `bindsearch spaces get` puts files that are not from the hub, and where people may put files."""
    # Imported by string, because adapters do not import the engine, which decides where files are.
    folder: Path = import_module("bindsearch.core.paths").folder_of_weights(space)
    return folder


def cached_file(repository: str, name: str) -> Path | None:
    """Return a file of a hub repository from the hub's cache; None if it is not there."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repository, name, cache_dir=constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) else None
