"""Paths as people give them, and where a library lies when nobody says."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from bindsearch.core.space_name import SpaceName
from bindsearch.errors import BadQuery


def default_library() -> Path:
    """Return `BINDSEARCH_LIBRARY`, else one library in the user's data folder."""
    named = os.environ.get("BINDSEARCH_LIBRARY")
    return absolute([named])[0] if named else _data_folder() / "bindsearch" / "default.library"


def weights_folder() -> Path:
    """Return `BINDSEARCH_WEIGHTS`, else a folder for weights in the user's data folder."""
    named = os.environ.get("BINDSEARCH_WEIGHTS")
    return absolute([named])[0] if named else _data_folder() / "bindsearch" / "weights"


def folder_of_weights(space: str) -> Path:
    """Return where files of a space's weights may be put by hand. A path in its name is a hash there: it may be
    long.
    """
    name = SpaceName(space)
    hashed = hashlib.sha256(os.fsencode(name.folder)).hexdigest()[:16] if name.folder else ""
    return weights_folder() / f"{name.stem}{hashed}".replace(":", "--").replace("/", "--")


def absolute(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return absolute paths, each once, not resolved through links. Raises `BadQuery` for what is no path."""
    return list(dict.fromkeys(Path(os.path.abspath(os.path.expanduser(_checked(os.fspath(path))))) for path in paths))


def topmost(paths: Iterable[Path]) -> list[Path]:
    """Leave out what lies below another of the paths, where walking that one comes to it."""
    tops = dict.fromkeys(paths)
    return [path for path in tops if not any(top in tops and _is_visible(path, top) for top in path.parents)]


def _is_visible(path: Path, top: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(top).parts)


def _checked(path: str) -> str:
    if not path or "\0" in path:
        raise BadQuery(f"{path!r} is not a path" + ("" if path else ": is a variable of your shell not set?"))
    return path


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


Places: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def listed(places: Places) -> list[str | os.PathLike[str]]:
    """Return places as a list, be it one or many."""
    return [places] if isinstance(places, str | os.PathLike) else list(places)
