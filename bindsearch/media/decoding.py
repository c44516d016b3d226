"""A file decoded into pieces, lazily."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bindsearch.errors import MediaTooLarge
from bindsearch.media.formats import DEFAULT_LIMITS, Limits, MediaKind, open_file
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.types import Modality, Piece, Windowing


class Decoding(Iterator[Piece]):
    """The pieces of a file, decoded one by one as they are asked for.

    `duration` (in seconds, of what has one) and `covered` (the share of it that lies in the pieces) are valid
    once all pieces were taken. Taking one raises `UnreadableMedia` where the file is damaged, `MediaTooLarge`
    where it goes beyond the limits, and `OSError`.
    """

    def __init__(self, task: DecodeTask) -> None:
        self._told = MediaFacts()
        self._file = task.file
        self._pieces = _decode(task, self._told)

    @property
    def duration(self) -> float | None:
        """How long the media lasts, in seconds; None for still pictures and texts."""
        return self._told.duration

    @property
    def covered(self) -> float:
        """The share of the duration that lies in the pieces."""
        return self._told.covered

    def __next__(self) -> Piece:
        try:
            return next(self._pieces)
        except MemoryError as error:
            raise MediaTooLarge("decoding it takes more memory than there is") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._pieces.close()
        self._file.close()


def decode(
    path: Path, kind: MediaKind, windowing: Windowing, *, wanted: frozenset[Modality], limits: Limits = DEFAULT_LIMITS
) -> Decoding:
    """Decode a file that `identify` gave a kind, into pieces of the modalities that are wanted.

    Raises `OSError`, and `UnreadableMedia` for what is not a regular file; damage shows while pieces are taken.
    """
    return Decoding(DecodeTask(open_file(path), kind, windowing, wanted, limits))


def _decode(task: DecodeTask, told: MediaFacts) -> Generator[Piece, None, None]:
    """Hand the task to the decoder of its modality; each is imported when it is first needed."""
    if task.kind.modality == Modality.IMAGE:
        from bindsearch.media.image import decode_image as decoder
    elif task.kind.modality == Modality.TEXT:
        from bindsearch.media.text import decode_text as decoder
    elif task.kind.modality == Modality.AUDIO:
        from bindsearch.media.audio import decode_audio as decoder
    else:
        from bindsearch.media.video import moments as decoder
    with task.file:
        yield from decoder(task, told)
