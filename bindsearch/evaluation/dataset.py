"""Data sets for evaluation: media with known labels, captions or names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from bindsearch.errors import BadQuery, UnreadableMedia
from bindsearch.types import Modality

SplitPart = Literal["dev", "all"]


class Truth(StrEnum):
    """The kind of ground truth of a data set."""

    CLASSES = "classes"
    """One or more labels of a fixed list for each medium."""
    CAPTIONS = "captions"
    """Sentences that describe one medium each."""
    NAMES = "names"
    """A name for each medium; few media share one."""


@dataclass(frozen=True, slots=True)
class Media:
    """A file, or a member of a tar file."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The name of the file, without its folder."""
        return (self.member or str(self.path)).rpartition("/")[2]

    def read(self) -> bytes:
        """Return the content. Raises `UnreadableMedia`."""
        try:
            if not self.member:
                return self.path.read_bytes()
            start, size = members(self.path)[self.member]
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(size)
        except OSError as error:
            raise UnreadableMedia(f"{self}: {error.strerror or error}") from error


@dataclass(frozen=True, slots=True)
class Example:
    """One image or sound with its ground truth."""

    media: Media
    words: tuple[str, ...]
    """Its labels, its captions, or its name."""
    recording: str = ""
    """Examples of one recording are not independent."""
    held_out: bool = True
    """Whether it was held out when the pocket model was trained."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Media of one modality with one kind of ground truth."""

    name: str
    layout: str
    modality: Modality
    truth: Truth
    examples: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    """All labels of a set of classes, with or without examples."""
    notes: tuple[str, ...] = field(default=())

    def part(self, part: SplitPart) -> Dataset:
        """Return the whole data set, or what was held out when the pocket model was trained."""
        if part == "all":
            return self
        return replace(self, examples=tuple(example for example in self.examples if example.held_out))

    def first(self, limit: int | None) -> Dataset:
        """Return a data set of at most `limit` examples, spread evenly over this one."""
        if limit is None or limit >= len(self.examples):
            return self
        count = len(self.examples)
        return replace(self, examples=tuple(self.examples[place * count // limit] for place in range(limit)))


@lru_cache(maxsize=32)
def members(tar: Path) -> dict[str, tuple[int, int]]:
    """Return offset and size of the files in a tar file. Raises `BadQuery` if it is not an uncompressed tar file."""
    import tarfile

    try:
        with tarfile.open(tar, "r:") as opened:
            return {member.name: (member.offset_data, member.size) for member in opened if member.isreg()}
    except tarfile.TarError as error:
        raise BadQuery(f"{tar}: not a tar file, or a compressed one: {error}") from error


class MediaExtractor:
    """Provides media as files; members of tar files are written to a temporary folder while they are used."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="bindsearch-")

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()

    @contextmanager
    def extract(self, media: Media) -> Iterator[Path]:
        """Provide a path to read a medium from. Raises `UnreadableMedia`."""
        if not media.member:
            yield media.path
            return
        path = Path(self._folder.name) / media.name
        path.write_bytes(media.read())
        try:
            yield path
        finally:
            path.unlink()
