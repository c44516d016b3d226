"""The library: one collection, indexed and searched. The facade over ledger, ingest, indexes and search."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

from bindsearch.core.file_state import digest_of, is_gone
from bindsearch.core.lock import writing
from bindsearch.core.paths import PathOrPaths, absolute, as_list, default_library
from bindsearch.core.progress import BuildProgress, Progress
from bindsearch.errors import LibraryBusy, LibraryError, UnreadableMedia
from bindsearch.indexing.index_store import AUTO
from bindsearch.ingest.indexed_folders import folders_to_index, missing_folders, remember_folders
from bindsearch.ingest.report import Report
from bindsearch.library.concepts import Concepts
from bindsearch.library.edition import OpenEdition
from bindsearch.library.editions import Editions
from bindsearch.library.forget import forget, forget_gone
from bindsearch.library.migration import Migration, MigrationReport
from bindsearch.library.open_library import prepare_library
from bindsearch.library.status import Status, status_of
from bindsearch.library.tags import Tags, follow
from bindsearch.query.filters import FilterWords, make_filters
from bindsearch.query.language import file
from bindsearch.query.request import SearchRequest, Words
from bindsearch.registry import load_index
from bindsearch.results import Hit, Hits, WhyNot
from bindsearch.retrieval.comparison import Answer, Comparison
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
    "{} has space {} only: `bindsearch migrate --space NAME` makes another beside it, and keeps the old one to compare"
)


class Library:
    """A folder that holds one collection: its ledger and its indexes. Made by `bindsearch.open`.

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
        """Open a library, by default the user's own; make it if there is none and `create`.

        A new one is made with `space`, or the built-in one. Naming a space for an old one checks that it is that.
        With `commercial`, now and from now on only spaces are let in whose licences allow commercial use.
        Raises `LibraryNotFound`, `SpaceMismatch`, `LicenceRefused`, `SchemaTooNew`, `CorruptLibrary`.
        """
        folder = default_library() if path is None else absolute([path])[0]
        given = Space.named(space) if isinstance(space, str) else space
        prepare_library(folder, given, create=create, commercial=commercial)
        return cls(folder, given)

    @property
    def manifest(self) -> Manifest:
        """What `library.json` said when it was last read."""
        return self._editions.manifest

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if they are not those of the vectors."""
        return self._editions.now().space

    def close(self) -> None:
        """Let go of the files. A closed library cannot be used again; closing it again does nothing."""
        self._editions.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __len__(self) -> int:
        """Return the number of live items."""
        return self.status().items

    # -- a folder goes in

    def index(
        self,
        paths: PathOrPaths | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        retry: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Report:
        """Bring the library to what lies in files and folders now: by default, in those that were indexed before.

        `metadata` is kept with each path for filters; `retry` tries quarantined files again; `stop` is asked after
        every file. When all is committed, indexes that are due are made anew, during which others may search and
        write. Raises `LibraryBusy` while another process writes, `LibraryFull`, `BadQuery` for a path where nothing is.
        """
        from bindsearch.ingest.pipeline import Ingest

        with ExitStack() as afterwards, writing(self.path):
            edition = self._editions.now()
            roots = folders_to_index(self.path, edition.ledger, paths)
            missing = missing_folders(edition.ledger, roots)
            standing = [root for root in roots if not is_gone(root)]
            noted = None if metadata is None else {str(key): str(value) for key, value in metadata.items()}
            ingest = Ingest(edition.ledger, edition.space, metadata=noted, retry=retry, progress=progress, stop=stop)
            remember_folders(edition.ledger, standing)  # before the run, which may be killed
            afterwards.callback(self._renew, edition, progress)  # also if the run fails: what is committed stays
            report = ingest.run(standing)
            if not report.stopped:
                follow(edition, progress=progress)
            report.deferred.update(missing)
            return report

    def forget(self, paths: PathOrPaths) -> int:
        """Remove files, or all files below folders, and their vectors; give the number of paths that are forgotten.

        The files themselves stay where they are.
        """
        with writing(self.path):
            tops = dict.fromkeys(absolute(as_list(paths)))
            for edition in self._editions.others().values():
                forget(edition, tops)
            return forget(self._editions.now(), tops)

    def forget_gone(self) -> int:
        """Remove the vectors that are kept for files that are gone; give the number of items."""
        with writing(self.path):
            for edition in self._editions.others().values():
                forget_gone(edition)
            return forget_gone(self._editions.now())

    # -- a question comes out

    def search(
        self,
        query: Words,
        *,
        k: int = 10,
        raw: bool = False,
        also: Words | Iterable[Words] = (),
        excluding: Words | Iterable[Words] = (),
        more_like: int | Iterable[int] = (),
        less_like: int | Iterable[int] = (),
        why: bool = False,
        **given: Unpack[FilterWords],
    ) -> Hits:
        """Find the `k` items that are nearest to a query, of any modality or of those asked for.

        A string that names a file stands for the file, and any other for itself; `bindsearch.text`, `bindsearch.file`
        and `bindsearch.concept` say which, and `+`, `-` and `*` compose them. Results answer what is asked for `also`
        as well, and nothing that `excluding` asks for. `more_like` and `less_like` are numbers of results of the same
        search without them. With `why`, hits say what their scores are made of. Raises `QueryError`, `MediaError`.
        """
        asked = SearchRequest.of(
            query, also=also, excluding=excluding, more_like=more_like, less_like=less_like, k=k, raw=raw, **given
        )
        return self._editions.now().answer(asked, why=why)

    def why_not(
        self,
        path: str | os.PathLike[str],
        query: Words,
        *,
        k: int = 10,
        raw: bool = False,
        also: Words | Iterable[Words] = (),
        excluding: Words | Iterable[Words] = (),
        more_like: int | Iterable[int] = (),
        less_like: int | Iterable[int] = (),
        max_expect: float = math.inf,
        **given: Unpack[FilterWords],
    ) -> WhyNot:
        """Say why a file is, or is not, among the hits of a search: its rank and score, or what keeps it out.

        Everything else as in `search`. Raises `QueryError`, `MediaError`.
        """
        asked = SearchRequest.of(
            query, also=also, excluding=excluding, more_like=more_like, less_like=less_like, k=k, raw=raw, **given
        )
        return self._editions.now().account(absolute([path])[0], asked, most=max_expect)

    def picture(self, hit: Hit) -> Image:
        """Draw why a hit of a search with `why` is one: the place in a picture, the seconds of a sound, the frame.

        Raises `BadQuery` for a hit of another search, `MediaError` where its file is gone, has changed, or is a text.
        """
        return self._editions.now().draw(hit)

    @property
    def concepts(self) -> Concepts:
        """The saved concepts, by name; `concepts.add` and `concepts.remove` change them."""
        return Concepts(self.path, self._editions.now)

    def similar(
        self,
        path: str | os.PathLike[str],
        *,
        k: int = 10,
        raw: bool = False,
        **given: Unpack[FilterWords],
    ) -> Hits:
        """Find the items nearest to a file, other than itself; filters as in `search`. Raises `MediaError`."""
        filters = make_filters(**given)
        query = file(path)
        try:
            own = digest_of(Path(query.operands[0].value))
        except OSError as error:
            raise UnreadableMedia(f"{path}: {error.strerror or error}") from error
        others = replace(filters, without=frozenset({own}))
        return self._editions.now().answer(SearchRequest(query, k=k, filters=others, raw=raw))

    def compare(
        self,
        query: Words,
        *,
        k: int = 10,
        raw: bool = False,
        **given: Unpack[FilterWords],
    ) -> Comparison:
        """Ask the same of the library's space and of the one beside it: that which comes, else that which is kept.

        Raises `LibraryError` where there is only one, and whatever `search` raises.
        """
        asked = SearchRequest.of(query, k=k, raw=raw, **given)
        now = self._editions.now()
        others = [(word, other) for word, other in self._editions.others().items() if other is not now]
        if not others:
            raise LibraryError(ONE_SPACE.format(self.path, now.edition.space))
        self.manifest.allow(others[0][1].space.spec)
        answers = [
            Answer(each.edition.space, word, each.answer(asked))
            for word, each in ((EditionRole.CURRENT, now), others[0])
        ]
        return Comparison(*answers)

    def vector(self, query: Words) -> Vectors:
        """Return the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        return self._editions.now().vector(query)

    def classifier(
        self,
        labels: Iterable[str],
        *,
        templates: Templates | None = None,
        none: bool | Iterable[str] = False,
    ) -> Classifier:
        """Make a zero-shot classifier in the library's space.

        `set:NAME` among the labels stands for a built-in list. With `none`, "none of these" is an answer, too, where
        the built-in background, or the labels that are given, fit better. Raises `BadQuery`.
        """
        return Classifier(self.space, labels, templates=templates, none=none)

    def load_classifier(self, path: str | os.PathLike[str]) -> Classifier:
        """Read a classifier that was saved. Raises `SpaceMismatch`, `BadQuery`, `OSError`."""
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
        """Tag every item with labels, or by a classifier, and what is indexed from now on; give the labels.

        Labels compete with the background, unless `none` is False. `search(..., tag="dog>0.8")` asks for tags. Raises
        `BadQuery`, `SpaceMismatch`, `LibraryBusy`.
        """
        if not isinstance(labels, Classifier):
            labels = self.classifier(labels, templates=templates, none=none)
        return self.tags.add(labels, progress=progress)

    # -- what is in it

    def items(self) -> Iterator[Item]:
        """Return every live item with its segments and paths."""
        return (item for item, _ in self.items_with_vectors())

    def items_with_vectors(self) -> Iterator[tuple[Item, Vectors]]:
        """Return every live item with the unit vectors of its segments, as they are when the iteration comes to it."""
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
        """Say what is in the library, what is put aside and why, and what it costs."""
        edition = self._editions.now()
        others = self._editions.others()
        with edition.ledger.read() as snapshot:
            return status_of(snapshot, self.path, self.manifest, edition, others)

    def rebuild_index(self, kind: str = AUTO, *, progress: Callable[[Progress], None] | None = None) -> None:
        """Make the indexes anew, of one kind from now on, or of the kind that suits each if it is `auto`.

        Others may search and write meanwhile. Raises `UnknownIndex`, `IndexUnavailable`, and `LibraryBusy` while
        another process makes them anew.
        """
        if kind != AUTO:
            load_index(kind)
        edition = self._editions.now()
        with edition.ledger.read() as snapshot:
            edition.index_store.rebuild(snapshot, kind=kind)
        self._renew(edition, progress, everything=True)

    @property
    def settings(self) -> Settings:
        """What is wished of the indexes. The next `index` honours what is set."""
        self._editions.now()
        return self.manifest.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        with writing(self.path):
            manifest = read_manifest(self.path)
            if manifest.settings != settings:
                write_manifest(self.path, replace(manifest, settings=settings))

    def doctor(self, *, repair: bool = False, read_files: bool = True) -> list[str]:
        """Prove that ledger, files and indexes agree; give what does not hold, in words. `repair` mends it."""
        from bindsearch.library.doctor import check_edition, check_orphans, check_other_editions

        if repair:
            with writing(self.path):
                return [
                    *check_edition(self._editions.now(), read_files=read_files, repair=True),
                    *check_other_editions(self._editions.others(), repair=True),
                    *check_orphans(self.path, repair=True),
                ]
        told = [
            *check_edition(self._editions.now(), read_files=read_files),
            *check_other_editions(self._editions.others()),
        ]
        if strays(self.path, read_manifest(self.path)):
            with suppress(LibraryError), writing(self.path):  # while there is a writer, it may be removing them itself
                told += check_orphans(self.path)
        return told

    def drift(self) -> Drift:
        """Say how many files changed or went since they were indexed. The next `index` takes care of them."""
        from bindsearch.library.doctor import drift

        with self._editions.now().ledger.read() as snapshot:
            records = list(snapshot.paths())
        return drift(records)

    # -- to another space

    def migrate(
        self,
        space: str | Space | None = None,
        *,
        allow_missing: bool = False,
        progress: Callable[[Progress], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> MigrationReport:
        """Embed everything in another space beside the one that answers, and switch when all is done.

        Without `space`, go on with the migration that is under way. It can be killed anywhere: the next call goes on.
        Unless `allow_missing`, it does not switch while files cannot be read; what is done is kept. The old space is
        kept for `rollback`, until `drop_old` or the next migration. Raises `LibraryBusy`, `LibraryFull`,
        `LibraryError` where there is nothing to do, and what loading the space raises.
        """
        with writing(self.path):
            self._editions.now()
            given = Space.named(space) if isinstance(space, str) else space or self._editions.pending_space()
            self._editions.accept(given)
            migration = Migration(self.path, self._editions.open)
            return migration.run(given, allow_missing=allow_missing, progress=progress, stop=stop)

    def rollback(self) -> str:
        """Go back to the space before the last migration, and keep the other; give its name.

        Files that came or changed since are embedded by the next `index`. Raises `LibraryError` if there is none,
        `LibraryBusy`, and what loading the space raises.
        """
        with writing(self.path):
            self._editions.now()
            if self.manifest.previous is not None:
                self._editions.accept(self._editions.open(self.manifest.previous).space)
            return Migration(self.path, self._editions.open).rollback()

    def drop_old(self) -> int:
        """Remove the space that is kept; give the bytes that were freed. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._editions.open).drop(EditionRole.PREVIOUS)

    def cancel_migration(self) -> int:
        """Remove what a migration has made so far; give the bytes. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._editions.open).drop(EditionRole.PENDING)

    # -- inside

    def _renew(
        self, edition: OpenEdition, progress: Callable[[Progress], None] | None, *, everything: bool = False
    ) -> None:
        """Make the indexes anew that are due, while others search and write, then drop what of the log is done with."""

        def on_progress(building: BuildProgress) -> None:
            if progress is not None:
                progress(Progress(0, None, 0, None, building))

        reached = edition.renew(on_progress, everything=everything)
        with suppress(LibraryBusy), writing(self.path):  # a later writer will do it
            edition.ledger.prune_log(reached)


def open(path: str | os.PathLike[str] | None = None, *, space: str | Space | None = None) -> Library:
    """Open a library, by default the user's own; it is made on first use, with `space` or the built-in one.

    Raises `SpaceMismatch`, `SchemaTooNew`, `CorruptLibrary`.
    """
    return Library.open(path, space=space)
