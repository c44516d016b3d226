"""Loads the media of a manifest into arrays: spectrograms of sound windows, and vectors of the images they belong to.

This is the only place where training data is made, and it asks the space for nothing but image vectors.
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
OnSkipped = Callable[[Path, str], None]
"""Called with each file that cannot be read, and the reason."""
SILENCE_AMPLITUDE = 1e-4
"""A window that never exceeds this is silence, and is not used."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Sound windows and the images they belong to. Rows of `spectra`, `owners`, `clips` and `dev` correspond."""

    spectra: Floats
    """*Shape:* (n, frames, bands)."""
    owners: NDArray[np.int64]
    """Which set of images each window belongs to."""
    clips: NDArray[np.int64]
    """Which file each window is from."""
    dev: NDArray[np.bool_]
    pictures: tuple[Vectors, ...]
    """By owner: vectors of its images, (m, dim), unit length."""
    concepts: tuple[str, ...]
    """By owner: its name in words, or "". Never used in training."""
    hashes: tuple[str, ...]
    """By clip: the SHA-256 of its file."""

    def rows(self, *, dev: bool) -> NDArray[np.intp]:
        """Return the rows of one side of the split."""
        return np.flatnonzero(self.dev == dev)


@dataclass(frozen=True, slots=True)
class _Window:
    """One row of the training data."""

    spectrum: Floats
    owner: int
    clip: int
    dev: bool


def load_training_data(
    pairs: Sequence[Pair], space: Space, architecture: Architecture, *, on_skipped: OnSkipped
) -> TrainingData:
    """Decode all files of a manifest; `on_skipped` is called for those that cannot be read.

    Raises `BadQuery` if one side of the split is empty.
    """
    loader = _Loader(space, architecture, on_skipped)
    for pair in pairs:
        if pair.is_video:
            for video in pair.sounds:
                loader.add_video(pair, video)
        else:
            loader.add_pair(pair)
    return loader.data()


class _Loader:
    def __init__(self, space: Space, architecture: Architecture, on_skipped: OnSkipped) -> None:
        self._space, self._architecture, self._on_skipped = space, architecture, on_skipped
        self._preprocess = architecture.load_preprocessor()
        self._pictures: list[Vectors] = []
        self._concepts: list[str] = []
        self._hashes: list[str] = []
        self._windows: list[_Window] = []

    def add_pair(self, pair: Pair) -> None:
        """Add images and sounds of the same thing."""
        vectors = [self._space.embed_pieces(list(self._pieces(image, Modality.IMAGE))) for image in pair.images]
        vectors = [rows for rows in vectors if len(rows)]
        if not vectors:
            return
        owner = self._add_owner(np.concatenate(vectors), pair.concept)
        for sound in pair.sounds:
            pieces = [piece for piece in self._pieces(sound, Modality.AUDIO) if _is_audible(piece)]
            spectra = [self._preprocess(_samples(piece)) for piece in pieces]
            self._add_clip(sound, [(spectrum, owner) for spectrum in spectra], dev=pair.held_out(sound))

    def add_video(self, pair: Pair, video: Path) -> None:
        """Add a video: every window of its sound belongs to the frames within that window."""
        frames = list(self._pieces(video, Modality.VIDEO))
        vectors = self._space.embed_pieces(frames)
        windows = []
        for piece in self._pieces(video, Modality.AUDIO):
            visible = [place for place, frame in enumerate(frames) if _is_within(frame, piece)]
            if visible and _is_audible(piece):
                windows.append((self._preprocess(_samples(piece)), self._add_owner(vectors[visible], pair.concept)))
        self._add_clip(video, windows, dev=pair.held_out(video))

    def data(self) -> TrainingData:
        """Return all that was added. Raises `BadQuery` if one side of the split is empty."""
        if len({window.dev for window in self._windows}) < 2:
            raise BadQuery(
                "the manifest needs recordings for both training and evaluation: "
                "add recordings, or set the split column to train and dev"
            )
        return TrainingData(
            spectra=np.stack([window.spectrum for window in self._windows]).astype(np.float32),
            owners=np.array([window.owner for window in self._windows], np.int64),
            clips=np.array([window.clip for window in self._windows], np.int64),
            dev=np.array([window.dev for window in self._windows], np.bool_),
            pictures=tuple(self._pictures),
            concepts=tuple(self._concepts),
            hashes=tuple(self._hashes),
        )

    def _add_owner(self, vectors: Vectors, concept: str) -> int:
        self._pictures.append(vectors)
        self._concepts.append(concept)
        return len(self._pictures) - 1

    def _add_clip(self, path: Path, windows: Sequence[tuple[Floats, int]], *, dev: bool) -> None:
        if windows:
            self._hashes.append(hashlib.sha256(path.read_bytes()).hexdigest())
            clip = len(self._hashes) - 1
            self._windows += [_Window(spectrum, owner, clip, dev) for spectrum, owner in windows]

    def _pieces(self, path: Path, modality: Modality) -> Iterator[Piece]:
        is_sound = modality == Modality.AUDIO
        windowing = self._architecture.windowing if is_sound else self._space.spec.windowing
        try:
            kind = identify(path)
            if kind is None:
                raise BadQuery("not an image, sound or video file that bindsearch can read")
            with decode(path, kind, windowing, wanted=frozenset({modality})) as decoding:
                yield from decoding
        except (MediaError, BadQuery, OSError) as error:
            self._on_skipped(path, str(error))


def _samples(piece: Piece) -> Floats:
    return np.asarray(piece.content, np.float32)


def _is_audible(piece: Piece) -> bool:
    return bool(np.abs(_samples(piece)).max(initial=0.0) > SILENCE_AMPLITUDE)


def _is_within(frame: Piece, window: Piece) -> bool:
    """Whether the middle of a frame's span lies in a window of sound."""
    shown, start, end = frame.span.start, window.span.start, window.span.end
    if shown is None or start is None or end is None:
        return False
    middle = shown if frame.span.end is None else (shown + frame.span.end) / 2
    return start <= middle <= end
