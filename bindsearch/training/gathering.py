"""Files of a manifest -> arrays: spectrograms of windows of sound, and vectors of pictures that belong to them.

This is the only place where training data is made, and it asks the space for pictures alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bindsearch.errors import BadQuery, MediaError
from bindsearch.media import decode, identify
from bindsearch.spaces.space import Space
from bindsearch.training.manifest import Pair
from bindsearch.training.towers import Architecture
from bindsearch.types import Modality, Piece, Vectors

Floats = NDArray[np.float32]
Skipped = Callable[[Path, str], None]
QUIET = 1e-4
"""A window that never exceeds this is silence: it is of nothing."""


@dataclass(frozen=True, slots=True)
class Sounds:
    """Windows of sound and the pictures they belong to. Rows of `spectra` and of the lists go together."""

    spectra: Floats
    """*Shape:* (n, frames, bands)."""
    owners: NDArray[np.int64]
    """Which set of pictures each window belongs to."""
    clips: NDArray[np.int64]
    """Which file each window is from."""
    dev: NDArray[np.bool_]
    pictures: tuple[Vectors, ...]
    """By owner: vectors of its pictures, (m, dim), unit length."""
    concepts: tuple[str, ...]
    """By owner: its name in words, or nothing. Nothing that trains reads it."""
    hashes: tuple[str, ...]
    """By clip: the SHA-256 of its file."""

    def rows(self, *, dev: bool) -> NDArray[np.intp]:
        """Return the windows of one side of the split."""
        return np.flatnonzero(self.dev == dev)


def gather(pairs: Sequence[Pair], space: Space, architecture: Architecture, *, skipped: Skipped) -> Sounds:
    """Decode all files of a manifest; those that cannot be read are told to `skipped`.

    Raises `BadQuery` where nothing is left on one side of the split.
    """
    collected = _Collected(space, architecture, skipped)
    for pair in pairs:
        if pair.filmed:
            for film in pair.sounds:
                collected.film(pair, film)
        else:
            collected.paired(pair)
    return collected.done()


class _Collected:
    def __init__(self, space: Space, architecture: Architecture, skipped: Skipped) -> None:
        self._space, self._architecture, self._skipped = space, architecture, skipped
        self._front = architecture.front()
        self._pictures: list[Vectors] = []
        self._concepts: list[str] = []
        self._hashes: list[str] = []
        self._windows: list[tuple[Floats, int, int, bool]] = []

    def paired(self, pair: Pair) -> None:
        """Take pictures and sounds of the same thing."""
        vectors = [self._seen(list(self._pieces(image, Modality.IMAGE))) for image in pair.images]
        vectors = [rows for rows in vectors if len(rows)]
        if not vectors:
            return
        owner = self._own(np.concatenate(vectors), pair.concept)
        for sound in pair.sounds:
            windows = [self._front(_samples(piece)) for piece in self._pieces(sound, Modality.AUDIO) if _audible(piece)]
            self._add(sound, [(window, owner) for window in windows], dev=pair.held_out(sound))

    def film(self, pair: Pair, film: Path) -> None:
        """Take frames and the sound of the same moments: every window belongs to the frames that lie in it."""
        frames = list(self._pieces(film, Modality.VIDEO))
        vectors = self._seen(frames)
        windows = []
        for piece in self._pieces(film, Modality.AUDIO):
            shown = [place for place, frame in enumerate(frames) if _during(frame, piece)]
            if shown and _audible(piece):
                windows.append((self._front(_samples(piece)), self._own(vectors[shown], pair.concept)))
        self._add(film, windows, dev=pair.held_out(film))

    def done(self) -> Sounds:
        if not any(dev for *_, dev in self._windows) or all(dev for *_, dev in self._windows):
            raise BadQuery(
                "the manifest leaves nothing to train on, or nothing to measure by: add recordings, or a split"
            )
        spectra, owners, clips, dev = zip(*self._windows, strict=True)
        return Sounds(
            np.stack(spectra).astype(np.float32),
            np.array(owners, np.int64),
            np.array(clips, np.int64),
            np.array(dev, np.bool_),
            tuple(self._pictures),
            tuple(self._concepts),
            tuple(self._hashes),
        )

    def _own(self, vectors: Vectors, concept: str) -> int:
        self._pictures.append(vectors)
        self._concepts.append(concept)
        return len(self._pictures) - 1

    def _add(self, path: Path, windows: Sequence[tuple[Floats, int]], *, dev: bool) -> None:
        if windows:
            self._hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
            self._windows += [(window, owner, len(self._hashes) - 1, dev) for window, owner in windows]

    def _seen(self, pieces: Sequence[Piece]) -> Vectors:
        return self._space.embed_pieces(pieces)

    def _pieces(self, path: Path, modality: Modality) -> Iterator[Piece]:
        sound = modality == Modality.AUDIO
        windowing = self._architecture.windowing if sound else self._space.spec.windowing
        try:
            kind = identify(path)
            if kind is None:
                raise BadQuery("not a picture, sound or video that bindsearch reads")
            with decode(path, kind, windowing, wanted=frozenset({modality})) as decoding:
                yield from decoding
        except (MediaError, BadQuery, OSError) as error:
            self._skipped(path, str(error))


def _samples(piece: Piece) -> Floats:
    return np.asarray(piece.content, np.float32)


def _audible(piece: Piece) -> bool:
    return bool(np.abs(_samples(piece)).max(initial=0.0) > QUIET)


def _during(frame: Piece, sound: Piece) -> bool:
    at, start, end = frame.span.start, sound.span.start, sound.span.end
    if at is None or start is None or end is None:
        return False
    middle = at if frame.span.end is None else (at + frame.span.end) / 2
    return start <= middle <= end
