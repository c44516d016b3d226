"""A file from an address, as large as may be: begun again where it broke off, and checked before it is there."""

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

CHUNK = 1 << 20
PATIENCE = 60.0
"""Seconds without a byte after which a server is given up."""

MediaFacts = Callable[[int, int], None]
"""Is told how many bytes there are, and how many there will be."""


def download(
    address: str, target: Path, *, size: int | None = None, sha256: str | None = None, told: MediaFacts
) -> Path:
    """Bring what lies at an address to `target`, going on with `target.part` where there is one.

    Raises `MissingWeights` when it does not come whole (what came stays for the next try), `DamagedWeights` when
    it is not what was published.
    """
    part = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("ab") as file:
            if not (is_locked(file) and part.exists() and os.path.samestat(os.fstat(file.fileno()), part.stat())):
                raise MissingWeights(f"{address} is being fetched by another process: wait for it to end")
            whole = _fetch(address, file, told=told)
    except (OSError, http.client.HTTPException) as error:
        if part.exists() and not part.stat().st_size:
            part.unlink()
        raise MissingWeights(f"{address} cannot be fetched: {_reason(error)}{_kept(part)}") from error
    found = part.stat().st_size
    if found < whole:
        raise MissingWeights(f"{address} broke off after {found:,} of {whole:,} bytes{_kept(part)}")
    try:
        check(part, size=size or whole, sha256=sha256, called=address)
    except DamagedWeights:
        part.unlink()
        raise
    return part.replace(target)


def check(path: Path, *, size: int | None = None, sha256: str | None = None, called: str = "") -> None:
    """Raise `DamagedWeights` unless a file is as long as published and has the published sha256."""
    called = called or str(path)
    found = path.stat().st_size
    if size is not None and found != size:
        raise DamagedWeights(f"{called} has {found:,} bytes, not the {size:,} that were published: fetch it again")
    if sha256 is not None and (digest := sha256_of(path)) != sha256:
        raise DamagedWeights(
            f"{called} is not what was published: its sha256 is {digest}, not {sha256}; it was not used"
        )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(address: str, file: IO[bytes], *, told: MediaFacts) -> int:
    """Add to a file what is missing of it, and give how many bytes the whole has."""
    have = file.seek(0, os.SEEK_END)
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        if _length_of_all(error.headers.get("Content-Range"), 0) == have:
            return have
        file.truncate(0)  # of another file than the one that is there now
        return _fetch(address, file, told=told)
    with answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            have = file.truncate(0)
        whole = _length_of_all(answer.headers.get("Content-Range"), int(answer.headers.get("Content-Length") or 0))
        for chunk in _chunks(answer):
            file.write(chunk)
            have += len(chunk)
            told(have, whole)
    return whole or have


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Return what comes; an answer that ends too soon just ends."""
    with contextlib.suppress(http.client.IncompleteRead):
        while chunk := answer.read(CHUNK):
            yield chunk


def _length_of_all(content_range: str | None, otherwise: int) -> int:
    """Read the number behind the slash of `bytes 5-9/10`."""
    total = (content_range or "").rpartition("/")[2]
    return int(total) if total.isdigit() else otherwise


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server says {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _kept(part: Path) -> str:
    have = part.stat().st_size if part.exists() else 0
    return f"; the {have:,} bytes that came are kept: run it again to go on" if have else ""
