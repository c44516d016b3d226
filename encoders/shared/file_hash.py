"""The SHA-256 of weight files; the hashes of large files are cached."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bindsearch.errors import MissingWeights

from .local_cache import read_cache, write_cache

MIN_CACHED_BYTES = 16 << 20
"""Smaller files are hashed each time: that is fast enough."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. That of a large file is cached until its size or modification time changes.

    Raises `MissingWeights` for a file that cannot be read.
    """
    try:
        stat = path.stat()
        if stat.st_size < MIN_CACHED_BYTES:
            return _hash(path)
        key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        cached = read_cache("weights").get(key, {})
        if isinstance(cached, dict) and cached.get("stamp") == stamp:
            return str(cached["sha256"])
        digest = _hash(path)
    except OSError as error:
        raise MissingWeights(f"{path} cannot be read: {error.strerror}") from error
    write_cache("weights", key, {"stamp": stamp, "sha256": digest})
    return digest


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
