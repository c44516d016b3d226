"""Prepare a library for opening: create it if it is missing, check its space, upgrade its schema."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bindsearch.core.lock import writing
from bindsearch.errors import LibraryError, LibraryNotFound
from bindsearch.spaces.space import Space
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import MANIFEST, SCHEMA, Manifest, make_folder, read_manifest, upgrade, write_manifest

CREATION_SECONDS = 10.0
"""How long to wait for another process that creates the same library."""


def prepare_library(folder: Path, space: Space | None, *, create: bool, commercial: bool) -> None:
    """Make sure that a folder holds a library of the current schema, in the given space if there is one.

    Raises `LibraryNotFound`, `SpaceMismatch`, `LicenceRefused`, `SchemaTooNew`, `CorruptLibrary`.
    """
    try:
        manifest = read_manifest(folder)
    except LibraryNotFound:
        if not create:
            raise
        manifest = _create(folder, space, commercial=commercial)
    if space is not None:
        manifest.check(space.spec, folder)
        manifest = _with_new_path(folder, manifest, space)
    if manifest.schema != SCHEMA:
        with writing(folder):
            manifest = upgrade(folder, read_manifest(folder))
    if commercial and not manifest.commercial:
        with writing(folder):
            manifest = replace(read_manifest(folder), commercial=True)
            manifest.allow((space or Space.named(manifest.space)).spec)
            write_manifest(folder, manifest)


def _create(folder: Path, space: Space | None, *, commercial: bool) -> Manifest:
    from bindsearch.registry import default_space

    spec = (space or Space.named(default_space())).spec
    manifest = replace(Manifest.new(spec), commercial=commercial)
    manifest.allow(spec)
    make_folder(folder)
    with writing(folder, patience=CREATION_SECONDS):
        if (folder / MANIFEST).exists():  # another process created it meanwhile
            return read_manifest(folder)
        Ledger.open(folder / "ledger", dim=1, create=True).close()
        write_manifest(folder, manifest)
    return manifest


def _with_new_path(folder: Path, manifest: Manifest, space: Space) -> Manifest:
    """Record the new path of a space whose folder was moved; if that fails, a later opening retries."""
    if manifest.space != space.spec.name:
        with suppress(LibraryError), writing(folder):
            manifest = read_manifest(folder).with_name_of(space.spec)
            write_manifest(folder, manifest)
    return manifest
