"""From the name of a space to what makes it: architecture, preprocessing, tokens, licence, and where the weights lie.

Nothing here goes to the network: weights are looked for in the hub's cache on this machine, or where a name says.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import open_clip
from open_clip.pretrained import get_pretrained_cfg, list_pretrained

from bindsearch.errors import DamagedWeights, MissingWeights, SpaceError, UnknownSpace

LOCAL = "local:"
CONFIG = "open_clip_config.json"
_CHECKPOINTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "model.safetensors")
_PICKLED_CHECKPOINTS = (
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "pytorch_model.bin",
    "pytorch_model.pth",
)
_HUB_DEFAULT = "open_clip_pytorch_model.bin"
_HUB_SAFETENSORS = "open_clip_model.safetensors"
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "sentencepiece.bpe.model", "vocab.txt", "tokenizer_config.json")

LICENCES = (
    ("*/openai", "MIT", True),
    ("ViT-B-32/laion2b_s34b_b79k", "MIT", True),
    ("ViT-H-14/laion2b_s32b_b79k", "MIT", True),
    ("ViT-B-16/datacomp_xl_s13b_b90k", "MIT", True),
    ("PE-Core-*/meta", "Apache-2.0", True),
    ("MobileCLIP-*/datacompdr*", "apple-amlr", False),
)
"""Pattern of MODEL/TAG, licence of the weights, whether it allows commercial use; the first that fits counts.

Only what was read where the weights are published. A tag often names the pictures that a model was trained on, and
not who published it: nothing can be told from that.
"""
UNSTATED = "not stated"


@dataclass(frozen=True)
class ModelSource:
    """What a space is made of; nothing of it is loaded."""

    name: str
    config: Mapping[str, Any]
    """open_clip's `model_cfg`, with the activation that belongs to the weights."""
    preprocess: Mapping[str, Any]
    checkpoint: Path
    licence: str = UNSTATED
    commercial: bool = False
    folder: Path | None = None
    """Where a tokenizer of its own lies, for a model in a folder."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """Hub repository -> its folder here, for what a text tower needs beside the weights."""


def pretrained_names() -> list[str]:
    """Return MODEL/TAG of all weights that the installed open_clip lists."""
    return sorted(f"{model}/{tag}" for model, tag in list_pretrained())


def source_from_name(rest: str) -> ModelSource:
    """Read what follows `openclip:`: MODEL/TAG, MODEL/TAG/local:PATH or MODEL/local:PATH.

    Raises `UnknownSpace`, `MissingWeights`.
    """
    named, local, path = rest.partition(f"/{LOCAL}")
    model, tag, config, told = _look_up(named, tag_wanted=not (local and path))
    if told.get("quick_gelu"):
        config["quick_gelu"] = True
    licence, commercial = licence_of(named) if tag else (UNSTATED, False)
    place = _absolute_path(path) if local else None
    return ModelSource(
        name=f"openclip:{named}/{LOCAL}{place}" if local else f"openclip:{model}/{tag}",
        config=config,
        preprocess=told,
        checkpoint=_checkpoint(place) if place else require_weights(model, tag),
        licence=licence,
        commercial=commercial,
    )


def _look_up(named: str, *, tag_wanted: bool) -> tuple[str, str, dict[str, Any], Mapping[str, Any]]:
    """Return model, tag, and what open_clip says of both. Raises `UnknownSpace` for what it does not list."""
    model, _, tag = named.partition("/")
    told = get_pretrained_cfg(model, tag) if tag else {}
    # It would look on the network for the model of a name that begins with `hf-hub:`.
    config = open_clip.get_model_config(model) if model in open_clip.list_models() else None
    if config is None or (tag and not told) or (tag_wanted and not tag):
        raise UnknownSpace(f"open_clip lists no {named!r}{_suggestion(named)}; `bindsearch spaces --all` lists all")
    return model, tag, config, told


def source_from_folder(path: str) -> ModelSource:
    """Read a folder in open_clip's own layout: its configuration and a file of weights.

    Raises `MissingWeights`, `SpaceError`.
    """
    folder = _absolute_path(path)
    try:
        told = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config, preprocess = told["model_cfg"], told.get("preprocess_cfg", {})
    except OSError as error:
        raise MissingWeights(
            f"{folder} is no folder with {CONFIG} and weights; for a file of weights, name the model that they are of: "
            f"openclip:MODEL/{LOCAL}PATH"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise SpaceError(f"{folder / CONFIG} is no configuration of open_clip's: {error!r}") from error
    return ModelSource(
        name=f"{LOCAL}{folder}",
        config=config,
        preprocess=preprocess,
        checkpoint=_checkpoint(folder),
        licence=str(told.get("license", UNSTATED)),
        commercial=bool(told.get("commercial", False)),
        folder=folder,
    )


def licence_of(named: str) -> tuple[str, bool]:
    """Return the licence of a MODEL/TAG's weights, and whether it allows commercial use; no, where it is not known."""
    for pattern, licence, commercial in LICENCES:
        if fnmatch(named, pattern):
            return licence, commercial
    return UNSTATED, False


# Where weights lie --------------------------------------------------------------------------------------------------


def require_weights(model: str, tag: str) -> Path:
    """Find the weights of a tag in the hub's cache on this machine. Raises `MissingWeights`."""
    found = find_weights(model, tag)
    if found is not None:
        return found
    told = get_pretrained_cfg(model, tag)
    repo, _ = _hub_location(told)
    space = f"openclip:{model}/{tag}"
    origin = f"hub repository {repo}" if repo else str(told.get("url", "an unknown place"))
    size = _max_size(model)
    about = f" (up to {size / 1e6:,.0f} MB)" if size else ""
    raise MissingWeights(
        f"the weights of {space} are not on this machine: {_file_names(told)[0]}{about} from {origin}; "
        f"`bindsearch spaces get {space}` fetches them; or put the file into {_weights_folder(model, tag)}; or use a "
        f"file anywhere as {space}/{LOCAL}PATH"
    )


def find_weights(model: str, tag: str) -> Path | None:
    """Find the weights of a tag on this machine, None where they are not."""
    told = get_pretrained_cfg(model, tag)
    repo, _ = _hub_location(told)
    known = [_weights_folder(model, tag) / name for name in _file_names(told)]
    known += [path for name in _file_names(told) if repo and (path := cached_file(repo, name))] or _download_paths(told)
    return next((path for path in known if path.is_file()), None)


def _weights_folder(model: str, tag: str) -> Path:
    """Return where `bindsearch spaces get` keeps what does not come from the hub, and where people may put files."""
    return _folder_for(f"openclip:{model}/{tag}")


def _folder_for(space: str) -> Path:
    # By string, as the engine loads adapters: where things lie is the engine's to say.
    folder: Path = import_module("bindsearch.core.paths").folder_of_weights(space)
    return folder


def cached_file(repo: str, name: str) -> Path | None:
    """Find a file of a hub repository in the hub's cache, without asking the hub."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repo, name, cache_dir=constants.HF_HUB_CACHE)
    return Path(found) if isinstance(found, str) else None


def _hub_location(told: Mapping[str, Any]) -> tuple[str, str]:
    """Split what open_clip says of the hub into repository and file."""
    repo, _, name = str(told.get("hf_hub", "")).rpartition("/")
    return repo, name


def _file_names(told: Mapping[str, Any]) -> list[str]:
    """Name the files that would do, the best first: safetensors, as open_clip itself prefers."""
    repo, name = _hub_location(told)
    if not repo:
        return [path.name for path in _download_paths(told)]
    if not name:
        return [_HUB_SAFETENSORS, _HUB_DEFAULT]
    stem, suffix = os.path.splitext(name)
    return [f"{stem}.safetensors", name] if suffix in (".bin", ".pth", ".pt") else [name]


def _download_paths(told: Mapping[str, Any]) -> list[Path]:
    """Return where open_clip keeps what it gets from an address."""
    return [Path("~/.cache/clip").expanduser() / Path(str(told["url"])).name] if told.get("url") else []


def _checkpoint(path: Path) -> Path:
    """Find the file of weights that a path means: itself, or the best one in a folder. Raises `MissingWeights`."""
    if path.is_file():
        return path
    known = [path / name for name in (*_CHECKPOINTS, *_PICKLED_CHECKPOINTS)]
    others = [each for ending in ("safetensors", "bin", "pth", "pt") for each in sorted(path.glob(f"*.{ending}"))]
    found = next((each for each in (*known, *others) if each.is_file()), None)
    if found is None:
        raise MissingWeights(f"no weights are at {path}: put {_CHECKPOINTS[0]} there, or name the file")
    return found


def _max_size(model: str) -> int:
    """Return how large the weights are at most; 0 where the architecture does not tell."""
    from .towers import parameter_bytes

    config = open_clip.get_model_config(model)
    if config is None or config["text_cfg"].get("hf_model_name"):
        return 0
    return parameter_bytes(config)


def _absolute_path(path: str) -> Path:
    return Path(os.path.abspath(os.path.expanduser(path)))


def _suggestion(named: str) -> str:
    near = difflib.get_close_matches(named, pretrained_names(), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(f'openclip:{each}' for each in near)}?)" if near else ""


# What a text tower needs beside the weights -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequiredFile:
    """A file that a space needs and that is published somewhere."""

    name: str
    repository: str = ""
    """On the hub; else there is an address."""
    address: str = ""
    size: int = 0
    """Bytes, at most; 0 where the architecture does not tell."""
    alternative: str = ""
    """Another file of the repository that does as well."""
    optional: bool = False


def required_files(space: str) -> tuple[list[RequiredFile], str, bool]:
    """Return what `openclip:...` or `local:...` needs of what is published, its licence, and whether that is "
    f"commercial.

    Weights whose place the name says are not among it. Raises `UnknownSpace`, `MissingWeights`, `SpaceError`.
    """
    if LOCAL in space:
        family, _, rest = space.partition(":")
        source = source_from_folder(rest) if f"{family}:" == LOCAL else source_from_name(rest)
        files = [
            each
            for each in _text_tower_files(source.config)
            if source.folder is None or not _is_in_folder(source.folder, each)
        ]
        return files, source.licence, source.commercial
    named = space.partition(":")[2]
    model, tag, config, told = _look_up(named, tag_wanted=True)
    return [_weights_file(model, tag, told), *_text_tower_files(config)], *licence_of(named)


def _weights_file(model: str, tag: str, told: Mapping[str, Any]) -> RequiredFile:
    size = 0 if find_weights(model, tag) else _max_size(model)
    repo, _ = _hub_location(told)
    first, *others = _file_names(told)
    if not repo:
        return RequiredFile(first, address=str(told["url"]), size=size)
    return RequiredFile(first, repo, size=size, alternative=others[0] if others else "")


def _text_tower_files(config: Mapping[str, Any]) -> list[RequiredFile]:
    """Return what the text tower of a configuration needs beside its weights."""
    text = config.get("text_cfg", {})
    tower, words = text.get("hf_model_name"), text.get("hf_tokenizer_name")
    found = [RequiredFile("config.json", tower)] if tower else []
    if words:
        found.append(RequiredFile("tokenizer.json", words, alternative="spiece.model"))
        found += [
            RequiredFile(name, words, optional=True) for name in ("tokenizer_config.json", "special_tokens_map.json")
        ]
    return [each for each in found if not Path(each.repository).is_absolute()]


def _is_in_folder(folder: Path, file: RequiredFile) -> bool:
    return any((folder / name).is_file() for name in (file.name, file.alternative) if name)


def with_text_files(source: ModelSource) -> Mapping[str, Any]:
    """Return the configuration with the hub repositories of its text tower replaced by their folders here.

    Raises `MissingWeights`: transformers would go to the network for them.
    """
    config = deepcopy(dict(source.config))
    text = config["text_cfg"]
    if text.get("hf_model_name"):
        text["hf_model_name"] = str(_find_text_files(source, text["hf_model_name"], ("config.json",)))
    return config


def load_tokenizer(source: ModelSource) -> Any:
    """Make the tokenizer that belongs to the weights. Raises `MissingWeights`, `SpaceError`."""
    text = source.config["text_cfg"]
    length = text.get("context_length", 77)
    settings = dict(text.get("tokenizer_kwargs") or {})
    repo = text.get("hf_tokenizer_name")
    if not repo:
        return open_clip.SimpleTokenizer(context_length=length, **settings)
    folder = _find_text_files(source, repo, _TOKENIZER_FILES)
    mode = text.get("tokenizer_mode")
    settings |= {"trust_remote_code": False, "local_files_only": True}  # a configuration must not run programs
    try:
        return open_clip.tokenizer.HFTokenizer(str(folder), context_length=length, tokenizer_mode=mode, **settings)
    except (OSError, ValueError, KeyError, TypeError) as error:  # what transformers makes of files that are none
        first = str(error).strip().partition("\n")[0]
        raise DamagedWeights(f"{folder} holds no tokenizer that can be used ({first})") from error


def _find_text_files(source: ModelSource, repo: str, wanted: tuple[str, ...]) -> Path:
    """Find the folder here that holds a hub repository's files."""
    if source.folder is not None and any((source.folder / name).is_file() for name in wanted):
        return source.folder
    if Path(repo).is_absolute() and Path(repo).is_dir():
        return Path(repo)
    own = [_folder_for(source.name) / name for name in wanted]
    known = [*own, *(path for name in wanted if (path := cached_file(repo, name)))]
    found = next((path for path in known if path.is_file()), None)
    if found is None:
        beside = f" or {source.folder}" if source.folder else ""
        raise MissingWeights(
            f"the text tower of {source.name} needs {wanted[0]} from hub repository {repo}, which is not on this "
            f"machine: `bindsearch spaces get {source.name}` gets it, or put it into {_folder_for(source.name)}{beside}"
        )
    return found.parent
