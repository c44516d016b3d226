"""Saved versions of an index: each generation is a folder that a rename makes visible as a whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from bindsearch.core.files import file_size, sync_folder, write_text_atomically
from bindsearch.types import Modality

AUTO = "auto"
"""In place of a kind of index: choose whichever suits the library."""
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class GenerationManifest:
    """What a generation says of itself in `manifest.json`."""

    kind: str
    dim: int
    count: int
    """Segments in the generation."""
    position: int
    """The position of the log that it has caught up to."""
    pinned: str = AUTO
    """The kind that somebody requested, or `auto`."""
    why: str | None = None
    """Why it is of this kind."""
    built: str | None = None
    """When it was built."""
    build_s: float | None = None
    """Seconds that building and measuring took."""
    certificate: dict[str, Any] | None = None
    """Its measured recall; None for an index that cannot miss anything."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> GenerationManifest:
        """Read what was written, also by earlier versions. Raises `KeyError` if a required value is missing."""
        required = {name: values[name] for name in ("kind", "dim", "count", "position")}
        known = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        return cls(**{"pinned": str(values.get("forced", AUTO)), **known, **required})


@dataclass(frozen=True)
class Generation:
    """An index on disk, as `status` shows it."""

    kind: str
    segments: int
    bytes: int
    bytes_per_segment: float
    why: str | None
    """Why it is of this kind."""
    built: str | None
    """When it was built."""
    build_s: float | None
    """Seconds that building and measuring took."""
    certificate: dict[str, Any] | None
    """Its measured recall; None for an index that cannot miss anything."""


class GenerationStore:
    """The generations of one modality's index; the newest one counts."""

    def __init__(self, folder: Path, modality: Modality) -> None:
        self._folder = folder / modality

    def folders(self) -> list[Path]:
        """Return the complete generations, oldest first."""
        return sorted(path for path in self._folder.glob("gen-*") if path.suffix != ".new")

    def newest(self) -> GenerationManifest | None:
        """Return the manifest of the newest generation; None if there is none, or it cannot be read."""
        folders = self.folders()
        return read_generation_manifest(folders[-1]) if folders else None

    def describe(self) -> Generation | None:
        """Return the newest generation as `status` shows it; None if it holds no segments."""
        manifest = self.newest()
        if manifest is None or not manifest.count:
            return None
        size = sum(map(file_size, self.folders()[-1].iterdir()))
        return Generation(
            manifest.kind,
            manifest.count,
            size,
            round(size / manifest.count, 1),
            why=manifest.why,
            built=manifest.built,
            build_s=manifest.build_s,
            certificate=manifest.certificate,
        )

    def begin_draft(self) -> Path:
        """Return a new empty folder for the next generation, and remove drafts that were left over."""
        folders = self.folders()
        number = int(folders[-1].name.removeprefix("gen-")) + 1 if folders else 1
        for leftover in self._folder.glob("*.new"):
            shutil.rmtree(leftover)
        draft = self._folder / f"gen-{number:06d}.new"
        draft.mkdir(parents=True)
        return draft

    def publish(self, draft: Path) -> None:
        """Make a draft the newest generation by renaming it."""
        draft.rename(draft.with_suffix(""))
        sync_folder(self._folder)

    def move_to(self, position: int) -> None:
        """Note in the newest generation that it has caught up to a later position of the log."""
        folder = self.folders()[-1]
        values = _read_json(folder) or {}
        _write_json(folder, values | {"position": position})


def read_generation_manifest(folder: Path) -> GenerationManifest | None:
    """Return the manifest of a generation; None if it is missing or cannot be used."""
    try:
        values = _read_json(folder)
        return None if values is None else GenerationManifest.from_json(values)
    except (KeyError, TypeError):
        return None


def write_generation_manifest(folder: Path, manifest: GenerationManifest) -> None:
    """Write the manifest of a generation. Raises `OSError`."""
    _write_json(folder, asdict(manifest))


def _read_json(folder: Path) -> dict[str, Any] | None:
    try:
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _write_json(folder: Path, values: Mapping[str, Any]) -> None:
    write_text_atomically(folder / MANIFEST, json.dumps(values, indent=1))
