"""The locks of a library: one writer and one index rebuild at a time. The system frees them when a process dies."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from bindsearch.errors import LibraryBusy, LibraryError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[Any]) -> None:
        file.seek(1 << 20)  # far behind the text, so that other processes can read it
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[Any]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def writing(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the writer lock of a library, waiting up to `patience` seconds for it.

    Raises `LibraryBusy`, which names the process that holds it, and `LibraryError` if the folder is not writable.
    """
    with _holding(folder / "writer.lock", f"{folder} is being written by", patience):
        yield


@contextmanager
def rebuilding(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Hold the lock for rebuilding the indexes in a folder; others may read and write the library meanwhile.

    Raises `LibraryBusy` and `LibraryError` like `writing`.
    """
    with _holding(folder / "rebuild.lock", f"the indexes in {folder} are being rebuilt by", patience):
        yield


@contextmanager
def _holding(path: Path, busy: str, patience: float) -> Iterator[None]:
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise LibraryError(f"{path.parent} cannot be written to: {error.strerror}") from error
    try:
        deadline = time.monotonic() + patience
        while not is_locked(file):
            if time.monotonic() >= deadline:
                raise LibraryBusy(f"{busy} {_holder(file)}; wait until it ends")
            time.sleep(0.05)
        with suppress(OSError):  # the disk is full: the lock works, only the name of its holder is missing
            _sign(file)
        yield
        with suppress(OSError):
            file.truncate(0)
    finally:
        with suppress(OSError):  # the disk is full: the unwritten name must not hide the error of the block
            file.close()


def is_locked(file: IO[Any]) -> bool:
    """Try to lock a file; return whether this process holds the lock now."""
    try:
        _lock(file)
    except OSError:
        return False
    return True


def _sign(file: IO[str]) -> None:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]])
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    file.truncate(0)
    file.write(json.dumps({"process": os.getpid(), "command": command, "since": since}))
    file.flush()


def _holder(file: IO[str]) -> str:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        return f"process {holder['process']} ({holder['command']}, since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
