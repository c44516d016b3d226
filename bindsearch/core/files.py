"""Write files atomically; measure and remove folders."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path


def write_whole(file: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all, whatever happens."""
    draft = file.with_name(file.name + ".new")
    with draft.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    _sync(file.parent)


def _size(file: Path) -> int:
    """Return the size of a file; none if it is a folder, or was replaced meanwhile."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _sync(folder: Path) -> None:
    """Make a rename in a folder survive a loss of power, where the system lets folders be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove(place: Path) -> int:
    """Remove a folder; it has another name before it is half gone, so that nobody opens half of it."""
    dropped = place
    if not place.name.startswith("dropped-"):
        dropped = place.with_name(f"dropped-{place.name}-{time.time_ns()}")
        try:
            place.rename(dropped)
        except OSError:  # in use, where the system does not let go of open files: the next migration tries again
            return 0
    freed = bytes_of(dropped)
    shutil.rmtree(dropped, ignore_errors=True)
    return freed


def bytes_of(place: Path) -> int:
    """Return the bytes of all files in a folder; of what vanishes meanwhile, none."""
    total = 0
    for top, _, names in os.walk(place):
        for name in names:
            try:
                total += os.stat(os.path.join(top, name)).st_size
            except OSError:
                continue
    return total
