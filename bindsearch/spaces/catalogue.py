"""Which weight files a space needs, where they are published, and what their licence allows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bindsearch import registry
from bindsearch.core.paths import absolute, folder_of_weights
from bindsearch.core.space_name import SpaceName
from bindsearch.core.suggest import closest
from bindsearch.errors import MissingExtra, MissingWeights, UnknownSpace

UNKNOWN_LICENCE = "not stated"
IN_PLACE = "is in the folder that its name gives"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One weight file, published in a repository of the Hugging Face hub or at a URL."""

    name: str
    approximate_size: int = 0
    """Bytes, as published or as computed from the architecture; 0 if unknown."""
    repository: str = ""
    """On the hub."""
    address: str = ""
    size: int | None = None
    """Bytes, if the exact size is published."""
    sha256: str | None = None
    alternative: str = ""
    """An equivalent file: used if it is on this machine, or if the hub has no `name`."""
    optional: bool = False
    """Whether the space works without it; then the hub need not have it."""

    @property
    def origin(self) -> str:
        """The page or URL that it comes from."""
        return self.address or f"https://huggingface.co/{self.repository}/blob/main/{self.name}"


@dataclass(frozen=True, slots=True)
class SpaceWeights:
    """The weight files that a space needs, and their licence."""

    space: str
    files: tuple[WeightFile, ...]
    licence: str
    """The strictest licence among the files, as an SPDX identifier if there is one."""
    commercial: bool
    terms: str
    """A summary with a link to the full text; for a space without files, where its weights are."""

    @property
    def licence_summary(self) -> str:
        """The licence and what it allows, in a few words."""
        if self.licence == UNKNOWN_LICENCE:
            return "licence unknown to bindsearch"
        return f"licence {self.licence}" + ("" if self.commercial else ", not for commercial use")

    @property
    def folder(self) -> Path:
        """The folder for its files, where people may also put them by hand."""
        return folder_of_weights(self.space)


def _clap_files(repository: str, approximate_size: int = 0) -> tuple[WeightFile, ...]:
    names = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")
    weights = WeightFile("model.safetensors", approximate_size, repository, alternative="pytorch_model.bin")
    return (weights, *(WeightFile(name, 0, repository) for name in names))


def _laion_clap(name: str, approximate_size: int = 0) -> SpaceWeights:
    repository = f"laion/{name}"
    return SpaceWeights(
        f"clap:{repository}",
        _clap_files(repository, approximate_size),
        "MIT",
        True,
        f"https://huggingface.co/{repository}",
    )


_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_FOLDER_FAMILIES = ("clap:local:", "imagebind/local:", "bound:")
_FAMILY_SYNTAX = {
    "openclip:": "MODEL/TAG, as in openclip:ViT-B-32/laion2b_s34b_b79k (`bindsearch spaces --all` lists them)",
    "clap:": "a repository of the hub, as in clap:laion/clap-htsat-unfused",
    "local:": "a folder, as in local:~/models/mine",
    **{family: f"a folder, as in {family}~/models/mine" for family in _FOLDER_FAMILIES},
}
"""Family -> what follows its colon."""

CATALOGUE = {
    weights.space: weights
    for weights in (
        SpaceWeights(
            "imagebind",
            (
                WeightFile("open_clip_model.safetensors", 3_944_000_000, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
                WeightFile(
                    "imagebind_huge.pth",
                    4_803_000_000,
                    address="https://dl.fbaipublicfiles.com/imagebind/imagebind_huge.pth",
                    alternative="imagebind_audio.safetensors",
                ),
            ),
            "CC-BY-NC-SA-4.0",
            False,
            "Sound: by attribution, not for commercial use, share alike (its README says CC-BY-NC 4.0, its licence "
            "file CC-BY-NC-SA 4.0): https://creativecommons.org/licenses/by-nc-sa/4.0/. Images and texts: MIT.",
        ),
        _laion_clap("clap-htsat-unfused", 614_000_000),
        _laion_clap("clap-htsat-fused"),
        _laion_clap("larger_clap_general", 776_000_000),
    )
}
"""Space -> its weights, for spaces whose licence or files cannot be derived from the name."""


def find_weights(space: str) -> SpaceWeights:
    """Return the weights that a space needs.

    Raises `UnknownSpace` with similar names, `MissingWeights` for a missing folder, and the errors of a local model.
    """
    if space in CATALOGUE:
        return CATALOGUE[space]
    name = SpaceName(space)
    if space in _FAMILY_SYNTAX:
        raise UnknownSpace(f"{space} is a family of spaces: add {_FAMILY_SYNTAX[space]}")
    if name.family in ("openclip:", "local:"):
        return _open_clip_weights(space)
    if name.family == "clap:" and _REPOSITORY.fullmatch(name.member):
        return SpaceWeights(space, _clap_files(name.member), UNKNOWN_LICENCE, False, _licence_page(name.member))
    if ":" not in space and space in registry.spaces():
        return SpaceWeights(space, (), "MIT", True, "is included in bindsearch")
    if name.stem in _FOLDER_FAMILIES:
        folder = Path(name.folder).expanduser()
        if not folder.is_dir():
            raise MissingWeights(f"{space}: the folder {folder} does not exist")
        return SpaceWeights(space, (), UNKNOWN_LICENCE, False, IN_PLACE)
    family = f"{name.family.removesuffix(':')}:"
    if family in _FAMILY_SYNTAX:
        raise UnknownSpace(f"no weights are known for {space!r}: {family} is followed by {_FAMILY_SYNTAX[family]}")
    raise UnknownSpace(f"no weights are known for {space!r}{suggest_spaces(space)}")


def _open_clip_weights(space: str) -> SpaceWeights:
    """Return the weights of an open_clip model, as its adapter describes them: files, text tower files, licence."""
    try:
        required_files = import_module("bindsearch.encoders.openclip.required_files").required_files
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{space} needs the package {error.name!r}: pip install 'bindsearch[models]'") from error
    name = SpaceName(space)
    space = name.with_folder(absolute([name.folder])[0]).text if name.folder else space
    required = required_files(space)
    files = tuple(
        WeightFile(
            each.name,
            each.max_size,
            each.repository,
            each.address,
            alternative=each.alternative,
            optional=each.optional,
        )
        for each in required.files
    )
    pages = dict.fromkeys(
        _licence_page(file.repository) if file.repository else f"Read {file.address}" for file in files
    )
    return SpaceWeights(space, files, required.licence.name, required.licence.commercial, ". ".join(pages) or IN_PLACE)


def _licence_page(repository: str) -> str:
    return f"Read https://huggingface.co/{repository}"


def suggest_spaces(space: str) -> str:
    """Return a "did you mean" clause with similar names, else one with all names of the catalogue."""
    whole = [name for name in registry.spaces() if not name.endswith(":")]
    near = closest(space, dict.fromkeys([*CATALOGUE, *whole]), n=3, cutoff=0.4)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(sorted(CATALOGUE))}"
