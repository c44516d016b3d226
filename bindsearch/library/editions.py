"""The open editions of one library: the current one and the others."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from bindsearch.errors import BadQuery, LibraryError
from bindsearch.library.edition import OpenEdition
from bindsearch.spaces.space import Space
from bindsearch.storage.manifest import Edition, EditionRole, Manifest, manifest_stamp, read_manifest


class Editions:
    """Follows the manifest, which another process may replace, and opens the editions that it names."""

    manifest: Manifest
    """The manifest as it was last read."""

    def __init__(self, folder: Path, space: Space | None) -> None:
        """Open the current edition. Raises `LibraryError`, `SpaceMismatch` if it is not of the space."""
        self._folder = folder
        self._closed = False
        self._accepted = [] if space is None else [space]
        """The spaces that the library may have, if the caller named one."""
        self._spaces = {} if space is None else {(space.spec.name, space.spec.fingerprint): space}
        self._opened: dict[int, OpenEdition] = {}
        """All opened editions; one that was replaced stays open, because threads may be reading it."""
        self._following = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._edition = self._follow()

    def now(self) -> OpenEdition:
        """Return the current edition. An operation calls this once, so that it never mixes two editions."""
        if self._closed or manifest_stamp(self._folder) in (None, self._stamp):
            return self._edition
        with self._following:
            return self._edition if self._closed else self._follow()

    def others(self) -> dict[EditionRole, OpenEdition]:
        """Return the previous and the pending edition; one that is being created or removed is left out."""
        self.now()
        found: dict[EditionRole, OpenEdition] = {}
        for role, edition in self.manifest.others.items():
            with suppress(LibraryError):
                found[role] = self.open(edition)
        return found

    def open(self, edition: Edition, *, create: bool = False) -> OpenEdition:
        """Open an edition, or return it if it is open. Raises `LibraryError`."""
        opened = self._opened.get(edition.number)
        if opened is None:
            fresh = OpenEdition(self._folder, edition, self._space_of(edition), create=create)
            opened = self._opened.setdefault(edition.number, fresh)
            if opened is not fresh:
                fresh.close()
        return opened

    def accept(self, space: Space) -> None:
        """Let the library have a space from now on."""
        self._spaces[space.spec.name, space.spec.fingerprint] = space
        if self._accepted:
            self._accepted.append(space)

    def pending_space(self) -> Space:
        """Return the space of the migration under way. Raises `BadQuery` if there is none."""
        pending = self.manifest.pending
        if pending is None:
            raise BadQuery("no migration is under way: name a space, as in `bindsearch migrate --space NAME`")
        return self._space_of(pending) or Space.named(pending.space)

    def close(self) -> None:
        """Close all files; closing again does nothing."""
        with self._following:
            if not self._closed:
                self._closed = True
                for edition in list(self._opened.values()):
                    edition.close()

    def _follow(self) -> OpenEdition:
        """Read the manifest and open the current edition.

        Raises `SpaceMismatch` if the library was opened with a space that it no longer has.
        """
        while True:
            stamp = manifest_stamp(self._folder)
            manifest = read_manifest(self._folder)
            if self._accepted and not any(manifest.current.is_of(space.spec) for space in self._accepted):
                manifest.check(self._accepted[-1].spec, self._folder)
            try:
                edition = self.open(manifest.current)
            except LibraryError:
                if manifest_stamp(self._folder) == stamp:
                    raise
                continue  # it was replaced and removed at this moment
            self.manifest, self._stamp, self._edition = manifest, stamp, edition
            return edition

    def _space_of(self, edition: Edition) -> Space | None:
        """Return the encoders of an edition, if they are loaded already."""
        return next((space for space in self._spaces.values() if edition.is_of(space.spec)), None)
