"""The layout of a library on disk: `library.json`, and how older layouts become today's."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from bindsearch.errors import CorruptLibrary, LibraryError, LibraryNotFound, SchemaTooNew, SpaceMismatch
from bindsearch.gallery import write_whole
from bindsearch.types import SpaceSpec

SCHEMA = 1
CARD = "library.json"

Migration = Callable[[Path], None]
MIGRATIONS: Mapping[int, Migration] = {}
"""Schema -> what brings a library of it to the next one. Must be safe to run again after an interruption."""


@dataclass(frozen=True, slots=True)
class Card:
    """What `library.json` says."""

    schema: int
    space: str
    fingerprint: str
    dim: int
    created_by: str
    created: str

    @classmethod
    def fresh(cls, spec: SpaceSpec) -> Card:
        """Make the card of a new library."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        return cls(SCHEMA, spec.name, spec.fingerprint, spec.dim, f"bindsearch {version('bindsearch')}", now)

    def check(self, spec: SpaceSpec, folder: Path) -> None:
        """Raise `SpaceMismatch` unless the library's vectors are of this space."""
        if (self.space, self.fingerprint) != (spec.name, spec.fingerprint):
            raise SpaceMismatch(
                f"{folder} was made with space {self.space} ({self.fingerprint[:12]}), not with {spec.name} "
                f"({spec.fingerprint[:12]}): open it with the space it was made with, or index into a new library"
            )


def read_card(folder: Path) -> Card:
    """Read `library.json`. Raises `LibraryNotFound`, `SchemaTooNew`, `CorruptLibrary`."""
    file = folder / CARD
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        schema = int(told["schema"])
        if schema > SCHEMA:
            raise SchemaTooNew(
                f"{folder} has schema {schema}, this bindsearch knows {SCHEMA}: a newer one wrote it "
                f"({told.get('created_by', 'unknown')}); pip install --upgrade bindsearch"
            )
        return Card(**{name: told[name] for name in Card.__dataclass_fields__})
    except FileNotFoundError as error:
        raise LibraryNotFound(f"there is no library at {folder}; `bindsearch index FOLDER` makes one") from error
    except OSError as error:
        raise LibraryError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptLibrary(f"{file} is damaged ({error}); if the folder is a library, restore this file") from error


def write_card(folder: Path, card: Card) -> None:
    """Write `library.json`, whole or not at all. Raises `LibraryError`."""
    try:
        write_whole(folder / CARD, json.dumps(asdict(card), indent=1) + "\n")
    except OSError as error:
        raise LibraryError(f"{folder / CARD} cannot be written: {error.strerror}") from error


def upgrade(folder: Path, card: Card, migrations: Mapping[int, Migration] = MIGRATIONS) -> Card:
    """Bring an older library to today's layout, one schema at a time. The caller holds the writing lock."""
    while card.schema < SCHEMA:
        if card.schema not in migrations:
            raise CorruptLibrary(f"{folder} has schema {card.schema}, from which no way leads to {SCHEMA}")
        migrations[card.schema](folder)
        card = Card(**{**asdict(card), "schema": card.schema + 1})
        write_card(folder, card)
    return card


def make_folder(folder: Path) -> None:
    """Make the folder of a new library. Raises `LibraryError` where something else lies in its place."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strangers = set(os.listdir(folder)) - {"ledger", "index", "writer.lock", CARD, CARD + ".new"}
    except OSError as error:
        raise LibraryError(f"a library cannot be made at {folder}: {error.strerror}") from error
    if strangers:
        raise LibraryError(f"{folder} holds other files ({min(strangers)}): give a new name for the library")
