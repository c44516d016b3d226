"""Names of spaces and indexes, and where their code is: loaded by string on first use.

Other packages add their own through the entry-point groups `bindsearch.spaces` and `bindsearch.indexes`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from bindsearch.core.space_name import SpaceName
from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import MissingExtra, UnknownIndex, UnknownSpace
from bindsearch.ports import Encoder, Index
from bindsearch.types import Vectors

DEFAULT_SPACE = "pocket"
DEFAULT_INDEX = "exact"

SPACES = {
    "pocket": "bindsearch.encoders.pocket.encoder:PocketEncoder",
    "toy": "bindsearch.encoders.toy.encoder:ToyEncoder",
    "bound:": "bindsearch.encoders.pocket.bound:BoundEncoder",
    "openclip:": "bindsearch.encoders.openclip.encoder:OpenClipEncoder",
    "local:": "bindsearch.encoders.openclip.encoder:local",
    "imagebind": "bindsearch.encoders.imagebind.encoder:ImageBindEncoder",
    "imagebind/local:": "bindsearch.encoders.imagebind.encoder:local",
    "clap:": "bindsearch.encoders.clap.encoder:ClapEncoder",
}
"""Name -> what gives an Encoder when called. A name that ends in a colon is a family, called with what follows."""

INDEXES = {
    "exact": "bindsearch.indexes.exact:ExactIndex",
    "ivf": "bindsearch.indexes.approximate.ivf:IvfIndex",
    "hnsw": "bindsearch.indexes.approximate.hnsw:HnswIndex",
    "torch": "bindsearch.indexes.gpu.torch_gpu:TorchIndex",
    "faiss-gpu": "bindsearch.indexes.gpu.faiss_gpu:FaissGpuIndex",
    "faiss-gpu-ivf": "bindsearch.indexes.gpu.faiss_gpu_approximate:FaissGpuIvfIndex",
    "faiss-gpu-pq": "bindsearch.indexes.gpu.faiss_gpu_approximate:FaissGpuPqIndex",
    "faiss-gpu-cagra": "bindsearch.indexes.gpu.faiss_gpu_approximate:FaissGpuCagraIndex",
}
"""Name -> a class that keeps the `Index` protocol; called with `dim`."""

_PACKAGES = {"faiss": "faiss-cpu", "open_clip": "open_clip_torch"}
"""Module -> the package that brings it, where they are not called alike."""


def default_space() -> str:
    """Return what `BINDSEARCH_SPACE` names, else the built-in space."""
    return os.environ.get("BINDSEARCH_SPACE") or DEFAULT_SPACE


def spaces() -> dict[str, str]:
    """Return every known space by name, with the place of its code."""
    return SPACES | _plugins("bindsearch.spaces")


def indexes() -> dict[str, str]:
    """Return every known index by name, with the place of its code."""
    return INDEXES | _plugins("bindsearch.indexes")


def load_space(name: str) -> Encoder:
    """Load an encoder by name. Raises `UnknownSpace`, and whatever its loading raises."""
    parsed = SpaceName(name)
    place = spaces().get(parsed.family)
    if place is not None and parsed.is_family:
        raise UnknownSpace(f"{name} is a family of spaces: write what follows it, as `bindsearch spaces` shows")
    if place is None:
        meant = did_you_mean(name, spaces(), n=3, cutoff=0.4)
        raise UnknownSpace(f"no space is called {name!r}{meant}; `bindsearch spaces` lists all")
    make = _load(place, name)
    encoder = make(parsed.member) if parsed.member else make()
    if not isinstance(encoder, Encoder):
        raise UnknownSpace(f"space {name!r}: {place} does not give an encoder")
    return encoder


def members(family: str) -> list[dict[str, Any]]:
    """Describe the spaces that a family knows by name: name, licence, commercial, here. Raises `MissingExtra`."""
    made = _load(spaces()[family], family)
    told: list[dict[str, Any]] = made.members() if hasattr(made, "members") else []
    return told


def load_index(kind: str) -> type[Index]:
    """Load an index class by name. Raises `UnknownIndex`."""
    known = indexes()
    if kind not in known:
        meant = did_you_mean(kind, known, n=3, cutoff=0.4)
        raise UnknownIndex(f"no index is called {kind!r}{meant}; there are {', '.join(sorted(known))}")
    loaded: type[Index] = _load(known[kind], kind)
    return loaded


def choose_index(count: int, dim: int, *, recall: float, memory: int | None, device: str) -> tuple[str, str]:
    """Return the kind of index for so many vectors on this machine, and why it is that."""
    choose = _load("bindsearch.indexes.choose:choose", "the choice of an index")
    chosen = choose(count, dim, recall=recall, memory=memory, device=device)
    return chosen.kind, chosen.why


def devices() -> dict[str, Any]:
    """Say which FAISS is here and which cards, and why none is used."""
    told: dict[str, Any] = _load("bindsearch.indexes.gpu.devices:devices", "the devices of this machine")().as_json()
    return told


def may_miss(index: Index) -> bool:
    """Whether an index may not find everything."""
    return hasattr(index, "search_exactly")


def certify_index(index: Index, queries: Mapping[str, Vectors], *, target: float, mend: bool) -> dict[str, Any]:
    """Measure, and `mend` if asked to, what an index that may miss something finds, by origin of the queries."""
    certify = _load(f"bindsearch.indexes.approximate.recall:{'tune' if mend else 'certify'}", "the recall certificate")
    told: dict[str, Any] = certify(index, queries, target=target).as_json()
    return told


def _plugins(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def _load(place: str, name: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("bindsearch"):
            raise
        package = _PACKAGES.get(str(error.name), error.name)
        raise MissingExtra(f"{name} needs the package {error.name!r}: pip install {package}") from error
