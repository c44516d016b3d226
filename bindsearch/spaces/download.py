"""Download a file of any size: resume an interrupted download, and check the file before it is put in place."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from bindsearch.core.lock import is_locked
from bindsearch.errors import DamagedWeights, MissingWeights

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0
"""Without a byte for this long, the download fails."""

ProgressCallback = Callable[[int, int], None]
"""Called with the number of bytes that have arrived, and of the whole file (0 if unknown)."""


def download(
    address: str, target: Path, *, size: int | None = None, sha256: str | None = None, on_progress: ProgressCallback
) -> Path:
    """Download a URL to `target`, resuming from `target.part` if it exists.

    Raises `MissingWeights` if the download is incomplete (what arrived is kept for the next try), and `DamagedWeights`
    if size or SHA-256 differ from those published.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("ab") as file:
            if not (is_locked(file) and part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())):
                raise MissingWeights(f"{address} is being downloaded by another process: wait until it has finished")
            whole = _fetch(address, file, on_progress=on_progress)
    except (OSError, http.client.HTTPException) as error:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        raise MissingWeights(f"{address} cannot be fetched: {_reason(error)}{_kept(part)}") from error
    found = part.stat().st_size
    if found < whole:
        raise MissingWeights(f"{address} stopped after {found:,} of {whole:,} bytes{_kept(part)}")
    try:
        check(part, size=size or whole, sha256=sha256, called=address)
    except DamagedWeights:
        part.unlink()
        raise
    return part.replace(target)


def check(path: Path, *, size: int | None = None, sha256: str | None = None, called: str = "") -> None:
    """Raise `DamagedWeights` unless a file has the published size and SHA-256, where they are given."""
    called = called or str(path)
    found = path.stat().st_size
    if size is not None and found != size:
        raise DamagedWeights(f"{called} has {found:,} bytes instead of the published {size:,}: fetch it again")
    if sha256 is not None and (digest := sha256_of(path)) != sha256:
        raise DamagedWeights(
            f"{called} differs from what was published: its SHA-256 is {digest}, not {sha256}; it was not used"
        )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(address: str, file: IO[bytes], *, on_progress: ProgressCallback) -> int:
    """Append the missing bytes to a file. Return the size of the whole."""
    have = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if _length_of_all(error.headers.get("Content-Range"), 0) == have:
            return have
        file.truncate(0)  # what we have belongs to another version of the file
        return _fetch(address, file, on_progress=on_progress)
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            have = file.truncate(0)
        whole = _length_of_all(response.headers.get("Content-Range"), int(response.headers.get("Content-Length") or 0))
        for chunk in _chunks(response):
            file.write(chunk)
            have += len(chunk)
            on_progress(have, whole)
    return whole or have


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the content; a response that ends too soon just ends."""
    with contextlib.suppress(http.client.IncompleteRead):
        while chunk := response.read(CHUNK_BYTES):
            yield chunk


def _length_of_all(content_range: str | None, otherwise: int) -> int:
    """Read the number behind the slash of `bytes 5-9/10`."""
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else otherwise


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server responded {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _kept(part: Path) -> str:
    have = part.stat().st_size if part.exists() else 0
    return f"; the {have:,} bytes that arrived are kept: run the command again to continue" if have else ""
