"""The layout of a library on disk: `library.json`, and how older layouts become today's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bindsearch.core.files import write_text_atomically
from bindsearch.core.space_name import SpaceName
from bindsearch.errors import CorruptLibrary, LibraryError, LibraryNotFound, LicenceRefused, SchemaTooNew, SpaceMismatch
from bindsearch.storage.settings import Settings
from bindsearch.types import SpaceSpec

SCHEMA = 2
MANIFEST = "library.json"
LONGEST_NAME = 60
"""Letters of a space's name in the name of its folder: a path in it may be longer than a folder's name may be."""

Migration = Callable[[Path], None]
MIGRATIONS: Mapping[int, Migration] = {1: lambda folder: None}
"""Schema -> what brings a library of it to the next one. Must be safe to run again after an interruption.

From 1 to 2 nothing changes on disk; but who knows only 1 would open the wrong edition of a library that was migrated.
"""


@dataclass(frozen=True, slots=True)
class Edition:
    """A library's ledger and indexes in one space. A library may have several beside each other, and shows one."""

    number: int
    """No number is used twice in a library."""
    space: str
    fingerprint: str
    dim: int
    licence: str = ""
    """Of the space's weights, and what it does not allow."""

    @classmethod
    def of(cls, spec: SpaceSpec, number: int) -> Edition:
        """Return the edition of a space."""
        return cls(number, spec.name, spec.fingerprint, spec.dim, terms_of(spec))

    def ledger(self, folder: Path) -> Path:
        """Return where in a library the ledger lies."""
        return folder / ("ledger" if self.number == 1 else f"ledger-{self.number}")

    def index(self, folder: Path) -> Path:
        """Return where in a library the indexes lie."""
        name = _safe(SpaceName(self.space).stem)
        return folder / "index" / (name if self.number == 1 else f"{self.number}-{name}")

    def is_of(self, spec: SpaceSpec) -> bool:
        """Whether the vectors are of this space, wherever the folder lies that its name may hold."""
        mine, other = SpaceName(self.space).stem, SpaceName(spec.name).stem
        return (mine, self.fingerprint) == (other, spec.fingerprint)

    @property
    def if_moved(self) -> str:
        """What to do if the folder in the name of the space was moved; nothing where there is none in it."""
        bare = SpaceName(self.space).stem
        told = f"; if it was moved, `bindsearch index --space {bare}ITS-NEW-PLACE` says so"
        return "" if bare == self.space else told

    def check(self, spec: SpaceSpec, folder: Path) -> None:
        """Raise `SpaceMismatch`, which names both, unless the vectors are of this space."""
        if not self.is_of(spec):
            raise SpaceMismatch(
                f"{folder} was made with space {self.space} ({self.fingerprint[:12]}), not with {spec.name} "
                f"({spec.fingerprint[:12]}): open it with the space it was made with, index into a new library, or "
                f"`bindsearch migrate --space {spec.name}`"
            )


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `library.json` says."""

    schema: int
    space: str
    fingerprint: str
    dim: int
    created_by: str
    created: str
    edition: int = 1
    """The number of the edition that answers."""
    editions: int = 1
    """The highest number that an edition ever had."""
    kept: Edition | None = None
    """The edition that answered before the last migration."""
    coming: Edition | None = None
    """The edition that a migration is making."""
    commercial: bool = False
    """Whether only spaces are let in whose licences allow commercial use."""
    settings: Settings = field(default_factory=Settings)
    """What its owner wishes of the indexes."""
    licence: str = ""
    """Of the space's weights, and what it does not allow."""

    @classmethod
    def fresh(cls, spec: SpaceSpec) -> Manifest:
        """Make the card of a new library."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        made_by = f"bindsearch {version('bindsearch')}"
        return cls(SCHEMA, spec.name, spec.fingerprint, spec.dim, made_by, now, licence=terms_of(spec))

    @property
    def current(self) -> Edition:
        """The edition that answers."""
        return Edition(self.edition, self.space, self.fingerprint, self.dim, self.licence)

    @property
    def beside(self) -> dict[str, Edition]:
        """The other editions, by what they are: `coming`, `kept`."""
        return {word: edition for word in ("coming", "kept") if (edition := getattr(self, word)) is not None}

    def showing(self, edition: Edition) -> Manifest:
        """Return the card with another edition that answers; the one that did is kept."""
        return replace(
            self,
            space=edition.space,
            fingerprint=edition.fingerprint,
            dim=edition.dim,
            licence=edition.licence,
            edition=edition.number,
            kept=self.current,
            coming=None if self.coming == edition else self.coming,
        )

    def check(self, spec: SpaceSpec, folder: Path) -> None:
        """Raise `SpaceMismatch` unless the library's vectors are of this space."""
        self.current.check(spec, folder)

    def called(self, spec: SpaceSpec) -> Manifest:
        """Return the card with the name that its space has now: the folder in it may have been moved."""
        return replace(self, space=spec.name) if self.current.is_of(spec) else self

    def allow(self, spec: SpaceSpec) -> None:
        """Raise `LicenceRefused` for a space that must not be used commercially, where the library is to be."""
        if self.commercial and not spec.commercial:
            raise LicenceRefused(
                f"space {spec.name} is refused, as the library is for commercial use: the licence of its weights is "
                f"{spec.licence}; `bindsearch spaces` tells of others"
            )


def terms_of(spec: SpaceSpec) -> str:
    """Say under which licence a space's weights are, and what it does not allow."""
    return spec.licence + ("" if spec.commercial else ", not for commercial use")


def read_manifest(folder: Path) -> Manifest:
    """Read `library.json`. Raises `LibraryNotFound`, `SchemaTooNew`, `CorruptLibrary`."""
    file = folder / MANIFEST
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        schema = int(told["schema"])
        if schema > SCHEMA:
            raise SchemaTooNew(
                f"{folder} has schema {schema}, this bindsearch knows {SCHEMA}: a newer one wrote it "
                f"({told.get('created_by', 'unknown')}); pip install --upgrade bindsearch"
            )
        return _manifest(told)
    except FileNotFoundError as error:
        raise LibraryNotFound(f"there is no library at {folder}; `bindsearch index FOLDER` makes one") from error
    except NotADirectoryError as error:
        raise LibraryError(f"{folder} is a file, and a library is a folder: name another") from error
    except OSError as error:
        raise LibraryError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptLibrary(f"{file} is damaged ({error}); if the folder is a library, restore this file") from error


def _manifest(told: Mapping[str, Any]) -> Manifest:
    """Make a card of what the file says; what came into it later has its default."""
    needed = {each.name for each in fields(Manifest) if each.default is each.default_factory is MISSING}
    known = {each.name: told[each.name] for each in fields(Manifest) if each.name in told.keys() | needed}
    settings = known.pop("settings", None) or {}
    for word in ("kept", "coming"):
        known[word] = Edition(**known[word]) if known.get(word) else None
    return Manifest(**known, settings=Settings(**settings))


def manifest_stamp(folder: Path) -> tuple[int, int, int] | None:
    """Return what tells whether the card was written anew; None where it cannot be looked at."""
    try:
        status = (folder / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def strays(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the ledgers and indexes that no edition owns: what an interrupted removal left."""
    owned = {edition.ledger(folder) for edition in (manifest.current, *manifest.beside.values())}
    owned |= {edition.index(folder) for edition in (manifest.current, *manifest.beside.values())}
    found = {*folder.glob("ledger"), *folder.glob("ledger-*"), *folder.glob("dropped-*"), *folder.glob("index/*")}
    return sorted(found - owned)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `library.json`, whole or not at all. Raises `LibraryError`."""
    try:
        write_text_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    except OSError as error:
        raise LibraryError(f"{folder / MANIFEST} cannot be written: {error.strerror}") from error


def upgrade(folder: Path, manifest: Manifest, migrations: Mapping[int, Migration] = MIGRATIONS) -> Manifest:
    """Bring an older library to today's layout, one schema at a time. The caller holds the writing lock."""
    while manifest.schema < SCHEMA:
        if manifest.schema not in migrations:
            raise CorruptLibrary(f"{folder} has schema {manifest.schema}, from which no way leads to {SCHEMA}")
        migrations[manifest.schema](folder)
        manifest = replace(manifest, schema=manifest.schema + 1)
        write_manifest(folder, manifest)
    return manifest


def make_folder(folder: Path) -> None:
    """Make the folder of a new library. Raises `LibraryError` where something else lies in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = set(os.listdir(folder)) - {"ledger", "index", "writer.lock", MANIFEST, MANIFEST + ".new"}
    except OSError as error:
        raise LibraryError(f"a library cannot be made at {folder}: {error.strerror}") from error
    if strangers:
        raise LibraryError(f"{folder} holds other files ({min(strangers)}): give a new name for the library")


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:LONGEST_NAME]
