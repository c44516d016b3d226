"""One writer at a time, and one who makes indexes anew: locks that die with their process, and name it till then."""

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
        file.seek(1 << 20)  # far behind the text, which others may want to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[Any]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def writing(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Be the library's writer, waiting for another for some seconds at the most.

    Raises `LibraryBusy` with the name of the process that is the writer, `LibraryError` where nobody can write.
    """
    with _holding(folder / "writer.lock", f"{folder} is being written by", patience):
        yield


@contextmanager
def rebuilding(folder: Path, *, patience: float = 0.0) -> Iterator[None]:
    """Be the one who makes the indexes in a folder anew, while others read and write the library.

    Raises `LibraryBusy`, `LibraryError` as `writing` does.
    """
    with _holding(folder / "rebuild.lock", f"the indexes in {folder} are being made anew by", patience):
        yield


@contextmanager
def _holding(path: Path, busy: str, patience: float) -> Iterator[None]:
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise LibraryError(f"{path.parent} cannot be written to: {error.strerror}") from error
    try:
        until = time.monotonic() + patience
        while not is_locked(file):
            if time.monotonic() >= until:
                raise LibraryBusy(f"{busy} {_holder(file)}; wait for it to end")
            time.sleep(0.05)
        with suppress(OSError):  # a full disk: the lock holds, only its name is missing
            _sign(file)
        yield
        with suppress(OSError):
            file.truncate(0)
    finally:
        with suppress(OSError):  # a full disk: its name still waits to be written, and would hide what went wrong
            file.close()


def is_locked(file: IO[Any]) -> bool:
    """Try to lock a file; tell whether it is ours now."""
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
        told = json.loads(file.read())
        return f"process {told['process']} ({told['command']}, since {told['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"
