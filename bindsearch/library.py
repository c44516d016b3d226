"""The library: one collection, indexed and searched. The facade over ledger, ingest, indexes and search."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeAlias, Unpack

from bindsearch.comparison import Answer, Comparison
from bindsearch.concepts import Concepts
from bindsearch.edition import OpenEdition
from bindsearch.errors import BadQuery, LibraryBusy, LibraryError, LibraryNotFound, UnreadableMedia
from bindsearch.explanation import WhyNot
from bindsearch.filters import Filters, FilterWords, make_filters
from bindsearch.gallery import AUTO, Gallery
from bindsearch.identity import digest_of, is_gone
from bindsearch.ledger import Ledger
from bindsearch.lock import writing
from bindsearch.migration import Migration, MigrationReport
from bindsearch.places import absolute, default_library, topmost
from bindsearch.query import file
from bindsearch.question import Question, Words
from bindsearch.registry import load_index
from bindsearch.report import Building, Progress, Report
from bindsearch.schema import (
    CARD,
    SCHEMA,
    Card,
    Edition,
    make_folder,
    read_card,
    stamp_of_card,
    strays,
    upgrade,
    write_card,
)
from bindsearch.spaces import Space
from bindsearch.status import Status, status_of
from bindsearch.tags import Tags, follow
from bindsearch.types import Hit, Hits, Item, Vectors
from bindsearch.wishes import Wishes
from bindsearch.zeroshot import Classifier

if TYPE_CHECKING:
    from PIL.Image import Image

    from bindsearch.zeroshot.prompts import Templates

ROOT_IS_GONE = (
    "is not there any more: its files stay in the library in case it comes back; if it was moved, index its new "
    "place, and if it is gone for good, `bindsearch forget` it"
)

ONE_SPACE = (
    "{} has space {} only: `bindsearch migrate --space NAME` makes another beside it, and keeps the old one to compare"
)

CREATION_SECONDS = 10.0
"""How long to wait for another process that makes the same library."""

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
        self._closed = False
        self._asked_for = [] if space is None else [space]
        """The spaces that it may have, if somebody named one."""
        self._spaces = {} if space is None else {(space.spec.name, space.spec.fingerprint): space}
        self._editions: dict[int, OpenEdition] = {}
        """All that were opened; one that another replaced stays open, because threads may be reading it."""
        self._following = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._edition = self._follow()

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
        try:
            card = read_card(folder)
        except LibraryNotFound:
            if not create:
                raise
            card = cls._create(folder, given, commercial=commercial)
        if given is not None:
            card.check(given.spec, folder)
            card = cls._found_again(folder, card, given)
        if card.schema != SCHEMA:
            with writing(folder):
                card = upgrade(folder, read_card(folder))
        if commercial and not card.commercial:
            with writing(folder):
                card = replace(read_card(folder), commercial=True)
                card.allow((given or Space.named(card.space)).spec)
                write_card(folder, card)
        return cls(folder, card, given)

    @classmethod
    def _create(cls, folder: Path, space: Space | None, *, commercial: bool) -> Card:
        from bindsearch.registry import default_space

        spec = (space or Space.named(default_space())).spec
        card = replace(Card.fresh(spec), commercial=commercial)
        card.allow(spec)
        make_folder(folder)
        with writing(folder, patience=CREATION_SECONDS):
            if (folder / CARD).exists():  # another process was faster
                return read_card(folder)
            Ledger.open(folder / "ledger", dim=1, create=True).close()
            write_card(folder, card)
        return card

    @classmethod
    def _found_again(cls, folder: Path, card: Card, space: Space) -> Card:
        """Note the place of a space whose folder was moved; where that cannot be written, a later opening does so."""
        if card.space != space.spec.name:
            with suppress(LibraryError), writing(folder):
                card = read_card(folder).called(space.spec)
                write_card(folder, card)
        return card

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if they are not those of the vectors."""
        return self._now().space

    def close(self) -> None:
        """Let go of the files. A closed library cannot be used again; closing it again does nothing."""
        with self._following:
            if not self._closed:
                self._closed = True
                for edition in list(self._editions.values()):
                    edition.close()

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
        every file. When all is committed, indexes that are due are made anew, during which others may search and
        write. Raises `LibraryBusy` while another process writes, `LibraryFull`, `BadQuery` for a path where nothing is.
        """
        with ExitStack() as afterwards:
            return self._index(paths, afterwards, metadata=metadata, retry=retry, progress=progress, stop=stop)

    def _index(
        self,
        paths: Places | None,
        afterwards: ExitStack,
        *,
        metadata: Mapping[str, str] | None,
        retry: bool,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[], bool] | None,
    ) -> Report:
        from bindsearch.ingest import Ingest

        with writing(self.path):
            roots = self._roots(paths)
            missing = {root: ROOT_IS_GONE for root in roots if is_gone(root) and self._knows(root)}
            roots = [root for root in roots if not is_gone(root)]
            noted = None if metadata is None else {str(key): str(value) for key, value in metadata.items()}
            ingest = Ingest(self._ledger, self.space, metadata=noted, retry=retry, progress=progress, stop=stop)
            self._remember(roots)  # before the run, which may be killed
            afterwards.callback(self._renew, self._now(), progress)  # also if the run fails: what is committed stays
            report = ingest.run(roots)
            if not report.stopped:
                follow(self._now(), progress=progress)
            report.troubled.update(missing)
            return report

    def forget(self, paths: Places) -> int:
        """Remove files, or all files below folders, and their vectors; give the number of paths that are forgotten.

        The files themselves stay where they are.
        """
        with writing(self.path):
            tops = dict.fromkeys(absolute(_listed(paths)))
            for edition in self._beside().values():
                _forget(edition, tops)
            return _forget(self._now(), tops)

    def forget_gone(self) -> int:
        """Remove the vectors that are kept for files that are gone; give the number of items."""
        with writing(self.path):
            for edition in self._beside().values():
                _forget_gone(edition)
            return _forget_gone(self._now())

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
        filters = make_filters(**given)
        asked = Question.of(query, also=also, excluding=excluding, more_like=more_like, less_like=less_like)
        return self._now().answer(asked, k=_checked(k), filters=filters, raw=raw, why=why)

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
        filters = make_filters(**given)
        asked = Question.of(query, also=also, excluding=excluding, more_like=more_like, less_like=less_like)
        place = absolute([path])[0]
        return self._now().account(place, asked, k=_checked(k), filters=filters, raw=raw, most=max_expect)

    def picture(self, hit: Hit) -> Image:
        """Draw why a hit of a search with `why` is one: the place in a picture, the seconds of a sound, the frame.

        Raises `BadQuery` for a hit of another search, `MediaError` where its file is gone, has changed, or is a text.
        """
        return self._now().draw(hit)

    @property
    def concepts(self) -> Concepts:
        """The saved concepts, by name; `concepts.add` and `concepts.remove` change them."""
        return Concepts(self.path, self._now)

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
        edition, others = self._now(), replace(filters, without=frozenset({own}))
        return _find(edition, query, k=k, filters=others, raw=raw)

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
        filters = make_filters(**given)
        now = self._now()
        others = [(word, other) for word, other in self._beside().items() if other is not now]
        if not others:
            raise LibraryError(ONE_SPACE.format(self.path, now.edition.space))
        self.card.allow(others[0][1].space.spec)
        answers = [
            Answer(each.edition.space, word, _find(each, query, k=k, filters=filters, raw=raw))
            for word, each in (("current", now), others[0])
        ]
        return Comparison(*answers)

    def vector(self, query: Words) -> Vectors:
        """Give the unit vector of a query. Raises `QueryError`, `MediaError`. *Shape:* (dim,)"""
        return self._now().vector(query)

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
        return Classifier.load(path, self.space)

    @property
    def tags(self) -> Tags:
        """The tags of items, by label; `tag` makes them, and `tags.remove` removes them."""
        return Tags(self.path, self._now)

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
        """Give every live item with its segments and paths."""
        return (item for item, _ in self.items_with_vectors())

    def items_with_vectors(self) -> Iterator[tuple[Item, Vectors]]:
        """Give every live item with the unit vectors of its segments, as they are when the iteration comes to it."""
        edition = self._now()
        with edition.ledger.read() as view:
            ids = [item for item, _ in view.live_items()]
        for item in ids:
            with edition.ledger.read() as view:
                found = view.item(item)
                if found is None or not found.paths:
                    continue
                rows = edition.rows(view, item)
            yield found, rows

    def vectors(self, item: Item) -> Vectors:
        """Give the unit vectors of an item's segments. *Shape:* (len(item.segments), dim)"""
        edition = self._now()
        with edition.ledger.read() as view:
            return edition.rows(view, item.id)

    def status(self) -> Status:
        """Say what is in the library, what is put aside and why, and what it costs."""
        edition = self._now()
        beside = self._beside()
        with edition.ledger.read() as view:
            return status_of(view, self.path, self.card, edition, beside)

    def rebuild_index(self, kind: str = AUTO, *, progress: Callable[[Progress], None] | None = None) -> None:
        """Make the indexes anew, of one kind from now on, or of the kind that suits each if it is `auto`.

        Others may search and write meanwhile. Raises `UnknownIndex`, `IndexUnavailable`, and `LibraryBusy` while
        another process makes them anew.
        """
        if kind != AUTO:
            load_index(kind)
        edition = self._now()
        with edition.ledger.read() as view:
            edition.gallery.rebuild(view, kind=kind)
        self._renew(edition, progress, everything=True)

    @property
    def wishes(self) -> Wishes:
        """What is wished of the indexes. The next `index` honours what is set."""
        self._now()
        return self.card.wishes

    @wishes.setter
    def wishes(self, wishes: Wishes) -> None:
        with writing(self.path):
            card = read_card(self.path)
            if card.wishes != wishes:
                write_card(self.path, replace(card, wishes=wishes))

    def doctor(self, *, repair: bool = False, read_files: bool = True) -> list[str]:
        """Prove that ledger, files and indexes agree; give what does not hold, in words. `repair` mends it."""
        from bindsearch.doctor import examine_beside, examine_strays, examined

        if repair:
            with writing(self.path):
                return [
                    *examined(self._now(), read_files=read_files, repair=True),
                    *examine_beside(self._beside(), repair=True),
                    *examine_strays(self.path, repair=True),
                ]
        told = [*examined(self._now(), read_files=read_files), *examine_beside(self._beside())]
        if strays(self.path, read_card(self.path)):
            with suppress(LibraryError), writing(self.path):  # while there is a writer, it may be removing them itself
                told += examine_strays(self.path)
        return told

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
            self._now()
            given = self._coming_space() if space is None else Space.named(space) if isinstance(space, str) else space
            self._accept(given)
            migration = Migration(self.path, self._open_edition)
            return migration.run(given, allow_missing=allow_missing, progress=progress, stop=stop)

    def rollback(self) -> str:
        """Go back to the space before the last migration, and keep the other; give its name.

        Files that came or changed since are embedded by the next `index`. Raises `LibraryError` if none is kept,
        `LibraryBusy`, and what loading the space raises.
        """
        with writing(self.path):
            self._now()
            if self.card.kept is not None:
                self._accept(self._open_edition(self.card.kept).space)
            return Migration(self.path, self._open_edition).rollback()

    def drop_old(self) -> int:
        """Remove the space that is kept; give the bytes that were freed. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._open_edition).drop("kept")

    def cancel_migration(self) -> int:
        """Remove what a migration has made so far; give the bytes. Raises `LibraryError`, `LibraryBusy`."""
        with writing(self.path):
            return Migration(self.path, self._open_edition).drop("coming")

    # -- inside

    @property
    def _ledger(self) -> Ledger:
        return self._now().ledger

    @property
    def _gallery(self) -> Gallery:
        return self._now().gallery

    def _now(self) -> OpenEdition:
        """Give the edition that answers. Whoever needs two things of it takes hold of it once."""
        if self._closed or stamp_of_card(self.path) in (None, self._stamp):
            return self._edition
        with self._following:
            return self._edition if self._closed else self._follow()

    def _follow(self) -> OpenEdition:
        """Read the card, which another process may have written, and open what it names.

        Raises `SpaceMismatch` if the library was opened with a space that it has no more.
        """
        while True:
            stamp = stamp_of_card(self.path)
            card = read_card(self.path)
            if self._asked_for and not any(card.current.is_of(space.spec) for space in self._asked_for):
                card.check(self._asked_for[-1].spec, self.path)
            try:
                edition = self._open_edition(card.current)
            except LibraryError:
                if stamp_of_card(self.path) == stamp:
                    raise
                continue  # it was replaced and removed in this very moment
            self.card, self._stamp, self._edition = card, stamp, edition
            return edition

    def _open_edition(self, edition: Edition, *, create: bool = False) -> OpenEdition:
        """Open an edition, or give it if it is open. Raises `LibraryError`."""
        opened = self._editions.get(edition.number)
        if opened is None:
            space = next((each for each in self._spaces.values() if edition.is_of(each.spec)), None)
            fresh = OpenEdition(self.path, edition, space, create=create)
            opened = self._editions.setdefault(edition.number, fresh)
            if opened is not fresh:
                fresh.close()
        return opened

    def _beside(self) -> dict[str, OpenEdition]:
        """Give the editions beside the one that answers; one that is being made or removed is left out."""
        self._now()
        found = {}
        for word, edition in self.card.beside.items():
            with suppress(LibraryError):
                found[word] = self._open_edition(edition)
        return found

    def _accept(self, space: Space) -> None:
        """Take a space as one that the library may have from now on."""
        self._spaces[space.spec.name, space.spec.fingerprint] = space
        if self._asked_for:
            self._asked_for.append(space)

    def _coming_space(self) -> Space:
        coming = self.card.coming
        if coming is None:
            raise BadQuery("no migration is under way: say to which space, as in `bindsearch migrate --space NAME`")
        known = next((each for each in self._spaces.values() if coming.is_of(each.spec)), None)
        return known or Space.named(coming.space)

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

    def _renew(
        self, edition: OpenEdition, progress: Callable[[Progress], None] | None, *, everything: bool = False
    ) -> None:
        """Make the indexes anew that are due, while others search and write, then drop what of the log is done with."""

        def tell(building: Building) -> None:
            if progress is not None:
                progress(Progress(0, None, 0, None, building))

        reached = edition.renew(tell, everything=everything)
        with suppress(LibraryBusy), writing(self.path):  # a later writer will do it
            edition.ledger.prune_log(reached)


def open(path: str | os.PathLike[str] | None = None, *, space: str | Space | None = None) -> Library:
    """Open a library, by default the user's own; it is made on first use, with `space` or the built-in one.

    Raises `SpaceMismatch`, `SchemaTooNew`, `CorruptLibrary`.
    """
    return Library.open(path, space=space)


def existing(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Give the absolute paths of files and folders. Raises `BadQuery` for one where nothing is, or something else."""
    tops = topmost(absolute(paths))
    for top in tops:
        if is_gone(top):
            raise BadQuery(f"there is no file or folder {top}")
        if os.path.exists(top) and not (os.path.isfile(top) or os.path.isdir(top)):
            raise BadQuery(f"{top} is neither a file nor a folder")
    return tops


def _forget(edition: OpenEdition, tops: Mapping[Path, None]) -> int:
    with edition.ledger.read() as view:
        records = [record for top in tops for record in view.paths(top)]
        roots = [root for root in view.roots() if not any(top in tops for top in (root, *root.parents))]
    edition.ledger.write_each("forget", records)
    edition.ledger.write(lambda change: change.set_roots(roots))
    edition.save()
    return len(records)


def _forget_gone(edition: OpenEdition) -> int:
    with edition.ledger.read() as view:
        live = {item for item, _ in view.live_items()}
        dormant = [item for item, _ in view.items() if item not in live]
    edition.ledger.write_each("drop_item", dormant)
    edition.save()
    return len(dormant)


def _listed(paths: Places) -> list[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def _find(edition: OpenEdition, query: Words, *, k: int, filters: Filters, raw: bool) -> Hits:
    return edition.find(query, k=_checked(k), filters=filters, raw=raw)


def _checked(k: int) -> int:
    if not isinstance(k, int) or k < 1:
        raise BadQuery(f"{k} results were asked for; ask for a whole number from 1 on")
    return k
