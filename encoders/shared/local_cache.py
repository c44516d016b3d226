"""Small JSON files in the user's cache folder, for values that later runs use again."""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any


def read_cache(name: str) -> dict[str, Any]:
    """Return the values cached under a name; none if the file is missing or damaged."""
    try:
        values = json.loads((_cache_folder() / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_cache(name: str, key: str, value: Any) -> None:
    """Cache a value for later runs; does nothing if the cache folder is not writable."""
    path = _cache_folder() / f"{name}.json"
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(read_cache(name) | {key: value}, indent=1), encoding="utf-8")
        draft.replace(path)


def _cache_folder() -> Path:
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Caches"
    else:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "bindsearch"
