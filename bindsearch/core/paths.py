"""Paths as users give them, and the default folders of libraries and weights."""

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
    """Return the folder in which users may place the weight files of a space.

    A path in the name of the space is hashed, because it may be too long for the name of a folder.
    """
    name = SpaceName(space)
    hashed = hashlib.sha256(os.fsencode(name.folder)).hexdigest()[:16] if name.folder else ""
    return weights_folder() / f"{name.stem}{hashed}".replace(":", "--").replace("/", "--")


def absolute(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return absolute paths without duplicates; links are not resolved. Raises `BadQuery` for an invalid path."""
    return list(dict.fromkeys(Path(os.path.abspath(os.path.expanduser(_checked(os.fspath(path))))) for path in paths))


def topmost(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that a walk of the other paths does not reach."""
    tops = dict.fromkeys(paths)
    return [path for path in tops if not any(top in tops and _is_visible(path, top) for top in path.parents)]


def _is_visible(path: Path, top: Path) -> bool:
    """Whether a walk from `top` reaches a path, which it does unless a folder on the way is hidden."""
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


PathOrPaths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def as_list(paths: PathOrPaths) -> list[str | os.PathLike[str]]:
    """Return one path or several as a list."""
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)
