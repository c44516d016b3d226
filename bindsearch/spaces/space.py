"""Embed media in a space: decode files, encode their pieces, cache the vectors of recent queries."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from stat import S_ISREG
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bindsearch import registry
from bindsearch.core.names import modality_named
from bindsearch.core.vectors import mean_vector
from bindsearch.errors import BadQuery, MediaError, UnreadableMedia, UnsupportedMedia
from bindsearch.ports import Encoder, Prepared
from bindsearch.spaces.batching import BatchEncoder
from bindsearch.spaces.lru_cache import LruCache
from bindsearch.types import Modality, Piece, Segment, SpaceSpec, Vectors

if TYPE_CHECKING:
    from bindsearch.media.in_memory import InMemoryMedia

MediaInput: TypeAlias = "str | os.PathLike[str] | bytes | Piece | InMemoryMedia"
"""What can be embedded: a path, the bytes of a file, a decoded piece, a Pillow image, an array of an image (uint8,
height x width x 3) or of mono audio (floats, at the sample rate of the space's windowing)."""
MAX_CACHED_SEGMENTS = 64
"""The vectors of a file with more segments are not cached."""
MAX_CACHED_FILE_BYTES = 64 << 20
"""The vectors of a larger file are not cached, because its whole content must be read to recognise it."""


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
        self._batch_encoder = BatchEncoder(encoder)
        self._cache = LruCache()

    @classmethod
    def named(cls, name: str) -> Space:
        """Load a space by name. Raises `UnknownSpace`, `MissingExtra`, `MissingWeights`."""
        return cls(registry.load_space(name))

    @property
    def spec(self) -> SpaceSpec:
        """The description of the space."""
        return self.encoder.spec

    def embed(self, inputs: Sequence[MediaInput], *, modality: str | None = None) -> Vectors:
        """Embed texts (strings, with `modality="text"`), files or other `MediaInput`s: one unit vector each.

        The vector of a file is the mean over its pieces. `modality` selects pieces: for example, only the audio of a
        video. Raises `MediaError`, and `BadQuery` for an unknown modality. *Shape:* (len(inputs), dim)
        """
        if isinstance(inputs, str | bytes | os.PathLike):
            raise BadQuery(f"embed takes a list: write [{inputs!r}]")
        wanted = None if modality is None else modality_named(modality)
        if wanted == Modality.TEXT and all(isinstance(input_, str) for input_ in inputs):
            return self._embed_texts([_encodable(str(input_)) for input_ in inputs])
        return self._embed_means(inputs, wanted)

    def segments(self, path: str | os.PathLike[str]) -> list[tuple[float | None, float | None, Vectors]]:
        """Embed every segment of a file: its start and end (None without a time) and its unit vector."""
        segments, rows = self.embed_segments(Path(path))
        return [(segment.span.start, segment.span.end, row) for segment, row in zip(segments, rows, strict=True)]

    def embed_segments(self, path: Path, *, modality: Modality | None = None) -> tuple[list[Segment], Vectors]:
        """Embed all pieces of a file that this space supports, with one batch of them decoded at a time.

        Segments are numbered from 0. The vectors of short files are cached by content. Raises `MediaError`, also for a
        file without any supported piece. *Shape:* (len(segments), dim)
        """
        key = self._cache_key(path, modality)
        if key is not None and (cached := self._cache.get(key)) is not None:
            return list(cached[0]), cached[1].copy()
        segments: list[Segment] = []
        blocks: list[Vectors] = []
        pieces = self.pieces(path, modality=modality)
        while batch := list(islice(pieces, self._decode_ahead)):
            blocks.append(self.embed_pieces(batch))
            segments += [
                Segment(number, piece.modality, piece.span) for number, piece in enumerate(batch, len(segments))
            ]
        if not segments:
            raise self._unsupported(path, modality)
        rows = np.concatenate(blocks)
        if key is not None and len(segments) <= MAX_CACHED_SEGMENTS:
            self._cache.put(key, (tuple(segments), rows.copy()))
        return segments, rows

    def pieces(self, path: Path, *, modality: Modality | None = None, side: int | None = None) -> Iterator[Piece]:
        """Decode a file into the pieces that this space supports. `side` replaces the image size of its windowing.

        Raises `MediaError`, with the path.
        """
        from bindsearch.media import decode, identify

        wanted = self.spec.modalities if modality is None else frozenset({modality})
        windowing = self.spec.windowing if side is None else replace(self.spec.windowing, image_side=side)
        with _naming(path):
            kind = identify(path)
            if kind is None:
                raise UnsupportedMedia("not an image, audio, video or text file that bindsearch reads")
            with decode(path, kind, windowing, wanted=wanted) as decoding:
                yield from decoding

    def embed_pieces(self, pieces: Sequence[Piece]) -> Vectors:
        """Embed decoded pieces of any modalities, in their order. *Shape:* (len(pieces), dim)"""
        rows = np.empty((len(pieces), self.spec.dim), dtype=np.float32)
        for modality in {piece.modality for piece in pieces}:
            numbers = [number for number, piece in enumerate(pieces) if piece.modality == modality]
            rows[numbers] = self.encode(modality, [self.encoder.prepare(pieces[number]) for number in numbers])
        return rows

    def encode(self, modality: Modality, prepared: Sequence[Prepared]) -> Vectors:
        """Encode prepared pieces to unit vectors, in batches. *Shape:* (len(prepared), dim)

        Raises `SpaceError` if the encoder fails or returns a wrong shape, a zero vector or values that are not finite.
        """
        return self._batch_encoder.encode(modality, prepared)

    def batch_size(self, modality: Modality) -> int:
        """Return the number of pieces of a modality to encode together."""
        return self._batch_encoder.batch_size(modality)

    @property
    def _decode_ahead(self) -> int:
        """The number of pieces, of any modalities, to decode before they are encoded together."""
        return max(self.batch_size(modality) for modality in self.spec.modalities)

    def _embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts, using and filling the cache."""
        keys = [(self.spec.fingerprint, Modality.TEXT, text) for text in texts]
        vectors = {key: self._cache.get(key) for key in keys}
        new = [key for key, row in vectors.items() if row is None]
        for key, row in zip(new, self.embed_pieces([Piece(Modality.TEXT, text) for *_, text in new]), strict=True):
            self._cache.put(key, row.copy())
            vectors[key] = row
        return np.stack([vectors[key] for key in keys]) if keys else self._no_vectors()

    def _embed_means(self, inputs: Sequence[MediaInput], modality: Modality | None) -> Vectors:
        """Return the mean vector of each input; pieces of several inputs are encoded together."""
        rows: list[list[Vectors]] = [[] for _ in inputs]
        modalities: list[list[Modality]] = [[] for _ in inputs]
        pieces = self._numbered_pieces(inputs, modality)
        while batch := list(islice(pieces, self._decode_ahead)):
            vectors = self.embed_pieces([piece for _, piece in batch])
            for (number, piece), vector in zip(batch, vectors, strict=True):
                rows[number].append(vector)
                modalities[number].append(piece.modality)
        means = [
            own_rows[0] if isinstance(input_, Piece) else mean_vector(np.stack(own_rows), own_modalities)
            for input_, own_rows, own_modalities in zip(inputs, rows, modalities, strict=True)
        ]
        return np.stack(means) if means else self._no_vectors()

    def _numbered_pieces(self, inputs: Iterable[MediaInput], modality: Modality | None) -> Iterator[tuple[int, Piece]]:
        """Yield the pieces of all inputs, each with the number of its input. Raises `UnsupportedMedia`."""
        for number, input_ in enumerate(inputs):
            empty = True
            for piece in self._pieces_of(input_, modality):
                empty = False
                yield number, piece
            if empty:
                name = input_ if isinstance(input_, str | os.PathLike) else type(input_).__name__
                raise self._unsupported(name, modality)

    def _pieces_of(self, input_: MediaInput, modality: Modality | None) -> Iterator[Piece]:
        if isinstance(input_, Piece):
            yield input_
        elif isinstance(input_, str) and modality == Modality.TEXT:
            yield Piece(Modality.TEXT, _encodable(input_))
        elif isinstance(input_, str | os.PathLike):
            yield from self.pieces(Path(input_), modality=modality)
        elif isinstance(input_, bytes):
            with TemporaryDirectory() as folder:
                path = Path(folder) / "bytes"
                path.write_bytes(input_)
                yield from self.pieces(path, modality=modality)
        else:
            from bindsearch.media.in_memory import pieces_of

            wanted = self.spec.modalities if modality is None else {modality}
            yield from (piece for piece in pieces_of(input_, self.spec.windowing) if piece.modality in wanted)

    def _cache_key(self, path: Path, modality: Modality | None) -> Hashable | None:
        """Return the cache key of a file, which holds its digest; None for a large file or one that is not regular."""
        from bindsearch.core.file_state import digest_of

        with _naming(path):
            stat = os.stat(path)
            if not S_ISREG(stat.st_mode) or stat.st_size > MAX_CACHED_FILE_BYTES:
                return None
            return (self.spec.fingerprint, modality, path.suffix.lower(), digest_of(path))

    def _unsupported(self, path: str | os.PathLike[str], modality: Modality | None) -> UnsupportedMedia:
        return UnsupportedMedia(
            f"{path}: holds nothing that the space {self.spec.name} can embed" + (f" as {modality}" if modality else "")
        )

    def _no_vectors(self) -> Vectors:
        return np.empty((0, self.spec.dim), dtype=np.float32)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise errors about a file as `MediaError`s that begin with its path."""
    try:
        yield
    except OSError as error:
        raise UnreadableMedia(f"{path}: {error.strerror or error}") from error
    except MediaError as error:
        raise type(error)(f"{path}: {error}") from error


def space(name: str) -> Space:
    """Load a space by name: the encoders alone, without a library.

    Raises `UnknownSpace`, `MissingExtra`, `MissingWeights`.
    """
    return Space.named(name)


def _encodable(text: str) -> str:
    """Return a text that can be encoded to UTF-8. Raises `BadQuery` for others, such as some foreign file names."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadQuery(
            f"{text.encode(errors='backslashreplace').decode()} is not valid text: write it in UTF-8"
        ) from error
    return text
