"""The weights of the spaces that do not ship inside: where they come from, what their licences allow, where they lie.

Nothing is fetched unless `get` is called. What was put in place by hand is taken as it is found.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from bindsearch import registry
from bindsearch.core.paths import absolute, folder_of_weights, weights_folder
from bindsearch.core.space_name import SpaceName
from bindsearch.core.suggest import closest
from bindsearch.errors import DamagedWeights, LicenceRefused, MissingExtra, MissingWeights, UnknownSpace
from bindsearch.spaces.download import MediaFacts, check, download

OFFLINE = ("BINDSEARCH_OFFLINE", "HF_HUB_OFFLINE")
"""Variables of the environment that forbid the network."""
UNKNOWN_LICENCE = "not stated"
HERE = "lies where its name says"


@dataclass(frozen=True, slots=True)
class File:
    """One file of weights: on the hub, or at an address."""

    name: str
    about: int = 0
    """Bytes, as far as published, or as the architecture tells; 0 where nobody says."""
    repository: str = ""
    """On the hub."""
    address: str = ""
    size: int | None = None
    """Bytes, where they are published exactly."""
    sha256: str | None = None
    instead: str = ""
    """Another file that does as well: taken if it lies there, or if the hub has no `name`."""
    optional: bool = False
    """Whether the space may do without it: then it is no fault if the hub has none."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.address or f"https://huggingface.co/{self.repository}/blob/main/{self.name}"


@dataclass(frozen=True, slots=True)
class Weights:
    """All that a space needs, and under which licence."""

    space: str
    files: tuple[File, ...]
    licence: str
    """Of the strictest of the files, as an SPDX name where there is one."""
    commercial: bool
    terms: str
    """In words, with the place of the full text; of a space without files, where it lies."""

    @property
    def permit(self) -> str:
        """What the licence is and allows, in a few words."""
        if self.licence == UNKNOWN_LICENCE:
            return "bindsearch does not know its licence"
        return f"licence {self.licence}" + ("" if self.commercial else ", not for commercial use")

    @property
    def folder(self) -> Path:
        """Where its files may be put by hand."""
        return folder_of_weights(self.space)


def _clap(repository: str, about: int = 0) -> tuple[File, ...]:
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    weights = File("model.safetensors", about, repository, instead="pytorch_model.bin")
    return (weights, *(File(name, 0, repository) for name in names))


def _of_laion(name: str, about: int = 0) -> Weights:
    repository = f"laion/{name}"
    return Weights(f"clap:{repository}", _clap(repository, about), "MIT", True, f"https://huggingface.co/{repository}")


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_IN_A_FOLDER = ("clap:local:", "imagebind/local:", "bound:")
_FOLLOWS = {
    "openclip:": "MODEL/TAG, as in openclip:ViT-B-32/laion2b_s34b_b79k (`bindsearch spaces --all` lists them)",
    "clap:": "a repository of the hub, as in clap:laion/clap-htsat-unfused",
    "local:": "a folder, as in local:~/models/mine",
    **{family: f"a folder, as in {family}~/models/mine" for family in _IN_A_FOLDER},
}
"""Family -> what has to follow its colon."""

KNOWN = {
    weights.space: weights
    for weights in (
        Weights(
            "imagebind",
            (
                File("open_clip_model.safetensors", 3_944_000_000, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
                File(
                    "imagebind_huge.pth",
                    4_803_000_000,
                    address="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
                    instead="imagebind_audio.safetensors",
                ),
            ),
            "CC-BY-NC-SA-4.0",
            False,
            "Sound: by attribution, not for commercial use, share alike (its README says CC-BY-NC 4.0, its licence "
            "file CC-BY-NC-SA 4.0): https://creativecommons.org/licenses/by-nc-sa/4.0/. Pictures and texts: MIT.",
        ),
        _of_laion("clap-htsat-unfused", 614_000_000),
        _of_laion("clap-htsat-fused"),
        _of_laion("larger_clap_general", 776_000_000),
    )
}
"""Space -> its weights, where this table knows more than that there is such a repository."""


def find(space: str) -> Weights:
    """Return what a space needs. Raises `UnknownSpace`, with the nearest names, and what reading a local one raises."""
    if space in KNOWN:
        return KNOWN[space]
    name = SpaceName(space)
    if space in _FOLLOWS:
        raise UnknownSpace(f"{space} is a family of spaces: after it goes {_FOLLOWS[space]}")
    if name.family in ("openclip:", "local:"):
        return _of_open_clip(space)
    if name.family == "clap:" and _REPOSITORY.fullmatch(name.member):
        return Weights(space, _clap(name.member), UNKNOWN_LICENCE, False, _page(name.member))
    if ":" not in space and space in registry.spaces():
        return Weights(space, (), "MIT", True, "ships inside")
    if name.stem in _IN_A_FOLDER:
        folder = Path(name.folder).expanduser()
        if not folder.is_dir():
            raise MissingWeights(f"{space}: there is no folder {folder}")
        return Weights(space, (), UNKNOWN_LICENCE, False, HERE)
    family = f"{name.family.removesuffix(':')}:"
    if family in _FOLLOWS:
        raise UnknownSpace(f"no weights are known for {space!r}: after {family} goes {_FOLLOWS[family]}")
    raise UnknownSpace(f"no weights are known for {space!r}{_nearest(space)}")


def _of_open_clip(space: str) -> Weights:
    """Ask the adapter, which knows where open_clip's weights come from, what their words need, and the licences."""
    try:
        needed = import_module("bindsearch.encoders.openclip.model_source").needed
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{space} needs the package {error.name!r}: pip install 'bindsearch[models]'") from error
    name = SpaceName(space)
    space = name.with_folder(absolute([name.folder])[0]).text if name.folder else space
    wanted, licence, commercial = needed(space)
    files = tuple(
        File(each.name, each.size, each.repository, each.address, instead=each.instead, optional=each.optional)
        for each in wanted
    )
    places = dict.fromkeys(_page(each.repository) if each.repository else f"Read {each.address}" for each in wanted)
    return Weights(space, files, licence, commercial, ". ".join(places) or HERE)


def _page(repository: str) -> str:
    return f"Read https://huggingface.co/{repository}"


def _nearest(space: str) -> str:
    whole = [name for name in registry.spaces() if not name.endswith(":")]
    near = closest(space, dict.fromkeys([*KNOWN, *whole]), n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(sorted(KNOWN))}"


# What lies on this machine ----------------------------------------------------------------------------------------


def located(weights: Weights, file: File) -> Path | None:
    """Return where a file lies: put there by hand or by `get`, or in the hub's cache. Never asks the network."""
    for name in filter(None, (file.name, file.instead)):
        if (own := weights.folder / name).exists():
            return own
    return _cached(file) if file.repository else None


def _cached(file: File) -> Path | None:
    try:
        look = import_module("huggingface_hub").try_to_load_from_cache
    except ModuleNotFoundError:
        return None
    found = (look(file.repository, name) for name in filter(None, (file.name, file.instead)))
    return next((Path(path) for path in found if isinstance(path, str)), None)


def need(space: str, name: str) -> Path:
    """Return the path of a space's file. Raises `MissingWeights`, which says how to come by it."""
    weights = find(space)
    file = next(file for file in weights.files if file.name == name)
    path = located(weights, file)
    if path is None:
        raise missing(weights, file)
    return path


def missing(weights: Weights, file: File, *, why: str = "") -> MissingWeights:
    """Say which file, how large, from where, and where it may be put by hand."""
    size = f" ({in_words(file.about)})" if file.about else ""
    return MissingWeights(
        f"{weights.space} needs {file.name}{size}, which is not on this machine{why}: "
        f"`bindsearch spaces get {weights.space}` fetches it, or put it at {_shown(weights.folder / file.name)}; "
        f"it comes from {file.origin}"
    )


def _shown(path: Path) -> str:
    """Return a path as people write it, with ~ for their home."""
    home = Path.home()
    return f"~{os.sep}{path.relative_to(home)}" if path.is_relative_to(home) else str(path)


def in_words(size: int) -> str:
    """Return a size as people say it."""
    for unit, per in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= per:
            return f"{size / per:.3g} {unit}"
    return f"{size} bytes"


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() in {"1", "true", "yes", "on"} for name in OFFLINE)


# Licences ---------------------------------------------------------------------------------------------------------


def allow(weights: Weights) -> None:
    """Raise `LicenceRefused` unless commercial use is known to be allowed."""
    if not weights.commercial:
        raise LicenceRefused(
            f"{weights.space} is refused, as only weights for commercial use are wanted: {weights.permit}. "
            f"{weights.terms}"
        )


def is_accepted(weights: Weights) -> bool:
    """Whether the licence was accepted before, on this machine."""
    return bool(_accepted().get(weights.space) == weights.licence)


def remember(weights: Weights) -> None:
    """Note that the licence was accepted, and when."""
    noted = _note() | {weights.space: {"licence": weights.licence, "accepted": date.today().isoformat()}}
    weights_folder().mkdir(parents=True, exist_ok=True)
    _note_file().write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")


def _accepted() -> dict[str, str]:
    return {space: str(each.get("licence")) for space, each in _note().items() if isinstance(each, dict)}


def _note() -> dict[str, Any]:
    try:
        noted = json.loads(_note_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):  # nothing was accepted, or nobody can read what: ask again
        return {}
    return noted if isinstance(noted, dict) else {}


def _note_file() -> Path:
    return weights_folder() / "licences.json"


# Fetching ---------------------------------------------------------------------------------------------------------


def get(
    weights: Weights,
    *,
    accept: Callable[[Weights], bool],
    commercial: bool = False,
    offline: bool = False,
    told: Callable[[File], MediaFacts],
) -> Iterator[tuple[File, Path]]:
    """Bring what is missing, and give each file with its path as it comes to be there.

    `accept` is asked once for each space, before its first download. Raises `LicenceRefused`, `MissingWeights`,
    `DamagedWeights`, `MissingExtra`.
    """
    if commercial:
        allow(weights)
    for file in weights.files:
        path = located(weights, file)
        if path is None:
            if offline or is_offline():
                if file.optional:
                    continue
                raise missing(weights, file, why=", and the network is not to be used")
            _accept_once(weights, accept)
            path = _fetched(weights, file, told(file))
            if path is None:
                continue
        else:
            _check_there(path, file)
        yield file, path


def _check_there(path: Path, file: File) -> None:
    if path.name == file.name:
        check(path, size=file.size, sha256=file.sha256)


def _accept_once(weights: Weights, accept: Callable[[Weights], bool]) -> None:
    if is_accepted(weights):
        return
    if not accept(weights):
        raise LicenceRefused(
            f"{weights.space} was not fetched: its licence ({weights.licence}) was not accepted; "
            "--accept-licence accepts it without a question"
        )
    remember(weights)


def _fetched(weights: Weights, file: File, told: MediaFacts) -> Path | None:
    """Bring a file; None if it is optional and the hub has none."""
    if file.address:
        return download(file.address, weights.folder / file.name, size=file.size, sha256=file.sha256, told=told)
    try:
        hub = import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"fetching {file.name} needs the package {error.name!r}: pip install huggingface_hub, or "
            f"put the file at {_shown(weights.folder / file.name)}; it comes from {file.origin}"
        ) from error
    try:
        path = Path(hub.hf_hub_download(file.repository, file.name))
    except Exception as error:  # the hub's client has errors of its own, and those of what it is made of
        if type(error).__name__ == "RemoteEntryNotFoundError" and (file.instead or file.optional):
            other = replace(file, name=file.instead, instead="")
            return _fetched(weights, other, told) if file.instead else None
        raise MissingWeights(_hub_failed(file, error)) from error
    _check_cached(path, file)
    return path


def _hub_failed(file: File, error: Exception) -> str:
    kind = type(error).__name__
    if kind == "GatedRepoError":
        return f"{file.origin} is open only to those who asked for it: ask there, then `hf auth login`"
    if kind in {"RepositoryNotFoundError", "RemoteEntryNotFoundError"}:
        return f"the hub has no {file.name} of {file.repository!r}{_nearest('clap:' + file.repository)}"
    if kind == "LocalEntryNotFoundError":
        return f"{file.origin} cannot be fetched: the hub is out of reach"
    words = next((line.strip() for line in str(error).splitlines() if line.strip()), kind)
    return f"{file.origin} cannot be fetched: {words}; what came is kept: run it again to go on"


def _check_cached(path: Path, file: File) -> None:
    """Check a file in the hub's cache, which keeps large files under their sha256."""
    kept = path.resolve()
    known = kept.name if len(kept.name) == 64 else None
    try:
        check(path, size=file.size, sha256=file.sha256 or known, called=file.origin)
    except DamagedWeights:
        for each in (path, kept):
            with contextlib.suppress(OSError):
                each.unlink()
        raise
