"""The library: one collection, indexed and searched. The facade over ledger, ingest, indexes and search."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import numpy as np

from bindsearch.errors import BadQuery, LibraryNotFound, UnreadableMedia
from bindsearch.filters import Filters, make_filters
from bindsearch.gallery import AUTO, Gallery
from bindsearch.identity import digest_of, is_gone
from bindsearch.ledger import Ledger
from bindsearch.lock import writing
from bindsearch.operands import Operands
from bindsearch.places import absolute, default_library, topmost
from bindsearch.query import Query, compile_query, file, parse_one
from bindsearch.registry import load_index
from bindsearch.report import Progress, Report
from bindsearch.schema import CARD, SCHEMA, Card, make_folder, read_card, upgrade, write_card
from bindsearch.search import find
from bindsearch.spaces import Space
from bindsearch.status import Status, status_of
from bindsearch.types import Hits, Item, Vectors
from bindsearch.view import View
from bindsearch.zeroshot import Classifier

ROOT_IS_GONE = (
    "is not there any more: its files stay in the library in case it comes back; if it was moved, index its new "
    "place, and if it is gone for good, `bindsearch forget` it"
)

CREATION_SECONDS = 10.0
"""How long to wait for another process that makes the same library."""

Words: TypeAlias = str | os.PathLike[str] | Query
Places: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class Library:
    """A folder that holds one collection: its ledger and its indexes. Made by `bindsearch.open`.

    >>> import bindsearch
    >>> with bindsearch.open("media.library") as library:
    ...     report = library.index("samples")
    ...     for hit in library.search("a dark stormy night", modality="image", k=1):
    ...         print(hit.path.name)
    dark_night_with_stars.png
    """

    def __init__(self, folder: Path, card: Card, space: Space | None) -> None:
        self.path = folder
        self.card = card
        self._space = space
        self._ledger = Ledger.open(folder / "ledger", dim=card.dim)
        self._closed = False
        self._gallery = Gallery(folder / "index" / _safe(card.space), dim=card.dim)

    @classmethod
    def open(
        cls, path: str | os.PathLike[str] | None = None, *, space: str | Space | None = None, create: bool = True
    ) -> Library:
        """Open a library, by default the user's own; make it if there is none and `create`.

        A new one is made with `space`, or the built-in one. Naming a space for an old one checks that it is that.
        Raises `LibraryNotFound`, `SpaceMismatch`, `SchemaTooNew`, `CorruptLibrary`.
        """
        folder = default_library() if path is None else absolute([path])[0]
        given = Space.named(space) if isinstance(space, str) else space
        try:
            card = read_card(folder)
        except LibraryNotFound:
            if not create:
                raise
            card = cls._create(folder, given)
        if given is not None:
            card.check(given.spec, folder)
        if card.schema != SCHEMA:
            with writing(folder):
                card = upgrade(folder, read_card(folder))
        return cls(folder, card, given)

    @classmethod
    def _create(cls, folder: Path, space: Space | None) -> Card:
        from bindsearch.registry import DEFAULT_SPACE

        make_folder(folder)
        with writing(folder, patience=CREATION_SECONDS):
            if (folder / CARD).exists():  # another process was faster
                return read_card(folder)
            Ledger.open(folder / "ledger", dim=1, create=True).close()
            card = Card.fresh((space or Space.named(DEFAULT_SPACE)).spec)
            write_card(folder, card)
        return card

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if they are not those of the vectors."""
        if self._space is None:
            space = Space.named(self.card.space)
            self.card.check(space.spec, self.path)
            self._space = space
        return self._space

    def close(self) -> None:
        """Let go of the files. A closed library cannot be used again; closing it again does nothing."""
        if not self._closed:
            self._closed = True
            self._ledger.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Give the number of live items."""
        return self.status().items

    # -- a folder goes in

    def index(
        self,
        paths: Places | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Report:
        """Bring the library to what lies in files and folders now: by default, in those that were indexed before.

        `metadata` is kept with each path for filters; `retry` tries quarantined files again; `stop` is asked after
        every file. Raises `LibraryBusy` while another process writes, `LibraryFull`, `BadQuery` for a path where
        nothing is.
        """
        from bindsearch.ingest import Ingest

        with writing(self.path):
            roots = self._roots(paths)
            missing = {root: ROOT_IS_GONE for root in roots if is_gone(root) and self._knows(root)}
            roots = [root for root in roots if not is_gone(root)]
            noted = None if metadata is None else {str(key): str(value) for key, value in metadata.items()}
            ingest = Ingest(self._ledger, self.space, metadata=noted, retry=retry, progress=progress, stop=stop)
            self._remember(roots)  # before the run, which may be killed
            try:
                report = ingest.run(roots)
            finally:
                self._save()
            report.troubled.update(missing)
            return report

    def forget(self, paths: Places) -> int:
        """Remove files, or all files below folders, and their vectors; give the number of paths that are forgotten.

        The files themselves stay where they are.
        """
        with writing(self.path):
            tops = dict.fromkeys(absolute(_listed(paths)))
            with self._ledger.read() as view:
                records = [record for top in tops for record in view.paths(top)]
                roots = [root for root in view.roots() if not any(top in tops for top in (root, *root.parents))]
            self._ledger.write_each("forget", records)
            self._ledger.write(lambda change: change.set_roots(roots))
            self._save()
            return len(records)

    def forget_gone(self) -> int:
        """Remove the vectors that are kept for files that are gone; give the number of items."""
        with writing(self.path):
            with self._ledger.read() as view:
                live = {item for item, _ in view.live_items()}
                dormant = [item for item, _ in view.items() if item not in live]
            self._ledger.write_each("drop_item", dormant)
            self._save()
            return len(dormant)

    # -- a question comes out

    def search(
        self,
        query: Words,
        *,
        k: int = 10,
        modality: str | Iterable[str] | None = None,
        under: Places | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> Hits:
        """Find the `k` items that are nearest to a query, of any modality or of those asked for.

        A string that names a file stands for the file, and any other for itself; `bindsearch.text` and
        `bindsearch.file` say which, and `+`, `-` and `*` compose them. Raises `QueryError`, `MediaError`.
        """
        filters = make_filters(modality=modality, under=under, since=since, ext=ext, where=where)
        return self._find(self.vector(query), k=k, filters=filters, raw=raw)

    def similar(
        self,
        path: str | os.PathLike[str],
        *,
        k: int = 10,
        modality: str | Iterable[str] | None = None,
        under: Places | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        raw: bool = False,
    ) -> Hits:
        """Find the items nearest to a file, other than itself; filters as in `search`. Raises `MediaError`."""
        filters = make_filters(modality=modality, under=under, since=since, ext=ext, where=where)
        query = file(path)
        try:
            own = digest_of(Path(query.operands[0].value))
        except OSError as error:
            raise UnreadableMedia(f"{path}: {error.strerror or error}") from error
        return self._find(self.vector(query), k=k, filters=replace(filters, without=frozenset({own})), raw=raw)

    def vector(self, query: Words) -> Vectors:
        """Give the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        asked = parse_one(query) if isinstance(query, str) else query if isinstance(query, Query) else file(query)
        operands = Operands(self._ledger, self.space)
        return compile_query(asked, operands.text, operands.file).vector

    def classifier(self, labels: Sequence[str], *, templates: Sequence[str] | None = None) -> Classifier:
        """Make a zero-shot classifier in the library's space."""
        return Classifier(self.space, labels, templates=templates)

    def _find(self, vector: Vectors, *, k: int, filters: Filters, raw: bool) -> Hits:
        if not isinstance(k, int) or k < 1:
            raise BadQuery(f"{k} results were asked for; ask for a whole number from 1 on")
        with self._ledger.read() as view:
            return find(view, self._gallery.follow(view), vector, k=k, filters=filters, raw=raw)

    # -- what is in it

    def items(self) -> Iterator[Item]:
        """Give every live item with its segments and paths."""
        return (item for item, _ in self.items_with_vectors())

    def items_with_vectors(self) -> Iterator[tuple[Item, Vectors]]:
        """Give every live item with the unit vectors of its segments, as they are when the iteration comes to it."""
        with self._ledger.read() as view:
            ids = [item for item, _ in view.live_items()]
        for item in ids:
            with self._ledger.read() as view:
                found = view.item(item)
                if found is None or not found.paths:
                    continue
                rows = self._rows(view, item)
            yield found, rows

    def vectors(self, item: Item) -> Vectors:
        """Give the unit vectors of an item's segments. *Shape:* (len(item.segments), dim)"""
        with self._ledger.read() as view:
            return self._rows(view, item.id)

    def _rows(self, view: View, item: int) -> Vectors:
        facts = view.facts(item) or {"runs": []}
        blocks = [view.vectors(first) for first, _, _ in facts["runs"]]
        return np.concatenate(blocks) if blocks else np.empty((0, self.card.dim), dtype=np.float32)

    def status(self) -> Status:
        """Say what is in the library, what is put aside and why, and what it costs."""
        with self._ledger.read() as view:
            return status_of(view, self.path, self.card, self._ledger.storage.bytes_used(), self._gallery)

    def rebuild_index(self, kind: str = AUTO) -> None:
        """Make the indexes anew, of one kind from now on, or of the kind that suits each if it is `auto`.

        Raises `UnknownIndex`, `IndexUnavailable`, `LibraryBusy`.
        """
        if kind != AUTO:
            load_index(kind)
        with writing(self.path):
            with self._ledger.read() as view:
                self._gallery.rebuild(view, kind=kind)
            self._ledger.prune_log(self._gallery.save(everything=True))

    def doctor(self, *, repair: bool = False, read_files: bool = True) -> list[str]:
        """Prove that ledger, files and indexes agree; give what does not hold, in words. `repair` mends it."""
        from bindsearch.doctor import Doctor

        doctor = Doctor(self._ledger, self._gallery, read_files=read_files)
        if not repair:
            return doctor.examine()
        with writing(self.path):
            return doctor.repair()

    # -- inside

    def _roots(self, paths: Places | None) -> list[Path]:
        """Give the folders and files to index; only those that are named now must exist."""
        if paths is None:
            with self._ledger.read() as view:
                known = view.roots()
            if not known:
                raise BadQuery("nothing was indexed yet: say which folder, as in `bindsearch index ~/Pictures`")
            return known
        roots = existing(_listed(paths))
        if self.path in roots:
            raise BadQuery(f"{self.path} is the library itself: say which folder of media to index")
        return roots

    def _knows(self, top: Path) -> bool:
        """Tell whether any file is known at a path or below it."""
        with self._ledger.read() as view:
            return any(True for _ in view.paths(top))

    def _remember(self, roots: Sequence[Path]) -> None:
        """Keep the roots for the next `index` without paths. One that is not there now may come back."""
        with self._ledger.read() as view:
            known = view.roots()
        merged = topmost([*known, *roots])
        if merged != known:
            self._ledger.write(lambda change: change.set_roots(merged))

    def _save(self) -> None:
        with self._ledger.read() as view:
            self._gallery.follow(view)
        self._ledger.prune_log(self._gallery.save())


def open(path: str | os.PathLike[str] | None = None, *, space: str | Space | None = None) -> Library:
    """Open a library, by default the user's own; it is made on first use, with `space` or the built-in one.

    Raises `SpaceMismatch`, `SchemaTooNew`, `CorruptLibrary`.
    """
    return Library.open(path, space=space)


def existing(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Give the absolute paths of files and folders. Raises `BadQuery` for one where nothing is."""
    tops = topmost(absolute(paths))
    for top in tops:
        if is_gone(top):
            raise BadQuery(f"there is no file or folder {top}")
    return tops


def _listed(paths: Places) -> list[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)
