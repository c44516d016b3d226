"""Labelled files: one folder per label, or a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bindsearch.errors import BadQuery, MediaError
from bindsearch.evaluation.media_files import as_words, read_table
from bindsearch.zeroshot.classifier import Classifier, Example

PATH_COLUMNS = ("path", "file", "filename", "file_name", "name", "image", "audio", "video")
LABEL_COLUMNS = ("label", "category", "class", "truth")
GROUP_COLUMNS = ("group", "recording", "src_file", "session")
"""Column names, in order of preference."""
MEDIA_FOLDERS = (".", "audio", "images", "../audio", "../images")
"""Folders that hold the files of a table, relative to it."""

FailureCallback = Callable[[Path, Exception], object]


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file and its label."""

    path: Path
    label: str
    group: str = ""
    """Files of one group, such as clips of one recording, are not independent evidence."""


def read_labelled(place: Path) -> list[LabelledFile]:
    """Read a folder with one subfolder per label, or a table with columns for path and label.

    Raises `BadQuery` if it has neither, `OSError`.
    """
    found = _folders(place) if place.is_dir() else list(_table(place))
    if not found:
        raise BadQuery(f"{place} has no labelled files: put them into one folder per label, or list them in a table")
    return found


def folder_label(path: Path) -> str:
    """Return the label that a file's folder name stands for."""
    return as_words(path.parent.name)


def labels_of(labelled: Iterable[LabelledFile]) -> list[str]:
    """Return all labels, sorted."""
    return sorted({each.label for each in labelled})


def split_by_label(
    labelled: Iterable[LabelledFile], labels: Sequence[str]
) -> tuple[list[LabelledFile], list[LabelledFile]]:
    """Split files into those with one of the labels, ignoring case, and the others."""
    known = {label.casefold(): label for label in labels}
    own: list[LabelledFile] = []
    others: list[LabelledFile] = []
    for each in labelled:
        label = known.get(each.label.casefold())
        (others if label is None else own).append(each if label is None else replace(each, label=label))
    return own, others


def read_truth_table(place: Path) -> Mapping[Path, LabelledFile]:
    """Return the rows of a table, by absolute path. Raises `BadQuery`, `OSError`."""
    return {Path(os.path.abspath(each.path)): each for each in _table(place)}


def find_truth(path: Path, table: Mapping[Path, LabelledFile]) -> LabelledFile | None:
    """Find the row of a file by its path, or by its name if exactly one row has it."""
    if path in table:
        return table[path]
    named = [each for known, each in table.items() if known.name == path.name]
    return named[0] if len(named) == 1 else None


def embed_examples(
    classifier: Classifier, labelled: Sequence[LabelledFile], *, on_failure: FailureCallback
) -> list[Example]:
    """Embed labelled files; report unreadable ones to `on_failure`. Raises `SpaceError`."""
    found = []
    for each in labelled:
        try:
            found.append(Example(classifier.embed(each.path), each.label, each.group))
        except (MediaError, OSError) as error:
            on_failure(each.path, error)
    return found


def _folders(place: Path) -> list[LabelledFile]:
    from bindsearch.media import ScannedFile, walk

    top = Path(os.path.abspath(place))
    files = [entry.path for entry in walk([top]) if isinstance(entry, ScannedFile) and not entry.broken_link]
    parts = [(path, path.relative_to(top).parts) for path in files]
    return [LabelledFile(path, as_words(inside[0])) for path, inside in parts if len(inside) > 1]


def _table(place: Path) -> Iterable[LabelledFile]:
    read = read_table(place)
    path, label = (_column(place, read[0], names) for names in (PATH_COLUMNS, LABEL_COLUMNS))
    group = next((name for name in GROUP_COLUMNS if name in read[0]), None)
    tops = [place.parent / below for below in MEDIA_FOLDERS]
    for row in read:
        if row[path].strip() and row[label].strip():
            name = Path(row[path].strip()).expanduser()
            found = next((top / name for top in tops if (top / name).exists()), place.parent / name)
            yield LabelledFile(found, as_words(row[label]), row[group] if group else "")


def _column(place: Path, row: Mapping[str, str], names: Sequence[str]) -> str:
    found = next((name for name in names if name in row), None)
    if found is None:
        raise BadQuery(f"{place} has no column {' or '.join(names[:3])}; its columns are {', '.join(row)}")
    return found
