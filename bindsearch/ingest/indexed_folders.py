"""Where a library looks for files: the folders and files that it was given, and what it forgets of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bindsearch.core.file_state import is_gone
from bindsearch.core.paths import PathOrPaths, absolute, as_list, topmost
from bindsearch.errors import BadQuery
from bindsearch.storage.ledger import Ledger

ROOT_IS_GONE = (
    "is not there any more: its files stay in the library in case it comes back; if it was moved, index its new "
    "place, and if it is gone for good, `bindsearch forget` it"
)


def existing_paths(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the absolute paths of files and folders. Raises `BadQuery` for one where nothing is, or something else."""
    tops = topmost(absolute(paths))
    for top in tops:
        if is_gone(top):
            raise BadQuery(f"there is no file or folder {top}")
        if os.path.exists(top) and not (os.path.isfile(top) or os.path.isdir(top)):
            raise BadQuery(f"{top} is neither a file nor a folder")
    return tops


def folders_to_index(library: Path, ledger: Ledger, places: PathOrPaths | None) -> list[Path]:
    """Return the folders and files to index: by default those of before, which need not be there any more.

    Raises `BadQuery`.
    """
    if places is None:
        known = _known(ledger)
        if not known:
            raise BadQuery("nothing was indexed yet: say which folder, as in `bindsearch index ~/Pictures`")
        return known
    roots = existing_paths(as_list(places))
    if library in roots:
        raise BadQuery(f"{library} is the library itself: say which folder of media to index")
    return roots


def missing_folders(ledger: Ledger, roots: Iterable[Path]) -> dict[Path, str]:
    """Return the roots that are gone though files are known there, with what to do."""
    with ledger.read() as snapshot:
        return {root: ROOT_IS_GONE for root in roots if is_gone(root) and any(True for _ in snapshot.paths(root))}


def remember_folders(ledger: Ledger, roots: Sequence[Path]) -> None:
    """Keep the roots for the next run without places. One that is not there now may come back."""
    known = _known(ledger)
    merged = topmost([*known, *roots])
    if merged != known:
        ledger.write(lambda txn: txn.set_indexed_folders(merged))


def _known(ledger: Ledger) -> list[Path]:
    with ledger.read() as snapshot:
        return snapshot.indexed_folders()
