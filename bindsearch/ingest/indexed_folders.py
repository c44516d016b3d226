"""The indexed folders: the files and folders that `index` was given, which later runs scan again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bindsearch.core.file_state import is_gone
from bindsearch.core.paths import PathOrPaths, absolute, as_list, topmost
from bindsearch.errors import BadQuery
from bindsearch.storage.ledger import Ledger

FOLDER_IS_GONE = (
    "no longer exists: its files stay in the library in case it comes back; if it was moved, index its new place; "
    "if it is gone for good, `bindsearch forget` it"
)


def existing_paths(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return absolute paths. Raises `BadQuery` for one that is neither a file nor a folder."""
    tops = topmost(absolute(paths))
    for top in tops:
        if is_gone(top):
            raise BadQuery(f"there is no file or folder {top}")
        if os.path.exists(top) and not (os.path.isfile(top) or os.path.isdir(top)):
            raise BadQuery(f"{top} is neither a file nor a folder")
    return tops


def folders_to_index(library: Path, ledger: Ledger, paths: PathOrPaths | None) -> list[Path]:
    """Return the folders and files to index: by default those indexed before, which need not exist any more.

    Raises `BadQuery`.
    """
    if paths is None:
        known = _known(ledger)
        if not known:
            raise BadQuery("nothing was indexed yet: name a folder, as in `bindsearch index ~/Pictures`")
        return known
    folders = existing_paths(as_list(paths))
    if library in folders:
        raise BadQuery(f"{library} is the library itself: name a folder of media to index")
    return folders


def missing_folders(ledger: Ledger, folders: Iterable[Path]) -> dict[Path, str]:
    """Return the folders that are gone though the ledger knows files there, each with what to do."""
    with ledger.read() as snapshot:
        return {
            folder: FOLDER_IS_GONE
            for folder in folders
            if is_gone(folder) and any(True for _ in snapshot.paths(folder))
        }


def remember_folders(ledger: Ledger, folders: Sequence[Path]) -> None:
    """Store the folders for later runs without paths. One that is missing now may come back."""
    known = _known(ledger)
    merged = topmost([*known, *folders])
    if merged != known:
        ledger.write(lambda txn: txn.set_indexed_folders(merged))


def _known(ledger: Ledger) -> list[Path]:
    with ledger.read() as snapshot:
        return snapshot.indexed_folders()
