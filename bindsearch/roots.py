"""Where a library looks for files: the folders and files that it was given, and what it forgets of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from bindsearch.edition import OpenEdition
from bindsearch.errors import BadQuery
from bindsearch.identity import is_gone
from bindsearch.ledger import Ledger
from bindsearch.places import absolute, topmost

Places: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

ROOT_IS_GONE = (
    "is not there any more: its files stay in the library in case it comes back; if it was moved, index its new "
    "place, and if it is gone for good, `bindsearch forget` it"
)


def listed(places: Places) -> list[str | os.PathLike[str]]:
    """Give places as a list, be it one or many."""
    return [places] if isinstance(places, str | os.PathLike) else list(places)


def existing(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Give the absolute paths of files and folders. Raises `BadQuery` for one where nothing is, or something else."""
    tops = topmost(absolute(paths))
    for top in tops:
        if is_gone(top):
            raise BadQuery(f"there is no file or folder {top}")
        if os.path.exists(top) and not (os.path.isfile(top) or os.path.isdir(top)):
            raise BadQuery(f"{top} is neither a file nor a folder")
    return tops


def roots_to_index(library: Path, ledger: Ledger, places: Places | None) -> list[Path]:
    """Give the folders and files to index: by default those of before, which need not be there any more.

    Raises `BadQuery`.
    """
    if places is None:
        known = _known(ledger)
        if not known:
            raise BadQuery("nothing was indexed yet: say which folder, as in `bindsearch index ~/Pictures`")
        return known
    roots = existing(listed(places))
    if library in roots:
        raise BadQuery(f"{library} is the library itself: say which folder of media to index")
    return roots


def missed(ledger: Ledger, roots: Iterable[Path]) -> dict[Path, str]:
    """Give the roots that are gone though files are known there, with what to do."""
    with ledger.read() as view:
        return {root: ROOT_IS_GONE for root in roots if is_gone(root) and any(True for _ in view.paths(root))}


def remember(ledger: Ledger, roots: Sequence[Path]) -> None:
    """Keep the roots for the next run without places. One that is not there now may come back."""
    known = _known(ledger)
    merged = topmost([*known, *roots])
    if merged != known:
        ledger.write(lambda change: change.set_roots(merged))


def forget(edition: OpenEdition, tops: Mapping[Path, None]) -> int:
    """Drop what is known at some paths and below them; give the number of paths."""
    with edition.ledger.read() as view:
        records = [record for top in tops for record in view.paths(top)]
        roots = [root for root in view.roots() if not any(top in tops for top in (root, *root.parents))]
    edition.ledger.write_each("forget", records)
    edition.ledger.write(lambda change: change.set_roots(roots))
    edition.save()
    return len(records)


def forget_gone(edition: OpenEdition) -> int:
    """Drop the items that no path has any more; give their number."""
    with edition.ledger.read() as view:
        live = {item for item, _ in view.live_items()}
        dormant = [item for item, _ in view.items() if item not in live]
    edition.ledger.write_each("drop_item", dormant)
    edition.save()
    return len(dormant)


def _known(ledger: Ledger) -> list[Path]:
    with ledger.read() as view:
        return view.roots()
