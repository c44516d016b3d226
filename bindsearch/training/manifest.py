"""What goes with what: a table of pictures and sounds of the same thing, or of videos that hold both.

A manifest is a CSV file with a header. Columns: `image` and `sound` (files, or folders with all that is below), or
`video`; and if wanted `concept` (a name in words, read only to measure), `split` (`train` or `dev`) and `recording`
(sounds of one recording never stand on both sides of the split). Paths are relative to the manifest.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bindsearch.errors import BadQuery

COLUMNS = {"image", "sound", "video", "concept", "split", "recording"}
DEV_SHARE = 8
"""One recording in so many is held out where the manifest does not say which."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Pictures and sounds of the same thing; or videos, each of which is both."""

    images: tuple[Path, ...]
    sounds: tuple[Path, ...]
    concept: str = ""
    split: str = ""
    recording: str = ""

    @property
    def filmed(self) -> bool:
        """Whether pictures and sounds are of the same moment."""
        return self.images == self.sounds

    def held_out(self, sound: Path) -> bool:
        """Whether a sound is for measuring only: as the split says, else by the digest of the recording's name."""
        if self.split:
            return self.split == "dev"
        digest = hashlib.sha256((self.recording or sound.name).encode()).digest()
        return digest[0] % DEV_SHARE == 0


def read(path: Path) -> list[Pair]:
    """Read a manifest. Raises `BadQuery` with the line that makes no sense, and `OSError`."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        unknown = set(rows.fieldnames or ()) - COLUMNS
        if unknown:
            raise BadQuery(f"{path}: no column of a manifest is called {', '.join(sorted(unknown))}")
        pairs = [_pair(row, path.parent, f"{path}, line {rows.line_num}") for row in rows]
    if not pairs:
        raise BadQuery(f"{path}: the manifest has no pairs")
    return pairs


def _pair(row: Mapping[str, str | None], base: Path, where: str) -> Pair:
    given = {name: (value or "").strip() for name, value in row.items()}
    split = given.get("split", "")
    if split not in ("", "train", "dev"):
        raise BadQuery(f"{where}: a split is train or dev, not {split!r}")
    if given.get("video"):
        films = tuple(_files(base / given["video"], where))
        images = sounds = films
    elif given.get("image") and given.get("sound"):
        images = tuple(_files(base / given["image"], where))
        sounds = tuple(_files(base / given["sound"], where))
    else:
        raise BadQuery(f"{where}: a pair has an image and a sound, or a video")
    return Pair(images, sounds, given.get("concept", ""), split, given.get("recording", ""))


def _files(place: Path, where: str) -> Iterator[Path]:
    if place.is_dir():
        yield from sorted(file for file in place.rglob("*") if file.is_file() and not file.name.startswith("."))
    elif place.is_file():
        yield place
    else:
        raise BadQuery(f"{where}: {place} is not there")
