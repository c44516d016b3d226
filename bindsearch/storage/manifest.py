"""The manifest of a library, `library.json`: its schema, editions and settings; and the folders of its editions."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bindsearch.core.files import write_text_atomically
from bindsearch.core.space_name import SpaceName
from bindsearch.errors import CorruptLibrary, LibraryError, LibraryNotFound, LicenceRefused, SchemaTooNew, SpaceMismatch
from bindsearch.storage.settings import Settings
from bindsearch.types import SpaceSpec

SCHEMA = 3
MANIFEST = "library.json"
MAX_NAME_LETTERS = 60
"""Of a space's name in the name of a folder: a path in it may be longer than the file system allows."""
OLD_KEYS = {"wishes": "settings", "kept": "previous", "coming": "pending"}
"""Keys of the manifest up to schema 2, and their names since."""

Upgrade = Callable[[Path], None]
UPGRADES: Mapping[int, Upgrade] = {1: lambda folder: None, 2: lambda folder: None}
"""Schema -> what brings a library from it to the next one, besides rewriting the manifest.

Must be safe to run again after an interruption. From 1 to 2 nothing changes on disk, but a program that knows only
schema 1 would open the wrong edition of a migrated library. From 2 to 3 only `OLD_KEYS` change.
"""


class EditionRole(StrEnum):
    """What an edition is to its library."""

    CURRENT = "current"
    """Answers searches."""
    PREVIOUS = "previous"
    """Was current before the last migration."""
    PENDING = "pending"
    """Is being built by a migration."""


@dataclass(frozen=True, slots=True)
class Edition:
    """A library's ledger and indexes in one space."""

    number: int
    """Never used twice in a library."""
    space: str
    fingerprint: str
    dim: int
    licence: str = ""
    """The licence of the space's weights, and what it does not allow."""

    @classmethod
    def of(cls, spec: SpaceSpec, number: int) -> Edition:
        """Return the edition of a space."""
        return cls(number, spec.name, spec.fingerprint, spec.dim, licence_terms(spec))

    def ledger(self, folder: Path) -> Path:
        """Return the folder of the ledger in a library."""
        return folder / ("ledger" if self.number == 1 else f"ledger-{self.number}")

    def index(self, folder: Path) -> Path:
        """Return the folder of the indexes in a library."""
        name = _as_folder_name(SpaceName(self.space).stem)
        return folder / "index" / (name if self.number == 1 else f"{self.number}-{name}")

    def is_of(self, spec: SpaceSpec) -> bool:
        """Whether the vectors are of this space, even if the folder in its name was moved."""
        mine, other = SpaceName(self.space).stem, SpaceName(spec.name).stem
        return (mine, self.fingerprint) == (other, spec.fingerprint)

    @property
    def hint_if_moved(self) -> str:
        """What to do if the folder in the name of the space was moved; empty if the name contains none."""
        stem = SpaceName(self.space).stem
        hint = f"; if the folder was moved, run `bindsearch index --space {stem}NEW-FOLDER`"
        return "" if stem == self.space else hint

    def check(self, spec: SpaceSpec, folder: Path) -> None:
        """Raise `SpaceMismatch` unless the vectors are of this space."""
        if not self.is_of(spec):
            raise SpaceMismatch(
                f"{folder} was made with space {self.space} ({self.fingerprint[:12]}), not with {spec.name} "
                f"({spec.fingerprint[:12]}): open it with its own space, index into a new library, or run "
                f"`bindsearch migrate --space {spec.name}`"
            )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of `library.json`."""

    schema: int
    space: str
    fingerprint: str
    dim: int
    created_by: str
    created: str
    edition: int = 1
    """The number of the current edition."""
    editions: int = 1
    """The highest number that an edition ever had."""
    previous: Edition | None = None
    """The edition that was current before the last migration."""
    pending: Edition | None = None
    """The edition that a migration is building."""
    commercial: bool = False
    """Whether only spaces are allowed whose licences permit commercial use."""
    settings: Settings = field(default_factory=Settings)
    licence: str = ""
    """The licence of the space's weights, and what it does not allow."""

    @classmethod
    def new(cls, spec: SpaceSpec) -> Manifest:
        """Return the manifest of a new library."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        created_by = f"bindsearch {version('bindsearch')}"
        return cls(SCHEMA, spec.name, spec.fingerprint, spec.dim, created_by, now, licence=licence_terms(spec))

    @property
    def current(self) -> Edition:
        """The edition that answers searches."""
        return Edition(self.edition, self.space, self.fingerprint, self.dim, self.licence)

    @property
    def others(self) -> dict[EditionRole, Edition]:
        """The editions besides the current one, the pending one first."""
        found = {EditionRole.PENDING: self.pending, EditionRole.PREVIOUS: self.previous}
        return {role: edition for role, edition in found.items() if edition is not None}

    def switched_to(self, edition: Edition) -> Manifest:
        """Return the manifest with another current edition; the one that was current becomes the previous one."""
        return replace(
            self,
            space=edition.space,
            fingerprint=edition.fingerprint,
            dim=edition.dim,
            licence=edition.licence,
            edition=edition.number,
            previous=self.current,
            pending=None if self.pending == edition else self.pending,
        )

    def check(self, spec: SpaceSpec, folder: Path) -> None:
        """Raise `SpaceMismatch` unless the library's vectors are of this space."""
        self.current.check(spec, folder)

    def with_name_of(self, spec: SpaceSpec) -> Manifest:
        """Return the manifest with the present name of its space: the folder in the name may have been moved."""
        return replace(self, space=spec.name) if self.current.is_of(spec) else self

    def allow(self, spec: SpaceSpec) -> None:
        """Raise `LicenceRefused` if the library is for commercial use and the licence of the space forbids it."""
        if self.commercial and not spec.commercial:
            raise LicenceRefused(
                f"space {spec.name} is refused because the library is for commercial use and the licence of its "
                f"weights is {spec.licence}; `bindsearch spaces` lists other spaces"
            )


def licence_terms(spec: SpaceSpec) -> str:
    """Return the licence of a space's weights, and what it does not allow."""
    return spec.licence + ("" if spec.commercial else ", not for commercial use")


def read_manifest(folder: Path) -> Manifest:
    """Read `library.json`. Raises `LibraryNotFound`, `SchemaTooNew`, `CorruptLibrary`."""
    file = folder / MANIFEST
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        schema = int(values["schema"])
        if schema > SCHEMA:
            raise SchemaTooNew(
                f"{folder} has schema {schema}, but this bindsearch knows schemas up to {SCHEMA}: a newer one wrote it "
                f"({values.get('created_by', 'unknown')}); pip install --upgrade bindsearch"
            )
        return _manifest(_with_new_keys(values) if schema < 3 else values)
    except FileNotFoundError as error:
        raise LibraryNotFound(f"there is no library at {folder}; `bindsearch index FOLDER` creates one") from error
    except NotADirectoryError as error:
        raise LibraryError(f"{folder} is a file, but a library is a folder: use another name") from error
    except OSError as error:
        raise LibraryError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptLibrary(f"{file} is damaged ({error}); if the folder is a library, restore this file") from error


def _with_new_keys(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a manifest of schema 1 or 2 under the keys of schema 3."""
    return {OLD_KEYS.get(key, key): value for key, value in values.items()}


def _manifest(values: Mapping[str, Any]) -> Manifest:
    """Return the manifest of these values. Fields that are newer than the file have their defaults."""
    required = {each.name for each in fields(Manifest) if each.default is each.default_factory is MISSING}
    known = {each.name: values[each.name] for each in fields(Manifest) if each.name in values.keys() | required}
    settings = known.pop("settings", None) or {}
    for role in ("previous", "pending"):
        known[role] = Edition(**known[role]) if known.get(role) else None
    return Manifest(**known, settings=Settings(**settings))


def manifest_stamp(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes whenever the manifest is rewritten; None if it cannot be read."""
    try:
        status = (folder / MANIFEST).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def strays(folder: Path, manifest: Manifest) -> list[Path]:
    """Return the ledgers and indexes that belong to no edition: an interrupted removal left them."""
    editions = (manifest.current, *manifest.others.values())
    owned = {edition.ledger(folder) for edition in editions} | {edition.index(folder) for edition in editions}
    found = {*folder.glob("ledger"), *folder.glob("ledger-*"), *folder.glob("dropped-*"), *folder.glob("index/*")}
    return sorted(found - owned)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `library.json` atomically. Raises `LibraryError`."""
    try:
        write_text_atomically(folder / MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")
    except OSError as error:
        raise LibraryError(f"{folder / MANIFEST} cannot be written: {error.strerror}") from error


def upgrade(folder: Path, manifest: Manifest, upgrades: Mapping[int, Upgrade] = UPGRADES) -> Manifest:
    """Upgrade an older library to the present schema, one step at a time. The caller holds the writer lock."""
    while manifest.schema < SCHEMA:
        if manifest.schema not in upgrades:
            raise CorruptLibrary(f"{folder} has schema {manifest.schema}, which cannot be upgraded to {SCHEMA}")
        upgrades[manifest.schema](folder)
        manifest = replace(manifest, schema=manifest.schema + 1)
        write_manifest(folder, manifest)
    return manifest


def make_folder(folder: Path) -> None:
    """Create the folder of a new library. Raises `LibraryError` if the folder holds other files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = set(os.listdir(folder)) - {"ledger", "index", "writer.lock", MANIFEST, MANIFEST + ".new"}
    except OSError as error:
        raise LibraryError(f"a library cannot be created at {folder}: {error.strerror}") from error
    if others:
        raise LibraryError(f"{folder} holds other files ({min(others)}): use another name for the library")


def _as_folder_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name)[:MAX_NAME_LETTERS]
