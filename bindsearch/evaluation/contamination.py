"""Copies of what is measured, found in a library, a folder or a tar file.

By content where the bytes are the same, else by fingerprint. Two things that show or sound nothing have none.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bindsearch.duplicates import audio_fingerprint as mark_sound, image_fingerprint as mark_picture
from bindsearch.duplicates.audio_fingerprint import Signs
from bindsearch.duplicates.image_fingerprint import Grey
from bindsearch.errors import MediaError
from bindsearch.evaluation.dataset import Dataset, Media, MediaCache
from bindsearch.evaluation.media_files import PICTURES, SOUNDING, Store
from bindsearch.types import Modality, Piece, Windowing

ProgressCallback = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Copy:
    """A medium that is measured, a copy of it, and how well they agree: 1 for the same bytes."""

    of: str
    copy: str
    agreement: float

    @property
    def how(self) -> str:
        """Say how they are known to be copies."""
        return "the same bytes" if self.agreement >= 1 else f"agreement {self.agreement:.2f}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """What was found."""

    looked_at: int
    copies: tuple[Copy, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """What could not be compared, and why."""

    @property
    def copied(self) -> frozenset[str]:
        """Return the measured media that have a copy."""
        return frozenset(each.of for each in self.copies)

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        copies = [{"of": each.of, "copy": each.copy, "agreement": round(each.agreement, 4)} for each in self.copies]
        return {"looked_at": self.looked_at, "copied": len(self.copied), "copies": copies, "not_compared": self.failed}


@dataclass(slots=True)
class _Marks:
    """Fingerprints of many media; a long sound has several."""

    media: list[Media]
    digests: dict[str, list[str]] = field(default_factory=dict)
    greys: list[Grey] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    signs: list[Signs] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def overlap(sets: Sequence[Dataset], against: Path, *, on_progress: ProgressCallback = lambda name: None) -> Overlap:
    """Look for copies of the media of some data sets. Raises `OSError`, and what opening a library raises."""
    ours = _marked([example.media for each in sets for example in each.examples], on_progress)
    theirs = _marked(list(_media_in(against, {each.modality for each in sets})), on_progress)
    found: dict[tuple[str, str], float] = {}
    for one, other, agreed in [*_identical(ours, theirs), *_alike(ours, theirs)]:
        if not _same_place(one, other):
            found[one, other] = max(agreed, found.get((one, other), 0.0))
    copies = sorted((Copy(one, other, agreed) for (one, other), agreed in found.items()), key=_order)
    return Overlap(len(theirs.media), tuple(copies), ours.failed | theirs.failed)


def _order(copy: Copy) -> tuple[str, float, str]:
    return copy.of, -copy.agreement, copy.copy


def _identical(ours: _Marks, theirs: _Marks) -> Iterator[tuple[str, str, float]]:
    for digest, names in ours.digests.items():
        yield from ((one, other, 1.0) for one in names for other in theirs.digests.get(digest, ()))


def _alike(ours: _Marks, theirs: _Marks) -> Iterator[tuple[str, str, float]]:
    most = 0.9999  # 1 is kept for the same bytes
    for one, other, agreed in mark_picture.matches(ours.greys, theirs.greys):
        yield ours.seen[one], theirs.seen[other], min(agreed, most)
    for one, other, agreed in mark_sound.matches(ours.signs, theirs.signs):
        yield ours.heard[one], theirs.heard[other], min(agreed, most)


def _same_place(one: str, other: str) -> bool:
    """Whether it is the file itself: a data set may lie in the folder that it is compared with."""
    return one == other or Path(one).resolve() == Path(other).resolve()


def _media_in(against: Path, modalities: set[Modality]) -> Iterator[Media]:
    """Return what lies in a library, a folder with all that is below, or a tar file."""
    from bindsearch.library.library import Library
    from bindsearch.storage.manifest import MANIFEST

    suffixes = (PICTURES if Modality.IMAGE in modalities else frozenset()) | (
        SOUNDING if Modality.AUDIO in modalities else frozenset()
    )
    if (against / MANIFEST).is_file():
        with Library.open(against, create=False) as library:
            paths = [path for item in library.items() for path in item.paths[:1] if path.suffix.lower() in suffixes]
        yield from (Media(path) for path in paths)
    elif not against.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(against))
    else:
        yield from Store(against, suffixes=suffixes, tars_below=True).files.values()


def _marked(media: list[Media], on_progress: ProgressCallback) -> _Marks:
    marks = _Marks(media)
    with closing(MediaCache()) as shelf:
        for each in media:
            on_progress(each.name)
            try:
                marks.digests.setdefault(hashlib.sha256(each.read()).hexdigest(), []).append(str(each))
                with shelf.lend(each) as path:
                    _mark(each, path, marks)
            except (MediaError, OSError) as error:
                marks.failed[str(each)] = str(error)
    return marks


def _mark(media: Media, path: Path, marks: _Marks) -> None:
    for piece in _pieces(path):
        if isinstance(piece.content, str):
            continue
        if piece.modality == Modality.AUDIO:
            table = mark_sound.signs(piece.content)  # type: ignore[arg-type]
            if table.any():
                marks.signs.append(table)
                marks.heard.append(str(media))
        else:
            small = mark_picture.grey(piece.content)  # type: ignore[arg-type]
            if not mark_picture.shows_nothing(small):
                marks.greys.append(small)
                marks.seen.append(str(media))


def _pieces(path: Path) -> Iterator[Piece]:
    """Decode a picture, or the sound of a recording or film."""
    from bindsearch.media import decode, identify

    kind = identify(path)
    if kind is None:
        return
    wanted = frozenset({Modality.IMAGE if kind.modality == Modality.IMAGE else Modality.AUDIO})
    windowing: Windowing = mark_sound.PIECE
    with decode(path, kind, windowing, wanted=wanted) as decoding:
        yield from decoding
