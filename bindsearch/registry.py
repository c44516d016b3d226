"""Names of spaces and indexes, and the modules that implement them, which are imported on first use.

Other distributions add their own through the entry-point groups `bindsearch.spaces` and `bindsearch.indexes`.
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
from bindsearch.ports import ApproximateIndex, Encoder, Index
from bindsearch.types import Devices, FamilyMember, Vectors

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
"""Name -> a callable that returns an `Encoder`. Families end with a colon and are called with the member."""

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
"""Name -> a class that implements `Index`; called with `dim`."""

_EXTRAS = {
    "faiss": "faiss",
    "pyarrow": "parquet",
    **dict.fromkeys(("torch", "torchaudio", "open_clip", "transformers", "huggingface_hub"), "models"),
}
"""Module -> the extra of bindsearch that installs it."""


def default_space() -> str:
    """Return the space that `BINDSEARCH_SPACE` names, otherwise the built-in space."""
    return os.environ.get("BINDSEARCH_SPACE") or DEFAULT_SPACE


def spaces() -> dict[str, str]:
    """Return every known space with its import string."""
    return SPACES | _plugins("bindsearch.spaces")


def indexes() -> dict[str, str]:
    """Return every known index with its import string."""
    return INDEXES | _plugins("bindsearch.indexes")


def load_space(name: str) -> Encoder:
    """Load an encoder by name. Raises `UnknownSpace`, and whatever the encoder raises."""
    parsed = SpaceName(name)
    place = spaces().get(parsed.family)
    if place is not None and parsed.is_family:
        raise UnknownSpace(f"{name} is a family of spaces: add a member, as `bindsearch spaces` shows")
    if place is None:
        meant = did_you_mean(name, spaces(), n=3, cutoff=0.4)
        raise UnknownSpace(f"no space is called {name!r}{meant}; `bindsearch spaces` lists all spaces")
    make = _load(place, name)
    encoder = make(parsed.member) if parsed.member else make()
    if not isinstance(encoder, Encoder):
        raise UnknownSpace(f"space {name!r}: {place} does not return an encoder")
    return encoder


def members(family: str) -> list[FamilyMember]:
    """Return the known members of a family; none of them is loaded. Raises `MissingExtra`."""
    factory = _load(spaces()[family], family)
    found: list[FamilyMember] = factory.members() if hasattr(factory, "members") else []
    return found


def load_index(kind: str) -> type[Index]:
    """Load an index class by name. Raises `UnknownIndex`."""
    known = indexes()
    if kind not in known:
        meant = did_you_mean(kind, known, n=3, cutoff=0.4)
        raise UnknownIndex(f"no index is called {kind!r}{meant}; known indexes: {', '.join(sorted(known))}")
    loaded: type[Index] = _load(known[kind], kind)
    return loaded


def choose_index(count: int, dim: int, *, recall: float, memory: int | None, device: str) -> tuple[str, str]:
    """Return the best kind of index for `count` vectors on this machine, and the reason."""
    choose = _load("bindsearch.indexes.choose:choose", "the choice of an index")
    chosen = choose(count, dim, recall=recall, memory=memory, device=device)
    return chosen.kind, chosen.why


def devices() -> Devices:
    """Return which faiss is installed, the GPUs, and which package uses them or why none does."""
    found: Devices = _load("bindsearch.indexes.gpu.devices:devices", "the devices of this machine")()
    return found


def certify_index(
    index: ApproximateIndex, queries: Mapping[str, Vectors], *, target: float, tune: bool
) -> dict[str, Any]:
    """Return the recall certificate of an index, by origin of the queries. With `tune`, tune the index first."""
    certify = _load(f"bindsearch.indexes.approximate.recall:{'tune' if tune else 'certify'}", "the recall certificate")
    certificate: dict[str, Any] = certify(index, queries, target=target).as_json()
    return certificate


def _plugins(group: str) -> dict[str, str]:
    return {point.name: point.value for point in entry_points(group=group)}


def _load(place: str, name: str) -> Any:
    module, _, attribute = place.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("bindsearch"):
            raise
        extra = _EXTRAS.get(str(error.name))
        install = f"'bindsearch[{extra}]'" if extra else error.name
        raise MissingExtra(f"{name} needs the package {error.name!r}: pip install {install}") from error
