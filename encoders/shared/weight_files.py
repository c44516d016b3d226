"""Files of weights: named tensors that are read one by one, and the hash that identifies a file.

safetensors, or a checkpoint that torch pickled, and of these only tensors: `weights_only=True` refuses all else.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from bindsearch.errors import DamagedWeights, MissingWeights

REMEMBERED_FROM = 64 << 20
"""Bytes. Smaller files are hashed each time, which takes no time."""
_SAFE = ".safetensors"


class Weights:
    """The tensors of a file, by name, without what training wrapped around them."""

    def __init__(self, names: dict[str, str], read: Callable[[str], Any]) -> None:
        self._names = names
        """Name -> name in the file."""
        self._read = read

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Any:
        return self._read(self._names[name])


def first_of(folder: Path, names: Sequence[str]) -> Path:
    """Find the first of some files that a folder has. Raises `MissingWeights` where it has none."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise MissingWeights(f"{folder} holds no {' or '.join(names)}: put one there")
    return found


@contextmanager
def opened(path: Path) -> Iterator[Weights]:
    """Open a file of weights; tensors are read when they are asked for. Raises `DamagedWeights` for any other file."""
    if path.suffix == _SAFE:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                yield Weights(_plain(file.keys()), file.get_tensor)
        except SafetensorError as error:
            raise DamagedWeights(f"{path} is damaged: {error}; get it again") from error
    else:
        tensors = _unpickled(path)
        yield Weights(_plain(tensors), tensors.__getitem__)


def _unpickled(path: Path) -> dict[str, Any]:
    import torch

    try:
        try:
            told = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:  # written before torch's files were archives: these cannot be mapped
            if "mmap" not in str(error):
                raise
            told = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise DamagedWeights(
            f"{path} is refused: it holds more than tensors, and loading it could run a program ({_first(error)}); "
            "get the weights as safetensors"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise DamagedWeights(f"{path} holds no weights that can be read ({_first(error)}); get it again") from error
    tensors = told.get("state_dict", told) if isinstance(told, dict) else None
    if not isinstance(tensors, dict) or not tensors or not all(isinstance(key, str) for key in tensors):
        raise DamagedWeights(f"{path} holds no named tensors; get the weights as safetensors")
    return {name: tensor for name, tensor in tensors.items() if torch.is_tensor(tensor)}


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120] or type(error).__name__


def _plain(names: Any) -> dict[str, str]:
    return {name.removeprefix("module."): name for name in names}


# The hash of a file -------------------------------------------------------------------------------------------------


def sha256_of(path: Path) -> str:
    """Hash a file; that of a large one is remembered while its size and time of change stay.

    Raises `MissingWeights`.
    """
    try:
        stat = path.stat()
        if stat.st_size < REMEMBERED_FROM:
            return _hashed(path)
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = recall("weights").get(key, {})
        if isinstance(known, dict) and known.get("stamp") == stamp:
            return str(known["sha256"])
        digest = _hashed(path)
    except OSError as error:
        raise MissingWeights(f"{path} cannot be read: {error.strerror}") from error
    remember("weights", key, {"stamp": stamp, "sha256": digest})
    return digest


def _hashed(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# What is remembered from one run to the next ------------------------------------------------------------------------


def recall(name: str) -> dict[str, Any]:
    """Read what was remembered under a name: nothing, where there is nothing or it is damaged."""
    try:
        told = json.loads((_cache_folder() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def remember(name: str, key: str, value: Any) -> None:
    """Keep a value for later runs, if it can be kept."""
    path = _cache_folder() / f"{name}.json"
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(recall(name) | {key: value}, indent=1), encoding="utf-8")
        fresh.replace(path)


def _cache_folder() -> Path:
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "bindsearch"
