"""A space at work: media in, unit vectors out."""

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
"""What can be embedded: a path, the bytes of a file, a decoded piece, a picture of Pillow's, an array of a picture
(uint8, height x width x 3) or of mono sound (floats, at the rate of the space's windowing)."""
FEW = 64
"""A file of at most so many segments is remembered when it was embedded whole, as a query is..."""
SMALL = 64 << 20
"""...if it has at most so many bytes: it is known again by its content, which has to be read for that."""


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
        self._encoding = BatchEncoder(encoder)
        self._cache = LruCache()

    @classmethod
    def named(cls, name: str) -> Space:
        """Load a space by name. Raises `UnknownSpace`, `MissingExtra`, `MissingWeights`."""
        return cls(registry.load_space(name))

    @property
    def spec(self) -> SpaceSpec:
        """What the space is."""
        return self.encoder.spec

    def embed(self, inputs: Sequence[MediaInput], *, modality: str | None = None) -> Vectors:
        """Embed texts (strings, with `modality="text"`), files, or what else a `MediaInput` is: one unit vector each.

        A file's vector is the mean over its pieces. `modality` otherwise picks what is looked at: of a video, say,
        only the sound. Raises `MediaError`, `BadQuery` for an unknown modality. *Shape:* (len(things), dim)
        """
        if isinstance(inputs, str | bytes | os.PathLike):
            raise BadQuery(f"embed takes a list: [{inputs!r}]")
        wanted = None if modality is None else modality_named(modality)
        if wanted == Modality.TEXT and all(isinstance(input_, str) for input_ in inputs):
            return self._texts([_encodable(str(input_)) for input_ in inputs])
        return self._means(inputs, wanted)

    def segments(self, path: str | os.PathLike[str]) -> list[tuple[float | None, float | None, Vectors]]:
        """Embed every segment of a file: start, end (None where there is no time) and unit vector."""
        segments, rows = self.embed_segments(Path(path))
        return [(segment.span.start, segment.span.end, row) for segment, row in zip(segments, rows, strict=True)]

    def embed_segments(self, path: Path, *, modality: Modality | None = None) -> tuple[list[Segment], Vectors]:
        """Embed all that this space wants of a file, holding only a batch of it decoded. Segments are numbered from 0.

        Of a short file that is asked for again the vectors are remembered, by its content. Raises `MediaError`, also
        where there is nothing for this space. *Shape:* (len(segments), dim)
        """
        key = self._key(path, modality)
        if key is not None and (known := self._cache.get(key)) is not None:
            return list(known[0]), known[1].copy()
        segments: list[Segment] = []
        blocks: list[Vectors] = []
        pieces = self.pieces(path, modality=modality)
        while batch := list(islice(pieces, self._ahead)):
            blocks.append(self.embed_pieces(batch))
            segments += [Segment(len(segments) + at, piece.modality, piece.span) for at, piece in enumerate(batch)]
        if not segments:
            raise self._unsupported(path, modality)
        rows = np.concatenate(blocks)
        if key is not None and len(segments) <= FEW:
            self._cache.put(key, (tuple(segments), rows.copy()))
        return segments, rows

    def pieces(self, path: Path, *, modality: Modality | None = None, side: int | None = None) -> Iterator[Piece]:
        """Decode a file into the pieces that this space wants; with `side`, pictures of that size instead of its own.

        Raises `MediaError`, with the path.
        """
        from bindsearch.media import decode, identify

        wanted = self.spec.modalities if modality is None else frozenset({modality})
        windowing = self.spec.windowing if side is None else replace(self.spec.windowing, image_side=side)
        with _naming(path):
            kind = identify(path)
            if kind is None:
                raise UnsupportedMedia("not a picture, sound, video or text that bindsearch reads")
            with decode(path, kind, windowing, wanted=wanted) as decoding:
                yield from decoding

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
        return self._encoding.encode(modality, prepared)

    def batch_size(self, modality: Modality) -> int:
        """Return how many pieces of a modality are best encoded together."""
        return self._encoding.batch_size(modality)

    @property
    def _ahead(self) -> int:
        """Pieces of any modalities that are decoded before they are encoded together."""
        return max(self.batch_size(modality) for modality in self.spec.modalities)

    def _texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; those of the last queries are remembered."""
        keys = [(self.spec.fingerprint, Modality.TEXT, text) for text in texts]
        found = {key: self._cache.get(key) for key in keys}
        new = [key for key, row in found.items() if row is None]
        for key, row in zip(new, self.embed_pieces([Piece(Modality.TEXT, text) for *_, text in new]), strict=True):
            self._cache.put(key, row.copy())
            found[key] = row
        return np.stack([found[key] for key in keys]) if keys else self._nothing()

    def _means(self, inputs: Sequence[MediaInput], modality: Modality | None) -> Vectors:
        """Embed files and pieces, the pieces of several files together, to a mean vector each."""
        rows: list[list[Vectors]] = [[] for _ in inputs]
        kinds: list[list[Modality]] = [[] for _ in inputs]
        pieces = self._numbered(inputs, modality)
        while batch := list(islice(pieces, self._ahead)):
            vectors = self.embed_pieces([piece for _, piece in batch])
            for (place, piece), vector in zip(batch, vectors, strict=True):
                rows[place].append(vector)
                kinds[place].append(piece.modality)
        means = [
            part[0] if isinstance(input_, Piece) else mean_vector(np.stack(part), kind)
            for input_, part, kind in zip(inputs, rows, kinds, strict=True)
        ]
        return np.stack(means) if means else self._nothing()

    def _numbered(self, inputs: Iterable[MediaInput], modality: Modality | None) -> Iterator[tuple[int, Piece]]:
        """Return the pieces of all things, each with the number of its thing."""
        for place, input_ in enumerate(inputs):
            empty = True
            for piece in self._pieces_of(input_, modality):
                empty = False
                yield place, piece
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

    def _key(self, path: Path, modality: Modality | None) -> Hashable | None:
        """Return what a file is remembered by: its content. None for one that is not worth it, or no regular file."""
        from bindsearch.core.file_state import digest_of

        with _naming(path):
            stat = os.stat(path)
            if not S_ISREG(stat.st_mode) or stat.st_size > SMALL:
                return None
            return (self.spec.fingerprint, modality, path.suffix.lower(), digest_of(path))

    def _unsupported(self, path: str | os.PathLike[str], modality: Modality | None) -> UnsupportedMedia:
        return UnsupportedMedia(f"{path}: holds no {modality or 'input_'} that space {self.spec.name} knows")

    def _nothing(self) -> Vectors:
        return np.empty((0, self.spec.dim), dtype=np.float32)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the path before what goes wrong with a file, as a `MediaError`."""
    try:
        yield
    except OSError as error:
        raise UnreadableMedia(f"{path}: {error.strerror or error}") from error
    except MediaError as error:
        raise type(error)(f"{path}: {error}") from error


def space(name: str) -> Space:
    """Load a space by name: the encoders alone, without a library. Raises `UnknownSpace`, `MissingExtra`."""
    return Space.named(name)


def _encodable(text: str) -> str:
    """Refuse what stands for bytes of no encoding, such as a name from another system: no encoder takes it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadQuery(f"{text.encode(errors='backslashreplace').decode()} is no text: write it in UTF-8") from error
    return text
