"""Finds the media files of a data set by name: in folders, and in tar files beside the tables."""

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

SOUND_SUFFIXES = SUFFIXES[Modality.AUDIO] | SUFFIXES[Modality.VIDEO]
IMAGE_SUFFIXES = SUFFIXES[Modality.IMAGE]
SHOWN_MISSING = 3
"""Number of missing files that a note names."""
SHOWN_SUFFIXES = 5
"""Number of suffixes of ignored files that a note names."""


class MediaStore:
    """All media below a folder, in a reproducible order.

    Tar files beside the tables are read as if they were unpacked there; with `tars_below`, those in other folders, too.
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
        """Return the file of the first name that matches by path, file name, or file name without suffix."""
        for name in names:
            stem = PurePosixPath(name).name
            found = self.files.get(name) or self._by_name.get(stem) or self._by_stem.get(stem)
            found = found or self._by_stem.get(PurePosixPath(name).stem)
            if found:
                return found
        self.missing.append(names[0])
        return None

    def notes(self) -> tuple[str, ...]:
        """Return a note about missing files. Raises `BadQuery` if all are missing."""
        if not self.missing:
            return ()
        shown = ", ".join(self.missing[:SHOWN_MISSING]) + (", …" if len(self.missing) > SHOWN_MISSING else "")
        if not self.files:
            raise BadQuery(f"{self._root}: has a table, but none of its media: {shown}")
        return (f"{len(self.missing):,} files of the table are missing: {shown}",)


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


def note_ignored(root: Path, taken: Iterable[Media], *, because: str) -> tuple[str, ...]:
    """Return a note about the files below a folder that are not used, with their suffixes."""
    used = frozenset(taken)
    others = Counter(
        PurePosixPath(name).suffix.lower() or "without extension"
        for name, media in _listed(root, tars_below=False)
        if media not in used
    )
    if not others:
        return ()
    most = sorted(others.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = ", ".join(f"{count:,} {suffix}" for suffix, count in most[:SHOWN_SUFFIXES])
    shown += ", …" if len(most) > SHOWN_SUFFIXES else ""
    count = others.total()
    return (f"{count:,} {'file is' if count == 1 else 'files are'} ignored, because {because}: {shown}",)


def read_table(table: Path, *, columns: Iterable[str] = (), delimiter: str = ",") -> list[Mapping[str, str]]:
    """Read a table with a header. Raises `BadQuery` if a column is missing."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, delimiter=delimiter, skipinitialspace=True)
            found: list[Mapping[str, str]] = [
                {str(key).strip(): (value or "") for key, value in row.items() if key} for row in reader
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadQuery(f"{table}: cannot be read as a table: {error}") from error
    missing_columns = [name for name in columns if found and name not in found[0]]
    if missing_columns or not found:
        raise BadQuery(f"{table}: " + (f"has no column {', '.join(missing_columns)}" if found else "has no rows"))
    return found


def column_names(table: Path) -> frozenset[str]:
    """Return the names of a table's columns; none if it cannot be read."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            return frozenset(name.strip() for name in next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error):
        return frozenset()


def as_words(name: str) -> str:
    """Turn a label into words: `clock_tick` becomes `clock tick`."""
    return re.sub(r"[\s_]+", " ", name).strip()
