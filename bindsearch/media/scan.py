"""Walks folders: yields every file once, in a reproducible order, and never stops at an error."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ScannedFile:
    """A regular file or a broken link, as it was at the time of the walk."""

    path: Path
    size: int
    mtime_ns: int
    broken_link: bool = False
    """A link whose target does not exist, or that leads to itself. Size and time are those of the link."""


@dataclass(frozen=True, slots=True)
class ScanError:
    """A path that could not be examined."""

    path: Path
    reason: str


def _skip_nothing(path: Path) -> bool:
    return False


def walk(paths: Sequence[Path], *, skip: Callable[[Path], bool] = _skip_nothing) -> Iterator[ScannedFile | ScanError]:
    """Yield every file at or below the paths, by absolute path, depth first, names in the order of their bytes.

    Links are followed, and each real folder is walked once; broken links are marked as `broken_link`. Left out are
    hidden names, libraries of bindsearch, paths that `skip` selects, and whatever is neither file nor folder. The given
    paths may be files, and may be hidden.
    """
    walker = _Walk(skip)
    for path in paths:
        yield from walker.start_at(_absolute(path))


class _Walk:
    def __init__(self, skip: Callable[[Path], bool]) -> None:
        self._skip = skip
        self._walked: set[tuple[int, int]] = set()
        self._given_files: set[str] = set()
        """Files that were given as paths: the walk may meet them again."""

    def start_at(self, path: str) -> Iterator[ScannedFile | ScanError]:
        try:
            status = os.stat(path)
        except OSError as error:
            yield ScanError(Path(path), _reason(error))
            return
        if stat.S_ISREG(status.st_mode) and path not in self._given_files:
            self._given_files.add(path)
            yield ScannedFile(Path(path), status.st_size, status.st_mtime_ns)
        elif stat.S_ISDIR(status.st_mode):
            yield from self._tree(path)

    def _tree(self, top: str) -> Iterator[ScannedFile | ScanError]:
        """Walk with an explicit stack: folders can be nested deeper than Python's recursion limit."""
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
            elif stat.S_ISREG(status.st_mode) and path not in self._given_files:
                yield ScannedFile(Path(path), status.st_size, status.st_mtime_ns)

    def _listing(self, folder: str, status: os.stat_result) -> list[str]:
        """Return the paths to visit in a folder; none if it was walked before. Raises `OSError`."""
        identity = (status.st_dev, status.st_ino)
        if identity in self._walked:
            return []
        with os.scandir(folder) as entries:
            names = sorted((entry.name for entry in entries), key=os.fsencode)
        self._walked.add(identity)
        if "library.json" in names and any(_is_ledger(folder, name) for name in names):
            return []
        visible = (os.path.join(folder, name) for name in names if not name.startswith("."))
        return [path for path in visible if self._skip is _skip_nothing or not self._skip(Path(path))]


def _broken_link(path: str, error: OSError) -> ScannedFile | None:
    """Return a link whose target does not exist or that leads to itself; None for anything else."""
    if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
        return None
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISLNK(status.st_mode):
        return None
    return ScannedFile(Path(path), status.st_size, status.st_mtime_ns, broken_link=True)


def _is_ledger(folder: str, name: str) -> bool:
    return (name == "ledger" or name.startswith("ledger-")) and os.path.isdir(os.path.join(folder, name))


def _absolute(path: Path) -> str:
    """Make a path absolute without resolving links, unless it has `..`, which links can give another meaning."""
    plain = os.path.abspath(path)
    return plain if ".." not in path.parts else os.path.realpath(path)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
