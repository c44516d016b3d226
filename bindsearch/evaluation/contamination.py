"""Finds copies of evaluation media in a library, a folder or a tar file.

Identical bytes are found by their digest, modified copies by their fingerprint. Flat images and silent sounds have no
fingerprint.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bindsearch.duplicates import audio_fingerprint, image_fingerprint
from bindsearch.duplicates.audio_fingerprint import AudioFingerprint
from bindsearch.duplicates.image_fingerprint import Thumbnail
from bindsearch.errors import MediaError
from bindsearch.evaluation.dataset import Dataset, Media, MediaExtractor
from bindsearch.evaluation.media_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, MediaStore
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import MANIFEST, read_manifest
from bindsearch.types import Modality, Piece

ProgressCallback = Callable[[str], None]
MAX_FINGERPRINT_AGREEMENT = 0.9999
"""An agreement of 1 means identical bytes."""


@dataclass(frozen=True, slots=True)
class Copy:
    """An evaluation medium, a copy of it, and their agreement: 1 for identical bytes."""

    of: str
    copy: str
    agreement: float

    @property
    def how(self) -> str:
        """How the copy was recognised, in words."""
        return "the same bytes" if self.agreement >= 1 else f"agreement {self.agreement:.2f}"


@dataclass(frozen=True, slots=True)
class Overlap:
    """The copies that were found."""

    compared: int
    """Media in the library, folder or tar file."""
    copies: tuple[Copy, ...]
    failed: dict[str, str] = field(default_factory=dict)
    """Media that could not be compared -> reason."""

    @property
    def copied(self) -> frozenset[str]:
        """The evaluation media that have a copy."""
        return frozenset(each.of for each in self.copies)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        copies = [{"of": each.of, "copy": each.copy, "agreement": round(each.agreement, 4)} for each in self.copies]
        return {"compared": self.compared, "copied": len(self.copied), "copies": copies, "not_compared": self.failed}


class _Pair(NamedTuple):
    """An evaluation medium, its copy, and their agreement."""

    one: str
    other: str
    agreement: float


@dataclass(slots=True)
class _Fingerprints:
    """Fingerprints of many media; a long sound has several."""

    media: list[Media]
    digests: dict[str, list[str]] = field(default_factory=dict)
    """SHA-256 -> names of the media with these bytes."""
    images: list[Thumbnail] = field(default_factory=list)
    image_names: list[str] = field(default_factory=list)
    sounds: list[AudioFingerprint] = field(default_factory=list)
    sound_names: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def add(self, media: Media, path: Path) -> None:
        """Add the fingerprints of one medium, of which `path` is a local file."""
        for piece in _pieces(path):
            if isinstance(piece.content, str):
                continue
            if piece.modality == Modality.AUDIO:
                sound = audio_fingerprint.fingerprint(piece.content)  # type: ignore[arg-type]
                if sound.any():
                    self.sounds.append(sound)
                    self.sound_names.append(str(media))
            else:
                image = image_fingerprint.thumbnail(piece.content)  # type: ignore[arg-type]
                if not image_fingerprint.is_flat(image):
                    self.images.append(image)
                    self.image_names.append(str(media))


def find_overlap(
    sets: Sequence[Dataset], against: Path, *, on_progress: ProgressCallback = lambda name: None
) -> Overlap:
    """Find copies of the media of some data sets.

    Raises `OSError`, and the errors of opening a library.
    """
    ours = _fingerprints([example.media for each in sets for example in each.examples], on_progress)
    theirs = _fingerprints(list(_media_in(against, {each.modality for each in sets})), on_progress)
    found: dict[tuple[str, str], float] = {}
    for one, other, agreement in [*_identical(ours, theirs), *_similar(ours, theirs)]:
        if not _is_same_file(one, other):
            found[one, other] = max(agreement, found.get((one, other), 0.0))
    copies = sorted((Copy(one, other, agreement) for (one, other), agreement in found.items()), key=_order)
    return Overlap(len(theirs.media), tuple(copies), ours.failed | theirs.failed)


def _order(copy: Copy) -> tuple[str, float, str]:
    return copy.of, -copy.agreement, copy.copy


def _identical(ours: _Fingerprints, theirs: _Fingerprints) -> Iterator[_Pair]:
    for digest, names in ours.digests.items():
        yield from (_Pair(one, other, 1.0) for one in names for other in theirs.digests.get(digest, ()))


def _similar(ours: _Fingerprints, theirs: _Fingerprints) -> Iterator[_Pair]:
    for one, other, agreement in image_fingerprint.find_copies(ours.images, theirs.images):
        yield _Pair(ours.image_names[one], theirs.image_names[other], min(agreement, MAX_FINGERPRINT_AGREEMENT))
    for one, other, agreement in audio_fingerprint.find_copies(ours.sounds, theirs.sounds):
        yield _Pair(ours.sound_names[one], theirs.sound_names[other], min(agreement, MAX_FINGERPRINT_AGREEMENT))


def _is_same_file(one: str, other: str) -> bool:
    """Whether two names are of the same file: a data set may lie in the folder that it is compared with."""
    return one == other or Path(one).resolve() == Path(other).resolve()


def _media_in(against: Path, modalities: set[Modality]) -> Iterator[Media]:
    """Yield the media of a library, of a folder and everything below it, or of a tar file."""
    suffixes = (IMAGE_SUFFIXES if Modality.IMAGE in modalities else frozenset()) | (
        SOUND_SUFFIXES if Modality.AUDIO in modalities else frozenset()
    )
    if (against / MANIFEST).is_file():
        paths = [path for path in _library_paths(against) if path.suffix.lower() in suffixes]
        yield from (Media(path) for path in paths)
    elif not against.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(against))
    else:
        yield from MediaStore(against, suffixes=suffixes, tars_below=True).files.values()


def _library_paths(folder: Path) -> list[Path]:
    """Return one path of every live item of a library. Raises `LibraryError`."""
    edition = read_manifest(folder).current
    ledger = Ledger.open(edition.ledger(folder), dim=edition.dim)
    with closing(ledger), ledger.read() as snapshot:
        return [snapshot.owners(record.digest)[0].path for _, record in snapshot.live_items()]


def _fingerprints(media: list[Media], on_progress: ProgressCallback) -> _Fingerprints:
    fingerprints = _Fingerprints(media)
    with closing(MediaExtractor()) as extractor:
        for each in media:
            on_progress(each.name)
            try:
                fingerprints.digests.setdefault(hashlib.sha256(each.read()).hexdigest(), []).append(str(each))
                with extractor.extract(each) as path:
                    fingerprints.add(each, path)
            except (MediaError, OSError) as error:
                fingerprints.failed[str(each)] = str(error)
    return fingerprints


def _pieces(path: Path) -> Iterator[Piece]:
    """Decode an image, or the sound of a recording or video."""
    from bindsearch.media import decode, identify

    kind = identify(path)
    if kind is None:
        return
    wanted = frozenset({Modality.IMAGE if kind.modality == Modality.IMAGE else Modality.AUDIO})
    with decode(path, kind, audio_fingerprint.WINDOWING, wanted=wanted) as decoding:
        yield from decoding
