"""A data set as evaluation sees it: media with a known truth."""

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

Component = Literal["dev", "all"]


class Truth(StrEnum):
    """What is known of the media of a data set."""

    CLASSES = "classes"
    """What each is, out of a list of labels."""
    CAPTIONS = "captions"
    """Sentences about each one alone."""
    NAMES = "names"
    """What each is called; few share a name."""


@dataclass(frozen=True, slots=True)
class Media:
    """A file, or a member of a tar file."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)

    @property
    def name(self) -> str:
        """The file's own name."""
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
    """One picture or sound, and what is known of it."""

    media: Media
    words: tuple[str, ...]
    """Its labels, its captions, or its name."""
    recording: str = ""
    """Examples of one recording are no independent evidence."""
    held_out: bool = True
    """Whether the pocket model was trained without it."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Media of one modality with one kind of truth."""

    name: str
    layout: str
    modality: Modality
    truth: Truth
    examples: tuple[Example, ...]
    labels: tuple[str, ...] = ()
    """Of classes: all that the set knows, be there an example of each or not."""
    notes: tuple[str, ...] = field(default=())

    def part(self, part: Component) -> Dataset:
        """Keep all, or what the pocket model was trained without."""
        if part == "all":
            return self
        return replace(self, examples=tuple(example for example in self.examples if example.held_out))

    def first(self, limit: int | None) -> Dataset:
        """Keep a number of examples, spread evenly over the set."""
        if limit is None or limit >= len(self.examples):
            return self
        count = len(self.examples)
        return replace(self, examples=tuple(self.examples[place * count // limit] for place in range(limit)))


@lru_cache(maxsize=32)
def members(tar: Path) -> dict[str, tuple[int, int]]:
    """Return where the files in a tar file begin, and how long they are. Raises `BadQuery` for what is none."""
    import tarfile

    try:
        with tarfile.open(tar, "r:") as opened:
            return {member.name: (member.offset_data, member.size) for member in opened if member.isreg()}
    except tarfile.TarError as error:
        raise BadQuery(f"{tar}: not a tar file, or a compressed one: {error}") from error


class MediaCache:
    """Lends media as files: members of tar files are written to a temporary folder while they are in use."""

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="bindsearch-")

    def close(self) -> None:
        """Remove the temporary folder."""
        self._folder.cleanup()

    @contextmanager
    def lend(self, media: Media) -> Iterator[Path]:
        """Return a path to read a medium from. Raises `UnreadableMedia`."""
        if not media.member:
            yield media.path
            return
        path = Path(self._folder.name) / media.name
        path.write_bytes(media.read())
        try:
            yield path
        finally:
            path.unlink()
