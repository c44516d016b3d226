"""The training manifest: a table of images and sounds of the same things, or of videos that hold both.

A manifest is a CSV file with a header. Columns: `image` and `sound` (files, or folders with everything below them), or
`video`. Optional: `concept` (a name in words, used only for evaluation), `split` (`train` or `dev`) and `recording`
(sounds of one recording are never on both sides of the split). Paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bindsearch.errors import BadQuery

_COLUMNS_IN_WORDS = "image and sound, or video, and optionally concept, split and recording"
COLUMNS = {"image", "sound", "video", "concept", "split", "recording"}
RECORDINGS_PER_HELD_OUT = 8
"""One recording in 8 is held out if the manifest has no split."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Images and sounds of the same thing; or videos, each of which is both."""

    images: tuple[Path, ...]
    sounds: tuple[Path, ...]
    concept: str = ""
    split: str = ""
    recording: str = ""

    @property
    def is_video(self) -> bool:
        """Whether images and sounds come from the same videos."""
        return self.images == self.sounds

    def held_out(self, sound: Path) -> bool:
        """Whether a sound is for evaluation only: by the split, or else by a hash of the recording's name."""
        if self.split:
            return self.split == "dev"
        digest = hashlib.sha256((self.recording or sound.name).encode()).digest()
        return digest[0] % RECORDINGS_PER_HELD_OUT == 0


def read(path: Path) -> list[Pair]:
    """Read a manifest. Raises `BadQuery` with the number of the invalid line, and `OSError`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        unknown = set(rows.fieldnames or ()) - COLUMNS
        if unknown:
            raise BadQuery(f"{path}: unknown column {', '.join(sorted(unknown))}; a manifest has {_COLUMNS_IN_WORDS}")
        pairs = [_pair(row, path.parent, f"{path}, line {rows.line_num}") for row in rows]
    if not pairs:
        raise BadQuery(f"{path}: the manifest has no pairs")
    return pairs


def _pair(row: Mapping[str, str | None], base: Path, where: str) -> Pair:
    cells = {name: (value or "").strip() for name, value in row.items()}
    split = cells.get("split", "")
    if split not in ("", "train", "dev"):
        raise BadQuery(f"{where}: split must be train or dev, not {split!r}")
    if cells.get("video"):
        images = sounds = tuple(_files(base / cells["video"], where))
    elif cells.get("image") and cells.get("sound"):
        images = tuple(_files(base / cells["image"], where))
        sounds = tuple(_files(base / cells["sound"], where))
    else:
        raise BadQuery(f"{where}: a row needs an image and a sound, or a video")
    return Pair(images, sounds, cells.get("concept", ""), split, cells.get("recording", ""))


def _files(place: Path, where: str) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))
    elif place.is_file():
        yield place
    else:
        raise BadQuery(f"{where}: {place} does not exist")
