"""Decodes a file into pieces, lazily."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bindsearch.errors import MediaTooLarge
from bindsearch.media.formats import DEFAULT_LIMITS, Limits, MediaKind, open_file
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.types import Modality, Piece, Windowing

Decoder = Callable[[DecodeTask, MediaFacts], Iterator[Piece]]


class Decoding(Iterator[Piece]):
    """The pieces of a file, each decoded when it is requested.

    `duration` and `covered` are valid when all pieces have been taken. `next` raises `UnreadableMedia` for a damaged
    file, `MediaTooLarge` for one beyond the limits, and `OSError`.
    """

    def __init__(self, task: DecodeTask) -> None:
        self._facts = MediaFacts()
        self._file = task.file
        self._pieces = _decode(task, self._facts)

    @property
    def duration(self) -> float | None:
        """The duration of the media in seconds; None for still images and texts."""
        return self._facts.duration

    @property
    def covered(self) -> float:
        """The share of the duration that lies in the pieces."""
        return self._facts.covered

    def __next__(self) -> Piece:
        try:
            return next(self._pieces)
        except MemoryError as error:
            raise MediaTooLarge("decoding it takes more memory than is available") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._pieces.close()
        self._file.close()


def decode(
    path: Path, kind: MediaKind, windowing: Windowing, *, wanted: frozenset[Modality], limits: Limits = DEFAULT_LIMITS
) -> Decoding:
    """Decode a file of the kind that `identify` returned, into pieces of the wanted modalities.

    Raises `OSError`, and `UnreadableMedia` if it is not a regular file. Damage is found while pieces are taken.
    """
    return Decoding(DecodeTask(open_file(path), kind, windowing, wanted, limits))


def _decode(task: DecodeTask, facts: MediaFacts) -> Generator[Piece, None, None]:
    with task.file:
        yield from _decoder_of(task.kind.modality)(task, facts)


def _decoder_of(modality: Modality) -> Decoder:
    """Return the decoder of a modality; each is imported when it is first needed."""
    if modality == Modality.IMAGE:
        from bindsearch.media.image import decode_image

        return decode_image
    if modality == Modality.TEXT:
        from bindsearch.media.text import decode_text

        return decode_text
    if modality == Modality.AUDIO:
        from bindsearch.media.audio import decode_audio

        return decode_audio
    from bindsearch.media.video import decode_video

    return decode_video
