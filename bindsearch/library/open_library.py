"""What happens to a library's card when it is opened: made if there is none, checked, and brought up to date."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bindsearch.core.lock import writing
from bindsearch.errors import LibraryError, LibraryNotFound
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import CARD, SCHEMA, Card, make_folder, read_card, upgrade, write_card

CREATION_SECONDS = 10.0
"""How long to wait for another process that makes the same library."""


def make_ready(folder: Path, space: Space | None, *, create: bool, commercial: bool) -> None:
    """See that a library of today's layout lies in a folder, and that it may have a space, if one is named.

    Raises `LibraryNotFound`, `SpaceMismatch`, `LicenceRefused`, `SchemaTooNew`, `CorruptLibrary`.
    """
    try:
        card = read_card(folder)
    except LibraryNotFound:
        if not create:
            raise
        card = _create(folder, space, commercial=commercial)
    if space is not None:
        card.check(space.spec, folder)
        card = _found_again(folder, card, space)
    if card.schema != SCHEMA:
        with writing(folder):
            card = upgrade(folder, read_card(folder))
    if commercial and not card.commercial:
        with writing(folder):
            card = replace(read_card(folder), commercial=True)
            card.allow((space or Space.named(card.space)).spec)
            write_card(folder, card)


def _create(folder: Path, space: Space | None, *, commercial: bool) -> Card:
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


def _found_again(folder: Path, card: Card, space: Space) -> Card:
    """Note the place of a space whose folder was moved; where that cannot be written, a later opening does so."""
    if card.space != space.spec.name:
        with suppress(LibraryError), writing(folder):
            card = read_card(folder).called(space.spec)
            write_card(folder, card)
    return card
