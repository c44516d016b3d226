"""Replace files atomically; measure and remove folders."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(file: Path, *, shared: bool = False) -> Iterator[Path]:
    """Yield the path of a draft that replaces `file`, synced to disk, when the block ends; if it fails, `file` stays.

    With `shared`, other processes may write the same file at the same time, so the draft's name contains the process
    id. Raises `OSError`, which names `file` rather than the draft.
    """
    draft = file.with_name(f"{file.name}.{os.getpid()}.new" if shared else f"{file.name}.new")
    try:
        yield draft
        with draft.open("rb+") as written:
            os.fsync(written.fileno())
        draft.replace(file)
    except BaseException as error:
        with suppress(OSError):
            draft.unlink()
        if isinstance(error, OSError) and error.filename in (draft, str(draft)):
            raise OSError(error.errno, error.strerror, str(file)) from error
        raise
    sync_folder(file.parent)


def write_text_atomically(file: Path, text: str) -> None:
    """Write a text file so that it is complete or unchanged, whatever happens. Raises `OSError`."""
    with replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder survive a power failure, on systems that can sync folders."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def file_size(file: Path) -> int:
    """Return the size of a file in bytes; 0 for a folder and for a file that was just replaced."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def folder_size(folder: Path) -> int:
    """Return the total size of the files in a folder, in bytes; files that disappear meanwhile are skipped."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def remove_folder(folder: Path) -> int:
    """Remove a folder and return the bytes freed. It is renamed first, so nobody opens a half-removed one."""
    dropped = folder
    if not folder.name.startswith("dropped-"):
        dropped = folder.with_name(f"dropped-{folder.name}-{time.time_ns()}")
        try:
            folder.rename(dropped)
        except OSError:  # in use, on a system that does not rename open files: the next migration tries again
            return 0
    freed = folder_size(dropped)
    shutil.rmtree(dropped, ignore_errors=True)
    return freed
