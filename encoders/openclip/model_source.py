"""What makes up a space, found by its name: architecture, preprocessing, weight file and licence.

Nothing here uses the network.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg, list_pretrained

from bindsearch.errors import MissingWeights, SpaceError, UnknownSpace

from .licences import UNSTATED, Licence, licence_of
from .weight_location import LOCAL, PretrainedConfig, checkpoint_at, require_weights

CONFIG_FILE = "open_clip_config.json"


@dataclass(frozen=True)
class ModelSource:
    """What a space is made of; nothing of it is loaded."""

    name: str
    config: Mapping[str, Any]
    """open_clip's `model_cfg`, with the activation that the weights were trained with."""
    preprocess: Mapping[str, Any]
    """open_clip's `preprocess_cfg`."""
    checkpoint: Path
    licence: Licence = UNSTATED
    folder: Path | None = None
    """The folder of a local model, which may hold its tokenizer too."""


@dataclass(frozen=True)
class ListedModel:
    """A model that open_clip lists, with the weights of a tag if one was given."""

    model: str
    tag: str
    config: dict[str, Any]
    pretrained: PretrainedConfig
    """Empty without a tag."""


def pretrained_names() -> list[str]:
    """Return MODEL/TAG of all weights that the installed open_clip lists."""
    return sorted(f"{model}/{tag}" for model, tag in list_pretrained())


def source_from_name(rest: str) -> ModelSource:
    """Return the source for what follows `openclip:`: MODEL/TAG, MODEL/TAG/local:PATH or MODEL/local:PATH.

    Raises `UnknownSpace`, `MissingWeights`.
    """
    name, local, path = rest.partition(f"/{LOCAL}")
    listed = listed_model(name, tag_required=not (local and path))
    config = listed.config | ({"quick_gelu": True} if listed.pretrained.get("quick_gelu") else {})
    path_given = _absolute_path(path) if local else None
    return ModelSource(
        name=f"openclip:{name}/{LOCAL}{path_given}" if local else f"openclip:{listed.model}/{listed.tag}",
        config=config,
        preprocess=listed.pretrained,
        checkpoint=checkpoint_at(path_given) if path_given else require_weights(listed.model, listed.tag),
        licence=licence_of(name) if listed.tag else UNSTATED,
    )


def listed_model(name: str, *, tag_required: bool) -> ListedModel:
    """Return what open_clip lists for MODEL/TAG or, unless a tag is required, MODEL. Raises `UnknownSpace`."""
    model, _, tag = name.partition("/")
    pretrained = get_pretrained_cfg(model, tag) if tag else {}
    # For a name that begins with `hf-hub:`, get_model_config would use the network.
    config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
    if config is None or (tag and not pretrained) or (tag_required and not tag):
        raise UnknownSpace(
            f"open_clip lists no weights called {name!r}{_suggestion(name)}; `bindsearch spaces --all` lists them all"
        )
    return ListedModel(model, tag, config, pretrained)


def source_from_folder(path: str) -> ModelSource:
    """Return the source for a folder in open_clip's layout: a configuration and a weight file.

    Raises `MissingWeights`, `SpaceError`.
    """
    folder = _absolute_path(path)
    file = folder / CONFIG_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        config, preprocess = values["model_cfg"], values.get("preprocess_cfg", {})
    except OSError as error:
        raise MissingWeights(
            f"{file} cannot be read ({error.strerror}); to use a weight file without it, name its model: "
            f"openclip:MODEL/{LOCAL}PATH"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpaceError(f"{file} is not a configuration of open_clip: {error!r}") from error
    return ModelSource(
        name=f"{LOCAL}{folder}",
        config=config,
        preprocess=preprocess,
        checkpoint=checkpoint_at(folder),
        licence=Licence(str(values.get("license", UNSTATED.name)), bool(values.get("commercial", False))),
        folder=folder,
    )


def _absolute_path(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _suggestion(name: str) -> str:
    similar = difflib.get_close_matches(name, pretrained_names(), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(f'openclip:{each}' for each in similar)}?)" if similar else ""
