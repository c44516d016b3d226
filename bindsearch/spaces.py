"""A space at work: the one place where media is batched, encoded, checked and normalised."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from bindsearch import registry
from bindsearch.errors import BadQuery, BindsearchError, MediaError, SpaceError, UnreadableMedia, UnsupportedMedia
from bindsearch.ports import Encoder, Prepared
from bindsearch.records import unit
from bindsearch.types import Modality, Piece, Segment, SpaceSpec, Vectors

BATCH = 32
"""Pieces that are encoded together."""


class Space:
    """The encoders of one space, without a library.

    >>> import bindsearch
    >>> toy = bindsearch.space("toy")
    >>> red, blue = toy.embed(["red", "blue"], modality="text")
    >>> bool(red @ red > red @ blue)
    True
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder

    @classmethod
    def named(cls, name: str) -> Space:
        """Load a space by name. Raises `UnknownSpace`, `MissingExtra`, `MissingWeights`."""
        return cls(registry.load_space(name))

    @property
    def spec(self) -> SpaceSpec:
        """What the space is."""
        return self.encoder.spec

    def embed(self, things: Sequence[str | os.PathLike[str] | Piece], *, modality: str | None = None) -> Vectors:
        """Embed texts (strings, with `modality="text"`), files, or decoded pieces: one unit vector each.

        A file's vector is the mean over its pieces. `modality` otherwise picks what is looked at: of a video, say,
        only the sound. Raises `MediaError`, `BadQuery` for an unknown modality. *Shape:* (len(things), dim)
        """
        if isinstance(things, str | os.PathLike):
            raise BadQuery(f"embed takes a list: [{things!r}]")
        wanted = None if modality is None else modality_named(modality)
        rows = [self._embed_one(thing, wanted) for thing in things]
        return np.stack(rows) if rows else self._nothing()

    def segments(self, path: str | os.PathLike[str]) -> list[tuple[float | None, float | None, Vectors]]:
        """Embed every segment of a file: start, end (None where there is no time) and unit vector."""
        segments, rows = self.embed_whole(Path(path))
        return [(segment.span.start, segment.span.end, row) for segment, row in zip(segments, rows, strict=True)]

    def embed_whole(self, path: Path, *, modality: Modality | None = None) -> tuple[list[Segment], Vectors]:
        """Embed all that this space wants of a file, holding only a batch of it decoded. Segments are numbered from 0.

        Raises `MediaError`, also where there is nothing for this space. *Shape:* (len(segments), dim)
        """
        segments: list[Segment] = []
        blocks: list[Vectors] = []
        pieces = self.pieces(path, modality=modality)
        while batch := list(islice(pieces, BATCH)):
            blocks.append(self.embed_pieces(batch))
            segments += [Segment(len(segments) + at, piece.modality, piece.span) for at, piece in enumerate(batch)]
        if not segments:
            raise UnsupportedMedia(f"{path}: holds no {modality or 'thing'} that space {self.spec.name} knows")
        return segments, np.concatenate(blocks)

    def pieces(self, path: Path, *, modality: Modality | None = None) -> Iterator[Piece]:
        """Decode a file into the pieces that this space wants. Raises `MediaError`, with the path."""
        from bindsearch.media import decode, identify

        wanted = self.spec.modalities if modality is None else frozenset({modality})
        try:
            kind = identify(path)
            if kind is None:
                raise UnsupportedMedia("not a picture, sound, video or text that bindsearch reads")
            with decode(path, kind, self.spec.windowing, wanted=wanted) as decoding:
                yield from decoding
        except OSError as error:
            raise UnreadableMedia(f"{path}: {error.strerror or error}") from error
        except MediaError as error:
            raise type(error)(f"{path}: {error}") from error

    def embed_pieces(self, pieces: Sequence[Piece]) -> Vectors:
        """Embed decoded pieces of any modalities, in their order. *Shape:* (len(pieces), dim)"""
        rows = np.empty((len(pieces), self.spec.dim), dtype=np.float32)
        for modality in {piece.modality for piece in pieces}:
            places = [place for place, piece in enumerate(pieces) if piece.modality == modality]
            rows[places] = self.encode(modality, [self.encoder.prepare(pieces[place]) for place in places])
        return rows

    def encode(self, modality: Modality, prepared: Sequence[Prepared]) -> Vectors:
        """Encode what `encoder.prepare` made, in batches, to unit vectors. *Shape:* (len(prepared), dim)

        Raises `SpaceError` when the encoder breaks its word: a wrong shape, or values that are not finite.
        """
        starts = range(0, len(prepared), BATCH)
        blocks = [self._encode_batch(modality, prepared[start : start + BATCH]) for start in starts]
        return np.concatenate(blocks) if blocks else self._nothing()

    def _nothing(self) -> Vectors:
        return np.empty((0, self.spec.dim), dtype=np.float32)

    def _encode_batch(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        try:
            vectors = self.encoder.encode(modality, batch)
        except BindsearchError:
            raise
        except Exception as error:  # whatever a model raises: the run goes on without the file
            raise SpaceError(f"space {self.spec.name} failed: {type(error).__name__}: {error}") from error
        if vectors.shape != (len(batch), self.spec.dim):
            raise SpaceError(f"space {self.spec.name} gave {vectors.shape}, not {(len(batch), self.spec.dim)}")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise SpaceError(f"space {self.spec.name} gave an {modality} vector that is zero or not finite")
        return unit(vectors)

    def _embed_one(self, thing: str | os.PathLike[str] | Piece, modality: Modality | None) -> Vectors:
        if isinstance(thing, Piece):
            rows = self.embed_pieces([thing])
        elif isinstance(thing, str) and modality == Modality.TEXT:
            rows = self.embed_pieces([Piece(Modality.TEXT, _encodable(thing))])
        else:
            segments, vectors = self.embed_whole(Path(thing), modality=modality)
            return mean_vector(vectors, [segment.modality for segment in segments])
        vector: Vectors = rows[0]
        return vector


def space(name: str) -> Space:
    """Load a space by name: the encoders alone, without a library. Raises `UnknownSpace`, `MissingExtra`."""
    return Space.named(name)


def mean_vector(vectors: Vectors, modalities: Sequence[Modality]) -> Vectors:
    """Give the unit mean of a file's vectors; what is seen and what is heard of it count the same. *Shape:* (dim,)"""
    kinds = np.array([str(modality) for modality in modalities])
    parts = np.stack([vectors[kinds == kind].mean(axis=0) for kind in sorted(set(kinds.tolist()))])
    mean: Vectors = unit(unit(parts).mean(axis=0, keepdims=True))[0]
    return mean


def _encodable(text: str) -> str:
    """Refuse what stands for bytes of no encoding, such as a name from another system: no encoder takes it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadQuery(f"{text.encode(errors='backslashreplace').decode()} is no text: write it in UTF-8") from error
    return text


def modality_named(name: str) -> Modality:
    """Give the modality of a name. Raises `BadQuery`."""
    try:
        return Modality(name)
    except ValueError as error:
        raise BadQuery(f"no modality is called {name!r}; there are {', '.join(Modality)}") from error
