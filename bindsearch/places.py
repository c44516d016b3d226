"""Where a library lies when nobody says."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def default_library() -> Path:
    """Give `BINDSEARCH_LIBRARY`, else one library in the user's data folder."""
    named = os.environ.get("BINDSEARCH_LIBRARY")
    return Path(named).expanduser() if named else _data_folder() / "bindsearch" / "default.library"


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
