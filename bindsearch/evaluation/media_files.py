"""The media files of a data set, found by name: in folders, and in tar files beside the tables."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from bindsearch.errors import BadQuery
from bindsearch.evaluation.dataset import Media, members
from bindsearch.media.formats import SUFFIXES
from bindsearch.types import Modality

SOUNDING = SUFFIXES[Modality.AUDIO] | SUFFIXES[Modality.VIDEO]
PICTURES = SUFFIXES[Modality.IMAGE]
SHOWN = 3
"""So many missing files are named."""
KINDS = 5
"""So many kinds of files that are left out are named."""


class Store:
    """All media below a folder, in an order that does not change.

    Tar files beside the tables are read as if unpacked there; `tars_below`, those in other folders too.
    """

    def __init__(self, root: Path, *, suffixes: Iterable[str], tars_below: bool = False) -> None:
        self._root = root
        wanted = frozenset(suffixes)
        self.files = {
            name: media for name, media in _listed(root, tars_below) if PurePosixPath(name).suffix.lower() in wanted
        }
        self._by_name = {PurePosixPath(name).name: media for name, media in self.files.items()}
        self._by_stem = {PurePosixPath(name).stem: media for name, media in self.files.items()}
        self.missing: list[str] = []

    def find(self, *names: str) -> Media | None:
        """Find a file by its path, its name, or its name without suffix, whichever of some names comes first."""
        for name in names:
            stem = PurePosixPath(name).name
            found = self.files.get(name) or self._by_name.get(stem) or self._by_stem.get(stem)
            found = found or self._by_stem.get(PurePosixPath(name).stem)
            if found:
                return found
        self.missing.append(names[0])
        return None

    def told(self) -> tuple[str, ...]:
        """Say what was asked for and is not there. Raises `BadQuery` where nothing is there at all."""
        if not self.missing:
            return ()
        shown = ", ".join(self.missing[:SHOWN]) + (", …" if len(self.missing) > SHOWN else "")
        if not self.files:
            raise BadQuery(f"{self._root}: the table is here, but none of its media: {shown}")
        return (f"{len(self.missing):,} files that the table names are not here: {shown}",)


def _listed(root: Path, tars_below: bool) -> Iterator[tuple[str, Media]]:
    if root.is_file():
        yield from ((name, Media(root, name)) for name in sorted(members(root)))
        return
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = Path(folder) / name
            if path.suffix == ".tar" and (tars_below or path.parent == root):
                below = path.relative_to(root).as_posix() + "/" if tars_below else ""
                yield from ((f"{below}{member}", Media(path, member)) for member in sorted(members(path)))
            else:
                yield path.relative_to(root).as_posix(), Media(path)


def left_out(root: Path, taken: Iterable[Media], *, because: str) -> tuple[str, ...]:
    """Say how many files below a folder are not among those that are taken, and of which kinds they are."""
    used = frozenset(taken)
    others = Counter(
        PurePosixPath(name).suffix.lower() or "without ending"
        for name, media in _listed(root, tars_below=False)
        if media not in used
    )
    if not others:
        return ()
    most = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{count:,} {suffix}" for suffix, count in most[:KINDS]) + (", …" if len(most) > KINDS else "")
    count = others.total()
    return (f"{count:,} {'file is' if count == 1 else 'files are'} left out, as {because}: {shown}",)


def rows(table: Path, *, columns: Iterable[str] = (), delimiter: str = ",") -> list[Mapping[str, str]]:
    """Read a table with a header. Raises `BadQuery` where a column is missing."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            found: list[Mapping[str, str]] = [
                {str(key).strip(): (value or "") for key, value in row.items() if key} for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadQuery(f"{table}: no table of text: {error}") from error
    lacking = [name for name in columns if found and name not in found[0]]
    if lacking or not found:
        raise BadQuery(f"{table}: " + (f"has no column {', '.join(lacking)}" if found else "has no rows"))
    return found


def header(table: Path) -> frozenset[str]:
    """Return the names of a table's columns; none where it cannot be read."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return frozenset(name.strip() for name in next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return frozenset()


def spoken(name: str) -> str:
    """Say a label as a person would: `clock_tick` is `clock tick`."""
    return re.sub(r"[\s_]+", " ", name).strip()
