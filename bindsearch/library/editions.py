"""The editions of one library that are open: the one that answers now, and those beside it."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from bindsearch.errors import BadQuery, LibraryError
from bindsearch.library.edition import OpenEdition
from bindsearch.spaces.space import Space
from bindsearch.storage.manifest import Edition, EditionRole, Manifest, manifest_stamp, read_manifest


class Editions:
    """Follows the card, which another process may write, and opens what it names."""

    manifest: Manifest
    """What the card said when it was last read."""

    def __init__(self, folder: Path, space: Space | None) -> None:
        """Open the edition that answers. Raises `LibraryError`, `SpaceMismatch` if it is not of the space."""
        self._folder = folder
        self._closed = False
        self._asked_for = [] if space is None else [space]
        """The spaces that the library may have, if somebody named one."""
        self._spaces = {} if space is None else {(space.spec.name, space.spec.fingerprint): space}
        self._opened: dict[int, OpenEdition] = {}
        """All that were opened; one that another replaced stays open, because threads may be reading it."""
        self._following = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._edition = self._follow()

    def now(self) -> OpenEdition:
        """Return the edition that answers. Whoever needs two things of it takes hold of it once."""
        if self._closed or manifest_stamp(self._folder) in (None, self._stamp):
            return self._edition
        with self._following:
            return self._edition if self._closed else self._follow()

    def others(self) -> dict[EditionRole, OpenEdition]:
        """Return the editions beside the one that answers; one that is being made or removed is left out."""
        self.now()
        found: dict[EditionRole, OpenEdition] = {}
        for word, edition in self.manifest.others.items():
            with suppress(LibraryError):
                found[word] = self.open(edition)
        return found

    def open(self, edition: Edition, *, create: bool = False) -> OpenEdition:
        """Open an edition, or give it if it is open. Raises `LibraryError`."""
        opened = self._opened.get(edition.number)
        if opened is None:
            fresh = OpenEdition(self._folder, edition, self._space_of(edition), create=create)
            opened = self._opened.setdefault(edition.number, fresh)
            if opened is not fresh:
                fresh.close()
        return opened

    def accept(self, space: Space) -> None:
        """Take a space as one that the library may have from now on."""
        self._spaces[space.spec.name, space.spec.fingerprint] = space
        if self._asked_for:
            self._asked_for.append(space)

    def pending_space(self) -> Space:
        """Return the space that a migration is on its way to. Raises `BadQuery` where none is under way."""
        pending = self.manifest.pending
        if pending is None:
            raise BadQuery("no migration is under way: say to which space, as in `bindsearch migrate --space NAME`")
        return self._space_of(pending) or Space.named(pending.space)

    def close(self) -> None:
        """Let go of the files; closing again does nothing."""
        with self._following:
            if not self._closed:
                self._closed = True
                for edition in list(self._opened.values()):
                    edition.close()

    def _follow(self) -> OpenEdition:
        """Read the card and open what it names.

        Raises `SpaceMismatch` if the library was opened with a space that it has no more.
        """
        while True:
            stamp = manifest_stamp(self._folder)
            manifest = read_manifest(self._folder)
            if self._asked_for and not any(manifest.current.is_of(space.spec) for space in self._asked_for):
                manifest.check(self._asked_for[-1].spec, self._folder)
            try:
                edition = self.open(manifest.current)
            except LibraryError:
                if manifest_stamp(self._folder) == stamp:
                    raise
                continue  # it was replaced and removed in this very moment
            self.manifest, self._stamp, self._edition = manifest, stamp, edition
            return edition

    def _space_of(self, edition: Edition) -> Space | None:
        """Return the encoders of an edition, if they are here already."""
        return next((space for space in self._spaces.values() if edition.is_of(space.spec)), None)
