"""Configurations and tokenizers that some text towers need besides the weights, from repositories of the hub."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip

from bindsearch.errors import DamagedWeights, MissingWeights

from .model_source import ModelSource
from .weight_location import cached_file, folder_for

_TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "tokenizer_config.json")


def with_text_files(source: ModelSource) -> Mapping[str, Any]:
    """Return the configuration with the hub repository of its text tower replaced by a folder on this machine.

    Otherwise transformers would use the network. Raises `MissingWeights`.
    """
    config = deepcopy(dict(source.config))
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        text["hf_model_name"] = str(_find_folder(source, text["hf_model_name"], ("config.json",)))
    return config


def load_tokenizer(source: ModelSource) -> Any:
    """Return the tokenizer that belongs to the weights. Raises `MissingWeights`, `DamagedWeights`."""
    text = source.config["text_cfg"]
    length = text.get("context_length", 77)
    settings = dict(text.get("tokenizer_kwargs") or {})
    repository = text.get("hf_tokenizer_name")
    if not repository:
        return open_clip.SimpleTokenizer(context_length=length, **settings)
    folder = _find_folder(source, repository, _TOKENIZER_FILES)
    mode = text.get("tokenizer_mode")
    settings |= {"trust_remote_code": False, "local_files_only": True}  # a configuration must not run code
    try:
        return open_clip.tokenizer.HFTokenizer(str(folder), context_length=length, tokenizer_mode=mode, **settings)
    except (OSError, ValueError, KeyError, TypeError) as error:  # transformers raises these for damaged files
        reason = str(error).strip().partition("\n")[0]
        raise DamagedWeights(f"the tokenizer in {folder} cannot be loaded: {reason}") from error


def _find_folder(source: ModelSource, repository: str, names: tuple[str, ...]) -> Path:
    """Return the folder on this machine that holds one of these files of a hub repository. Raises `MissingWeights`."""
    if source.folder is not None and any((source.folder / name).is_file() for name in names):
        return source.folder
    if Path(repository).is_absolute() and Path(repository).is_dir():
        return Path(repository)
    paths = [folder_for(source.name) / name for name in names]
    paths += [path for name in names if (path := cached_file(repository, name))]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        or_folder = f" or {source.folder}" if source.folder else ""
        raise MissingWeights(
            f"the text tower of {source.name} needs {names[0]} of the hub repository {repository}, which is not on "
            f"this machine: `bindsearch spaces get {source.name}` fetches it, or put it into "
            f"{folder_for(source.name)}{or_folder}"
        )
    return found.parent
