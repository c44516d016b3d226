"""The state of a file: content digest, size, modification time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path


def digest_of(path: Path, halt: threading.Event | None = None) -> bytes:
    """Digest a file's content. Raises `OSError`."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            if halt is not None and halt.is_set():
                break
    return digest.digest()


def is_gone(path: Path) -> bool:
    """Whether there is surely no file any more; one that cannot be looked at is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def stamp_of(path: Path) -> Stamp:
    """Return a file's stamp as it is now. Raises `OSError`."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


DIGEST_BYTES = 32


NO_CONTENT = bytes(DIGEST_BYTES)
"""The digest of paths that hold nothing for us."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells that a file is as it was: size and time of change."""

    size: int
    mtime_ns: int


UNSEEN = Stamp(-1, -1)
"""Of a path that is known by name only: no file has this stamp, so the next run reads it."""
