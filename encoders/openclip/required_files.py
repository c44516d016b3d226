"""Which published files a space needs, for `bindsearch spaces get`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .licences import Licence, licence_of
from .model_source import listed_model, source_from_folder, source_from_name
from .weight_location import LOCAL, PretrainedConfig, file_names, find_weights, hub_location, max_weight_bytes


@dataclass(frozen=True, slots=True)
class RequiredFile:
    """A published file that a space needs."""

    name: str
    repository: str = ""
    """On the hub; if empty, there is an `address`."""
    address: str = ""
    max_size: int = 0
    """Bytes; 0 if the architecture does not determine it."""
    alternative: str = ""
    """An equivalent file of the repository."""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class RequiredFiles:
    """The published files that a space needs, and the licence of its weights."""

    files: tuple[RequiredFile, ...]
    licence: Licence


def required_files(space: str) -> RequiredFiles:
    """Return the published files that `openclip:...` or `local:...` needs, and its licence.

    Weights that the name gives the path of are not among them. Raises `UnknownSpace`, `MissingWeights`, `SpaceError`.
    """
    if LOCAL in space:
        return _required_beside_local(space)
    name = space.partition(":")[2]
    listed = listed_model(name, tag_required=True)
    weights = _weight_file(listed.model, listed.tag, listed.pretrained)
    return RequiredFiles((weights, *text_tower_files(listed.config)), licence_of(name))


def _required_beside_local(space: str) -> RequiredFiles:
    family, _, rest = space.partition(":")
    source = source_from_folder(rest) if f"{family}:" == LOCAL else source_from_name(rest)
    files = text_tower_files(source.config)
    missing = (each for each in files if source.folder is None or not _is_in_folder(source.folder, each))
    return RequiredFiles(tuple(missing), source.licence)


def _weight_file(model: str, tag: str, config: PretrainedConfig) -> RequiredFile:
    size = 0 if find_weights(model, tag) else max_weight_bytes(model)
    repository, _ = hub_location(config)
    first, *others = file_names(config)
    if not repository:
        return RequiredFile(first, address=str(config["url"]), max_size=size)
    return RequiredFile(first, repository, max_size=size, alternative=others[0] if others else "")


def text_tower_files(config: Mapping[str, Any]) -> list[RequiredFile]:
    """Return what the text tower of a configuration needs besides its weights: a configuration, a tokenizer."""
    text = config.get("text_cfg", {})
    tower, tokenizer = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    files = [RequiredFile("config.json", tower)] if tower else []
    if tokenizer:
        files.append(RequiredFile("tokenizer.json", tokenizer, alternative="spiece.model"))
        files += [
            RequiredFile(name, tokenizer, optional=True)
            for name in ("tokenizer_config.json", "special_tokens_map.json")
        ]
    return [each for each in files if not Path(each.repository).is_absolute()]


def _is_in_folder(folder: Path, file: RequiredFile) -> bool:
    return any((folder / name).is_file() for name in (file.name, file.alternative) if name)
