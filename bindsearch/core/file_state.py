"""The state of a file: content digest, size, modification time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

DIGEST_BYTES = 32
NO_CONTENT = bytes(DIGEST_BYTES)
"""The digest of paths that hold nothing to index."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Size and modification time: as long as they stay the same, a file counts as unchanged."""

    size: int
    mtime_ns: int


UNSEEN = Stamp(-1, -1)
"""The stamp of a path known by name only. No file has it, so the next run reads the file."""


def digest_of(path: Path, halt: threading.Event | None = None) -> bytes:
    """Return the digest of a file's content; a meaningless one once `halt` is set. Raises `OSError`."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            if halt is not None and halt.is_set():
                break
    return digest.digest()


def is_gone(path: Path) -> bool:
    """Whether a file certainly no longer exists. One that cannot be accessed is not gone."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def stamp_of(path: Path) -> Stamp:
    """Return the present stamp of a file. Raises `OSError`."""
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)
