"""One writer at a time: a lock that dies with its process and names it while it lives."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO

from bindsearch.errors import LibraryBusy, LibraryError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(1 << 20)  # far behind the text, which others may want to read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the library's writer. Raises `LibraryBusy` with the name of the process that is."""
    try:
        file = (folder / "writer.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise LibraryError(f"{folder} cannot be written to: {error.strerror}") from error
    with file:
        try:
            _lock(file)
        except OSError as error:
            raise LibraryBusy(f"{folder} is being written by {_holder(file)}; wait for it to end") from error
        _sign(file)
        yield
        file.truncate(0)


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
