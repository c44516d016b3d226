"""The library: the facade through which one collection is indexed, searched and managed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bindsearch.core.file_state import is_gone
from bindsearch.core.lock import writing
from bindsearch.core.paths import PathOrPaths, absolute, as_list, default_library
from bindsearch.core.progress import BuildProgress, Progress
from bindsearch.errors import LibraryBusy, LibraryError
from bindsearch.indexing.generations import AUTO
from bindsearch.ingest.indexed_folders import folders_to_index, missing_folders, remember_folders
from bindsearch.ingest.report import Report
from bindsearch.library.concepts import Concepts
from bindsearch.library.edition import OpenEdition
from bindsearch.library.editions import Editions
from bindsearch.library.forget import forget, forget_gone
from bindsearch.library.migration import Migration, MigrationReport
from bindsearch.library.open_library import prepare_library
from bindsearch.library.searcher import Searcher
from bindsearch.library.status import Status, status_of
from bindsearch.library.tags import Tags, tag_new_items
from bindsearch.query.language import file, query_of
from bindsearch.query.request import SearchRequest, Words
from bindsearch.registry import load_index
from bindsearch.results import Hit, Hits, WhyNot
from bindsearch.retrieval.comparison import Comparison, SpaceResults
from bindsearch.spaces.space import Space
from bindsearch.storage.manifest import EditionRole, Manifest, read_manifest, strays, write_manifest
from bindsearch.storage.settings import Settings
from bindsearch.types import Item, Vectors
from bindsearch.zeroshot import Classifier, load_classifier

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindsearch.library.doctor import Drift
    from bindsearch.zeroshot.prompts import Templates

ONE_SPACE = (
    "{} has only the space {}: `bindsearch migrate --space NAME` adds another, and keeps the old one to compare with"
)


class Library:
    """A folder that holds one collection: its ledger and its indexes. Opened by `bindsearch.open`.

    >>> import bindsearch
    >>> with bindsearch.open("media.library") as library:
    ...     report = library.index("samples")
    ...     for hit in library.search("a dark stormy night", modality="image", k=1):
    ...         print(hit.path.name)
    dark_night_with_stars.png
    """

    def __init__(self, folder: Path, space: Space | None) -> None:
        self.path = folder
        self._editions = Editions(folder, space)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        space: str | Space | None = None,
        create: bool = True,
        commercial: bool = False,
    ) -> Library:
        """Open a library, by default the user's own, and create it if it does not exist and `create` is true.

        A new library gets `space`, or the built-in one; an existing one must already have `space`, if it is given.
        `commercial` restricts the library, for good, to spaces whose licences allow commercial use.
        Raises `LibraryNotFound`, `SpaceMismatch`, `LicenceRefused`, `SchemaTooNew`, `CorruptLibrary`.
        """
        folder = default_library() if path is None else absolute([path])[0]
        given = Space.named(space) if isinstance(space, str) else space
        prepare_library(folder, given, create=create, commercial=commercial)
        return cls(folder, given)

    @property
    def manifest(self) -> Manifest:
        """The content of `library.json` when it was last read."""
        return self._editions.manifest

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if the vectors are of another space."""
        return self._editions.now().space

    def close(self) -> None:
        """Close the files. A closed library cannot be used again; closing it again does nothing."""
        self._editions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of live items."""
        return self.status().items

    # -- index

    def index(
        self,
        paths: PathOrPaths | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Report:
        """Update the library to the current content of files and folders, by default of those indexed before.

        `metadata` is stored with each path for filters; `retry` tries quarantined files again; `stop` is called often
        and ends the run when it returns True. After the last commit, indexes that are due are rebuilt,
        while others may search and write. Raises `LibraryBusy` while another process writes, `LibraryFull`,
        `BadQuery` for a path that does not exist.
        """
        from bindsearch.ingest.pipeline import Ingest

        with ExitStack() as afterwards, writing(self.path):
            edition = self._editions.now()
            folders = folders_to_index(self.path, edition.ledger, paths)
            missing = missing_folders(edition.ledger, folders)
            existing = [folder for folder in folders if not is_gone(folder)]
            strings = None if metadata is None else {str(key): str(value) for key, value in metadata.items()}
            ingest = Ingest(edition.ledger, edition.space, metadata=strings, retry=retry, progress=progress, stop=stop)
            remember_folders(edition.ledger, existing)  # before the run, which may be killed
            afterwards.callback(self._renew, edition, progress)  # also if the run fails: what is committed stays
            report = ingest.run(existing)
            if not report.stopped:
                tag_new_items(edition, progress=progress)
            report.deferred.update(missing)
            return report

    def forget(self, paths: PathOrPaths) -> int:
        """Remove files, or all files in folders, from the library; return the number of paths removed.

        The files themselves are not touched.
        """
        with writing(self.path):
            tops = dict.fromkeys(absolute(as_list(paths)))
            for edition in self._editions.others().values():
                forget(edition, tops)
            return forget(self._editions.now(), tops)

    def forget_gone(self) -> int:
        """Remove the stored vectors of deleted files; return the number of items removed."""
        with writing(self.path):
            for edition in self._editions.others().values():
                forget_gone(edition)
            return forget_gone(self._editions.now())

    # -- search

    def search(
        self,
        query: Words | SearchRequest,
        *,
        k: int = 10,
        raw: bool = False,
        modality: str | Iterable[str] | None = None,
        under: PathOrPaths | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        tag: str | Iterable[str] | None = None,
        also: Words | Iterable[Words] = (),
        excluding: Words | Iterable[Words] = (),
        more_like: int | Iterable[int] = (),
        less_like: int | Iterable[int] = (),
        max_expect: float = math.inf,
        why: bool = False,
    ) -> Hits:
        """Return the `k` items that are most similar to a query, or fewer if fewer pass the filters.

        `query` is a string (a file if one has this name, and text otherwise), a path, a composed
        `bindsearch.Query`, or a `SearchRequest`, which holds all options itself.

        - `raw`: order by cosine instead of E-value.
        - `modality`: only these: image, audio, video, text.
        - `under`: only files in these folders.
        - `since`: only files modified at this date or later.
        - `ext`: only files with these extensions.
        - `where`: only files that were indexed with this metadata.
        - `tag`: only items whose tags meet these conditions, like `dog>0.8`.
        - `also`: queries that results must match, too.
        - `excluding`: queries that results must not match.
        - `more_like`, `less_like`: numbers of relevant and irrelevant results, from 1, in the same search without
          them (relevance feedback).
        - `max_expect`: only hits with at most this E-value.
        - `why`: explain every hit.

        Raises `QueryError`, `MediaError`.
        """
        request = SearchRequest.of(
            query,
            k=k,
            raw=raw,
            modality=modality,
            under=under,
            since=since,
            ext=ext,
            where=where,
            tag=tag,
            also=also,
            excluding=excluding,
            more_like=more_like,
            less_like=less_like,
            max_expect=max_expect,
            why=why,
        )
        return self._searcher().search(request)

    def why_not(self, path: str | os.PathLike[str], query: Words | SearchRequest) -> WhyNot:
        """Explain why a file is, or is not, among the hits of a search: its rank and score, or what keeps it out.

        For a search with options, pass its `SearchRequest`. Raises `QueryError`, `MediaError`.
        """
        return self._searcher().why_not(absolute([path])[0], SearchRequest.of(query))

    def similar(
        self,
        path: str | os.PathLike[str] | SearchRequest,
        *,
        k: int = 10,
        raw: bool = False,
        modality: str | Iterable[str] | None = None,
        under: PathOrPaths | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        tag: str | Iterable[str] | None = None,
    ) -> Hits:
        """Return the items most similar to a file, without the file itself and its copies; options as in `search`.

        A `SearchRequest` must have a single file as its query. Raises `QueryError`, `MediaError`.
        """
        request = SearchRequest.of(
            path if isinstance(path, SearchRequest) else file(path),
            k=k,
            raw=raw,
            modality=modality,
            under=under,
            since=since,
            ext=ext,
            where=where,
            tag=tag,
        )
        return self._searcher().similar(request)

    def compare(self, query: Words | SearchRequest) -> Comparison:
        """Run the same search in the current space and in the one beside it: the pending one, else the previous one.

        Raises `LibraryError` where there is only one, and whatever `search` raises.
        """
        request = SearchRequest.of(query)
        current = self._editions.now()
        others = [(role, other) for role, other in self._editions.others().items() if other is not current]
        if not others:
            raise LibraryError(ONE_SPACE.format(self.path, current.edition.space))
        self.manifest.allow(others[0][1].space.spec)
        results = [
            SpaceResults(edition.edition.space, role, Searcher(edition).search(request))
            for role, edition in ((EditionRole.CURRENT, current), others[0])
        ]
        return Comparison(*results)

    def picture(self, hit: Hit) -> Image:
        """Draw the explanation of a hit: the place in a picture, the seconds of a sound, the frame of a video.

        The hit must come from a search with `why`. Raises `BadQuery` for any other hit, `MediaError` where its file is
        missing, has changed, or is a text.
        """
        return self._searcher().draw(hit)

    def vector(self, query: Words) -> Vectors:
        """Return the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        return self._searcher().encode(query_of(query)).vector

    @property
    def concepts(self) -> Concepts:
        """The saved concepts, by name; `concepts.add` and `concepts.remove` change them."""
        return Concepts(self.path, self._editions.now)

    # -- labels and tags

    def classifier(
        self,
        labels: Iterable[str],
        *,
        templates: Templates | None = None,
        none: bool | Iterable[str] = False,
    ) -> Classifier:
        """Make a zero-shot classifier in the library's space.

        `set:NAME` among the labels stands for a built-in list. With `none`, "none of these" is an answer, too, where
        the built-in background labels, or the labels given, fit better. Raises `BadQuery`.
        """
        return Classifier(self.space, labels, templates=templates, none=none)

    def load_classifier(self, path: str | os.PathLike[str]) -> Classifier:
        """Load a saved classifier. Raises `SpaceMismatch`, `BadQuery`, `OSError`."""
        return load_classifier(path, self.space)

    @property
    def tags(self) -> Tags:
        """The tags of items, by label; `tag` makes them, and `tags.remove` removes them."""
        return Tags(self.path, self._editions.now)

    def tag(
        self,
        labels: Iterable[str] | Classifier,
        *,
        templates: Templates | None = None,
        none: bool | Iterable[str] = True,
        progress: Callable[[Progress], None] | None = None,
    ) -> list[str]:
        """Tag every item, now and when it is indexed later, with labels or by a classifier; return the labels.

        Labels compete with background labels, unless `none` is False. `search(..., tag="dog>0.8")` filters by tags.
        Raises `BadQuery`, `SpaceMismatch`, `LibraryBusy`.
        """
        if not isinstance(labels, Classifier):
            labels = self.classifier(labels, templates=templates, none=none)
        return self.tags.add(labels, progress=progress)

    # -- inspect and maintain

    def items(self) -> Iterator[Item]:
        """Return every live item with its segments and paths."""
        return (item for item, _ in self.items_with_vectors())

    def items_with_vectors(self) -> Iterator[tuple[Item, Vectors]]:
        """Return every live item with the unit vectors of its segments, each read when the iteration reaches it."""
        edition = self._editions.now()
        with edition.ledger.read() as snapshot:
            ids = [item for item, _ in snapshot.live_items()]
        for item in ids:
            with edition.ledger.read() as snapshot:
                found = snapshot.item(item)
                if found is None or not found.paths:
                    continue
                rows = edition.rows(snapshot, item)
            yield found, rows

    def vectors(self, item: Item) -> Vectors:
        """Return the unit vectors of an item's segments. *Shape:* (len(item.segments), dim)"""
        edition = self._editions.now()
        with edition.ledger.read() as snapshot:
            return edition.rows(snapshot, item.id)

    def status(self) -> Status:
        """Return what the library holds, what is in quarantine and why, and how much space it takes."""
        edition = self._editions.now()
        others = self._editions.others()
        with edition.ledger.read() as snapshot:
            return status_of(snapshot, self.path, self.manifest, edition, others)

    def rebuild_index(self, kind: str = AUTO, *, progress: Callable[[Progress], None] | None = None) -> None:
        """Rebuild the indexes, of one kind from now on, or of the kind that suits each if `kind` is `auto`.

        Others may search and write meanwhile. Raises `UnknownIndex`, `IndexUnavailable`, and `LibraryBusy` while
        another process rebuilds them.
        """
        if kind != AUTO:
            load_index(kind)
        edition = self._editions.now()
        with edition.ledger.read() as snapshot:
            edition.index_store.rebuild(snapshot, kind=kind)
        self._renew(edition, progress, everything=True)

    @property
    def settings(self) -> Settings:
        """What the owner configured. Changes take effect with the next `index`."""
        self._editions.now()
        return self.manifest.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with writing(self.path):
            manifest = read_manifest(self.path)
            if manifest.settings != settings:
                write_manifest(self.path, replace(manifest, settings=settings))

    def doctor(self, *, repair: bool = False, read_files: bool = True) -> list[str]:
        """Check that ledger, files and indexes agree; return the problems found. With `repair`, fix them."""
        from bindsearch.library.doctor import check_edition, check_orphans, check_other_editions

        if repair:
            with writing(self.path):
                return [
                    *check_edition(self._editions.now(), read_files=read_files, repair=True),
                    *check_other_editions(self._editions.others(), repair=True),
                    *check_orphans(self.path, repair=True),
                ]
        problems = [
            *check_edition(self._editions.now(), read_files=read_files),
            *check_other_editions(self._editions.others()),
        ]
        if strays(self.path, read_manifest(self.path)):
            with suppress(LibraryError), writing(self.path):  # a writer may be about to remove them itself
                problems += check_orphans(self.path)
        return problems

    def drift(self) -> Drift:
        """Return how many files changed or were deleted since they were indexed. The next `index` updates them."""
        from bindsearch.library.doctor import drift

        with self._editions.now().ledger.read() as snapshot:
            records = list(snapshot.paths())
        return drift(records)

    # -- change the space

    def migrate(
        self,
        space: str | Space | None = None,
        *,
        allow_missing: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> MigrationReport:
        """Embed everything in another space beside the current one, and switch when that is complete.

        Without `space`, continue the pending migration. It can be killed at any time: the next call continues it.
        Unless `allow_missing`, it does not switch while files cannot be read; the vectors made so far are kept. The
        old space is kept for `rollback`, until `drop_old` or the next migration. Raises `LibraryBusy`, `LibraryFull`,
        `LibraryError` if there is nothing to do, and what loading the space raises.
        """
        with writing(self.path):
            self._editions.now()
            given = Space.named(space) if isinstance(space, str) else space or self._editions.pending_space()
            self._editions.accept(given)
            migration = Migration(self.path, self._editions.open)
            return migration.run(given, allow_missing=allow_missing, progress=progress, stop=stop)

    def rollback(self) -> str:
        """Return to the space before the last migration, and keep the other one; return its name.

        Files that were added or changed since are embedded by the next `index`. Raises `LibraryError` if there is no
        previous space, `LibraryBusy`, and what loading the space raises.
        """
        with writing(self.path):
            self._editions.now()
            if self.manifest.previous is not None:
                self._editions.accept(self._editions.open(self.manifest.previous).space)
            return Migration(self.path, self._editions.open).rollback()

    def drop_old(self) -> int:
        """Remove the previous space; return the number of bytes freed. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._editions.open).drop(EditionRole.PREVIOUS)

    def cancel_migration(self) -> int:
        """Remove the pending space; return the number of bytes freed. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._editions.open).drop(EditionRole.PENDING)

    # -- private

    def _searcher(self) -> Searcher:
        return Searcher(self._editions.now())

    def _renew(
        self, edition: OpenEdition, progress: Callable[[Progress], None] | None, *, everything: bool = False
    ) -> None:
        """Rebuild the indexes that are due, while others search and write, then prune the log."""

        def on_progress(building: BuildProgress) -> None:
            if progress is not None:
                progress(Progress(0, None, 0, None, building))

        reached = edition.renew(on_progress, everything=everything)
        with suppress(LibraryBusy), writing(self.path):  # otherwise a later writer prunes it
            edition.ledger.prune_log(reached)


def open(path: str | os.PathLike[str] | None = None, *, space: str | Space | None = None) -> Library:
    """Open a library, by default the user's own; it is created on first use, with `space` or the built-in one.

    Raises `SpaceMismatch`, `SchemaTooNew`, `CorruptLibrary`.
    """
    return Library.open(path, space=space)
