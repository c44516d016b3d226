"""Walking folders: every file once, in an order that does not change, and nothing that could stop the walk."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A regular file, or a link that leads nowhere, as it was when the walk came by."""

    path: Path
    size: int
    mtime_ns: int
    broken_link: bool = False
    """A link that leads nowhere, or in a circle. Size and time are its own."""


@dataclass(frozen=True, slots=True)
class ScanError:
    """Something that could not be looked at."""

    path: Path
    reason: str


def _nothing(path: Path) -> bool:
    return False


def walk(roots: Sequence[Path], *, skip: Callable[[Path], bool] = _nothing) -> Iterator[ScannedFile | ScanError]:
    """Return every file under the roots, by absolute path, folders depth first and names in the order of their bytes.

    Links are followed and real folders walked once; those that lead nowhere are given as `broken_link`. Left out are hidden
    names, libraries of bindsearch, what `skip` picks, and what is neither file nor folder. A root may be a file, and
    may be hidden.
    """
    walker = _Walk(skip)
    for root in roots:
        yield from walker.root(_absolute(root))


class _Walk:
    def __init__(self, skip: Callable[[Path], bool]) -> None:
        self._skip = skip
        self._walked: set[tuple[int, int]] = set()
        self._named: set[str] = set()
        """Files that were roots: the walk may come across them again."""

    def root(self, path: str) -> Iterator[ScannedFile | ScanError]:
        try:
            status = os.stat(path)
        except OSError as error:
            yield ScanError(Path(path), _reason(error))
            return
        if stat.S_ISREG(status.st_mode) and path not in self._named:
            self._named.add(path)
            yield ScannedFile(Path(path), status.st_size, status.st_mtime_ns)
        elif stat.S_ISDIR(status.st_mode):
            yield from self._tree(path)

    def _tree(self, top: str) -> Iterator[ScannedFile | ScanError]:
        """Walk with a stack of listings, not by recursion: folders nest deeper than Python's calls."""
        stack = [iter([top])]
        while stack:
            path = next(stack[-1], None)
            if path is None:
                stack.pop()
                continue
            try:
                status = os.stat(path)
                listing = self._listing(path, status) if stat.S_ISDIR(status.st_mode) else None
            except OSError as error:
                if path != top and (link := _broken_link(path, error)):
                    yield link
                elif path == top or not isinstance(error, FileNotFoundError):
                    yield ScanError(Path(path), _reason(error))
                continue
            if listing is not None:
                stack.append(iter(listing))
            elif stat.S_ISREG(status.st_mode) and path not in self._named:
                yield ScannedFile(Path(path), status.st_size, status.st_mtime_ns)

    def _listing(self, folder: str, status: os.stat_result) -> list[str]:
        """Return the paths in a folder that are to be visited; none if it was walked before. Raises `OSError`."""
        place = (status.st_dev, status.st_ino)
        if place in self._walked:
            return []
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries), key=os.fsencode)
        self._walked.add(place)
        if "library.json" in names and any(_is_ledger(folder, name) for name in names):
            return []
        visible = (os.path.join(folder, name) for name in names if not name.startswith("."))
        return [path for path in visible if self._skip is _nothing or not self._skip(Path(path))]


def _broken_link(path: str, error: OSError) -> ScannedFile | None:
    """Return a link that leads to nothing, or in a circle."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return (
        ScannedFile(Path(path), status.st_size, status.st_mtime_ns, broken_link=True)
        if stat.S_ISLNK(status.st_mode)
        else None
    )


def _is_ledger(folder: str, name: str) -> bool:
    return (name == "ledger" or name.startswith("ledger-")) and os.path.isdir(os.path.join(folder, name))


def _absolute(path: Path) -> str:
    """Make a path absolute without following links, unless `..` could mean another folder by them."""
    plain = os.path.abspath(path)
    return plain if ".." not in path.parts else os.path.realpath(path)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
