"""The manifest: read, written, and upgraded from older schemas."""

from __future__ import annotations

import json

import pytest

import bindsearch
from bindsearch.storage.manifest import SCHEMA, Edition, Manifest, read_manifest
from bindsearch.storage.settings import Settings

EDITION = {"space": "toy", "fingerprint": "ab" * 32, "dim": 8, "licence": "MIT"}
SCHEMA_2 = {
    "schema": 2,
    "space": "toy",
    "fingerprint": "cd" * 32,
    "dim": 16,
    "created_by": "bindsearch 0.1",
    "created": "2026-01-01T00:00:00+00:00",
    "edition": 3,
    "editions": 4,
    "kept": EDITION | {"number": 2},
    "coming": EDITION | {"number": 4, "space": "plugin"},
    "commercial": True,
    "wishes": {"memory": 2_000_000, "recall": 0.9, "device": "cpu", "centring": False, "hubness": True},
    "licence": "CC0",
}
"""What `library.json` held before schema 3."""


def test_the_keys_of_schema_2_are_read_under_their_new_names(tmp_path):
    (tmp_path / "library.json").write_text(json.dumps(SCHEMA_2))
    assert read_manifest(tmp_path) == Manifest(
        schema=2,
        space="toy",
        fingerprint="cd" * 32,
        dim=16,
        created_by="bindsearch 0.1",
        created="2026-01-01T00:00:00+00:00",
        edition=3,
        editions=4,
        previous=Edition(2, "toy", "ab" * 32, 8, "MIT"),
        pending=Edition(4, "plugin", "ab" * 32, 8, "MIT"),
        commercial=True,
        settings=Settings(memory=2_000_000, recall=0.9, device="cpu", centring=False, hubness=True),
        licence="CC0",
    )


@pytest.fixture
def migrated(tmp_path):
    """A library of one text, with settings and a previous edition, as schema 2 wrote it."""
    (tmp_path / "a.txt").write_text("red fire")
    path = tmp_path / "my.library"
    with bindsearch.open(path, space="toy") as library:
        library.index(tmp_path / "a.txt")
        library.settings = Settings(recall=0.9, device="cpu")
    values = json.loads((path / "library.json").read_text())
    edition = {name: values[name] for name in ("space", "fingerprint", "dim", "licence")}
    values |= {"schema": 2, "wishes": values.pop("settings"), "editions": 2}
    values |= {"kept": edition | {"number": 2}, "coming": values.pop("pending")}
    del values["previous"]
    (path / "library.json").write_text(json.dumps(values))
    return path


def test_opening_a_library_of_schema_2_upgrades_it_on_disk(migrated):
    with bindsearch.open(migrated) as library:
        assert library.settings == Settings(recall=0.9, device="cpu")
        assert [hit.path.name for hit in library.search("fire")] == ["a.txt"]
    values = json.loads((migrated / "library.json").read_text())
    assert values["schema"] == SCHEMA == 3
    assert values["settings"]["recall"] == 0.9
    assert (values["previous"]["number"], values["pending"]) == (2, None)
    assert not {"wishes", "kept", "coming"} & values.keys()


def test_a_library_of_schema_2_keeps_its_previous_edition(migrated):
    before = read_manifest(migrated)
    with bindsearch.open(migrated):
        pass
    after = read_manifest(migrated)
    assert after.previous == before.previous
    assert after.current == before.current


def test_a_manifest_can_be_written_and_read_back(migrated):
    with bindsearch.open(migrated) as library:
        library.settings = Settings(memory=5_000_000)
    assert read_manifest(migrated).settings == Settings(memory=5_000_000)
