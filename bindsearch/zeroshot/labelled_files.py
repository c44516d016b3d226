"""Files whose label is known: a folder a label, or a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bindsearch.errors import BadQuery, MediaError
from bindsearch.evaluation.media_files import rows, spoken
from bindsearch.zeroshot.classifier import Classifier, Taught

PATHS = ("path", "file", "filename", "file_name", "name", "image", "audio", "video")
LABELS = ("label", "category", "class", "truth")
GROUPS = ("group", "recording", "src_file", "session")
"""Names of columns, in the order in which they are looked for."""
BELOW = (".", "audio", "images", "../audio", "../images")
"""Where files lie that a table names: beside it, or as data sets have them."""

Failed = Callable[[Path, Exception], object]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file and its label."""

    path: Path
    label: str
    group: str = ""
    """Files of one group, such as clips of one recording, are no independent evidence."""


def read_labelled(place: Path) -> list[Labelled]:
    """Read a folder with a folder for each label, or a table with a path and a label in each row.

    Raises `BadQuery` where there is nothing of the kind, `OSError`.
    """
    found = _folders(place) if place.is_dir() else list(_table(place))
    if not found:
        raise BadQuery(f"{place} has no labelled files: put them into a folder for each label, or list them in a table")
    return found


def folder_label(path: Path) -> str:
    """Return the label that a file's folder is called by."""
    return spoken(path.parent.name)


def labels_of(labelled: Iterable[Labelled]) -> list[str]:
    """Return all labels, in the order of the alphabet."""
    return sorted({each.label for each in labelled})


def parted(labelled: Iterable[Labelled], labels: Sequence[str]) -> tuple[list[Labelled], list[Labelled]]:
    """Split files with one of some labels from the others; capitals make no difference."""
    known = {label.casefold(): label for label in labels}
    own: list[Labelled] = []
    others: list[Labelled] = []
    for each in labelled:
        label = known.get(each.label.casefold())
        (others if label is None else own).append(each if label is None else replace(each, label=label))
    return own, others


def truths(place: Path) -> Mapping[Path, Labelled]:
    """Return the rows of a table by the absolute path of the file. Raises `BadQuery`, `OSError`."""
    return {Path(os.path.abspath(each.path)): each for each in _table(place)}


def truth_of(path: Path, table: Mapping[Path, Labelled]) -> Labelled | None:
    """Find what a table says of a file: by its path, or by its name, where one row alone has that."""
    if path in table:
        return table[path]
    named = [each for known, each in table.items() if known.name == path.name]
    return named[0] if len(named) == 1 else None


def taught(classifier: Classifier, labelled: Sequence[Labelled], *, failed: Failed) -> list[Taught]:
    """Look at labelled files; those that cannot be read are told to `failed`. Raises `SpaceError`."""
    found = []
    for each in labelled:
        try:
            found.append(Taught(classifier.look_at(each.path), each.label, each.group))
        except (MediaError, OSError) as error:
            failed(each.path, error)
    return found


def _folders(place: Path) -> list[Labelled]:
    from bindsearch.media import ScannedFile, walk

    top = Path(os.path.abspath(place))
    files = [entry.path for entry in walk([top]) if isinstance(entry, ScannedFile) and not entry.broken_link]
    parts = [(path, path.relative_to(top).parts) for path in files]
    return [Labelled(path, spoken(inside[0])) for path, inside in parts if len(inside) > 1]


def _table(place: Path) -> Iterable[Labelled]:
    read = rows(place)
    path, label = (_column(place, read[0], names) for names in (PATHS, LABELS))
    group = next((name for name in GROUPS if name in read[0]), None)
    tops = [place.parent / below for below in BELOW]
    for row in read:
        if row[path].strip() and row[label].strip():
            name = Path(row[path].strip()).expanduser()
            found = next((top / name for top in tops if (top / name).exists()), place.parent / name)
            yield Labelled(found, spoken(row[label]), row[group] if group else "")


def _column(place: Path, row: Mapping[str, str], names: Sequence[str]) -> str:
    found = next((name for name in names if name in row), None)
    if found is None:
        raise BadQuery(f"{place}: has no column {' or '.join(names[:3])}; its columns are {', '.join(row)}")
    return found
