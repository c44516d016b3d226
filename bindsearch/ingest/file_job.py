"""One file on its way through decoding and encoding."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from bindsearch.core.file_state import stamp_of
from bindsearch.errors import MediaError, UnusableSpace
from bindsearch.ingest.identify import CHANGED_MEANWHILE, NO_MEMORY, IdentifiedFile
from bindsearch.ingest.threads import put
from bindsearch.media import decode
from bindsearch.spaces.space import Space
from bindsearch.storage.records import Content, Run
from bindsearch.types import Modality, Piece, Span, Vectors

MAX_QUEUED_PIECES = 16
"""Prepared pieces that a decoding file may hold before its thread waits."""
SNIPPET_CHARACTERS = 200
"""Length of the part of a passage that is stored for display."""
NOTHING_TO_ENCODE = "contains nothing that this space can encode"


class FileOutcome(StrEnum):
    """What the committer does with a file."""

    VANISHED = "vanished"
    """The file is gone: its path is unlinked."""
    DEFERRED = "deferred"
    """The file could not be read this time: nothing is written, and the next run retries it."""
    REFUSED = "refused"
    """The file cannot be read under this name: the path is linked to no content, with the reason."""
    IGNORED = "ignored"
    """The file is of no kind that the space takes: the path is linked to no content."""
    KNOWN = "known"
    """Its content is an item, or in quarantine, already: the path is linked."""
    FAILED = "failed"
    """Its content cannot be decoded or encoded: it is quarantined."""
    DECODED = "decoded"
    """Its content becomes a new item."""


@dataclass(frozen=True, slots=True)
class PreparedPiece:
    """A piece of media, prepared for the encoder."""

    piece: Piece
    prepared: object


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """How decoding a file ended, once all of its pieces have been handed over."""

    duration: float | None = None
    covered: float = 1.0
    """Share of the duration that lies inside segments."""
    failure: str = ""
    """Why the content cannot be decoded."""
    deferral: str = ""
    """Why the file could not be read this time."""
    vanished: bool = False
    unusable: UnusableSpace | None = None
    """Why the space cannot prepare anything, whatever the file."""


Decoded = PreparedPiece | DecodedFile
"""What a decoding thread hands over: pieces, then one `DecodedFile`."""


@dataclass
class FileJob:
    """One file on its way through decoding and encoding; changed by the encoding thread only."""

    file: IdentifiedFile
    decoding: bool = False
    """Whether a decoding thread fills the queue `pieces`."""
    pieces: queue.Queue[Decoded] = field(default_factory=lambda: queue.Queue(MAX_QUEUED_PIECES))
    result: DecodedFile = field(default_factory=DecodedFile)
    modalities: list[Modality] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    vectors: list[Vectors | None] = field(default_factory=list)
    encode_failure: str = ""
    """Why a piece cannot be encoded."""
    encode_deferral: str = ""
    """Why a piece could not be encoded this time."""

    def add_piece(self, piece: Piece) -> int:
        """Add a piece that is to be encoded; return its position."""
        self.modalities.append(piece.modality)
        self.spans.append(piece.span)
        text = " ".join(piece.content.split())[:SNIPPET_CHARACTERS] if isinstance(piece.content, str) else ""
        self.texts.append(text)
        self.vectors.append(None)
        return len(self.spans) - 1

    @property
    def deferral(self) -> str:
        """Why the file could not be read this time; empty if it could."""
        return self.file.deferral or self.result.deferral or self.encode_deferral

    @property
    def failure(self) -> str:
        """Why the content is quarantined; empty if it is not."""
        return self.result.failure or self.encode_failure or ("" if self.spans else NOTHING_TO_ENCODE)

    def outcome(self) -> FileOutcome:
        """Return what is to be done with the file once it has been decoded and encoded."""
        if self.file.vanished or self.result.vanished:
            return FileOutcome.VANISHED
        if self.deferral:
            return FileOutcome.DEFERRED
        if self.file.refused:
            return FileOutcome.REFUSED
        if self.file.kind is None:
            return FileOutcome.IGNORED
        if not self.decoding:
            return FileOutcome.KNOWN
        return FileOutcome.FAILED if self.failure else FileOutcome.DECODED

    def content(self) -> Content:
        """Return what was decoded and encoded, ready for the ledger."""
        assert self.file.kind is not None
        return Content(
            modality=self.file.kind.modality,
            format=self.file.kind.format,
            size=self.file.found.size,
            duration=self.result.duration,
            covered=self.result.covered,
            runs=[self._run(modality) for modality in dict.fromkeys(self.modalities)],
        )

    def _run(self, modality: Modality) -> Run:
        positions = [position for position, kind in enumerate(self.modalities) if kind == modality]
        rows = [row for position in positions if (row := self.vectors[position]) is not None]
        texts = [self.texts[position] for position in positions] if modality == Modality.TEXT else []
        return Run(modality, [self.spans[position] for position in positions], np.stack(rows), texts)


def decode_to_queue(file: IdentifiedFile, space: Space, target: queue.Queue[Decoded], halt: threading.Event) -> None:
    """Put the prepared pieces of a file into a queue, then how it ended, unless the run is halted."""
    put(target, decode_file(file, space, lambda piece: put(target, piece, halt)), halt)


def decode_file(file: IdentifiedFile, space: Space, emit: Callable[[PreparedPiece], bool]) -> DecodedFile:
    """Decode a file and prepare its pieces for the encoder; stop early if `emit` returns false."""
    try:
        result = _decode_pieces(file, space, emit)
        return result if stamp_of(file.found.path) == file.stamp else DecodedFile(deferral=CHANGED_MEANWHILE)
    except FileNotFoundError:
        return DecodedFile(vanished=True)
    except MediaError as error:
        return DecodedFile(failure=str(error))
    except OSError as error:
        return DecodedFile(deferral=error.strerror or str(error))
    except MemoryError:
        return DecodedFile(deferral=NO_MEMORY)
    except UnusableSpace as error:
        return DecodedFile(unusable=error)
    except Exception as error:  # a bug in a decoder must not stop the run: the file is quarantined with the error
        return DecodedFile(failure=f"cannot be decoded: unexpected error ({type(error).__name__}: {error})")


def _decode_pieces(file: IdentifiedFile, space: Space, emit: Callable[[PreparedPiece], bool]) -> DecodedFile:
    assert file.kind is not None
    spec = space.spec
    with decode(file.found.path, file.kind, spec.windowing, wanted=spec.modalities) as decoding:
        for piece in decoding:
            if not emit(PreparedPiece(piece, space.encoder.prepare(piece))):
                break
        return DecodedFile(decoding.duration, decoding.covered)
