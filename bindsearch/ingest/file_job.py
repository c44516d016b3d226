"""A file on its way through decoding and encoding."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field

import numpy as np

from bindsearch.core.file_state import stamp_of
from bindsearch.errors import MediaError, UnusableSpace
from bindsearch.ingest.identify import CHANGED_MEANWHILE, NO_MEMORY, IdentifiedFile
from bindsearch.ingest.threads import put
from bindsearch.media import decode
from bindsearch.spaces.space import Space
from bindsearch.storage.records import Content, Run
from bindsearch.types import Modality, Piece, Span, Vectors

PIECES_AHEAD = 16
"""Prepared pieces that one decoding file may hold before it waits."""
SNIPPET = 200
"""Characters of a passage that are kept for showing."""


@dataclass(frozen=True, slots=True)
class PreparedPiece:
    """What a decoding thread hands over: a prepared piece, or None at the end."""

    piece: Piece | None
    prepared: object = None


@dataclass
class FileJob:
    """A file on its way through decoding and encoding."""

    file: IdentifiedFile
    pieces: queue.Queue[PreparedPiece] = field(default_factory=lambda: queue.Queue(PIECES_AHEAD))
    decoding: bool = False
    modalities: list[Modality] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    vectors: list[Vectors | None] = field(default_factory=list)
    failure: str = ""
    deferral: str = ""
    unusable: UnusableSpace | None = None
    """Why nothing can be prepared for the space, whatever the file."""
    duration: float | None = None
    covered: float = 1.0

    def enlist(self, piece: Piece) -> int:
        """Take note of a piece that is to be encoded; give its place."""
        self.modalities.append(piece.modality)
        self.spans.append(piece.span)
        self.texts.append(" ".join(piece.content.split())[:SNIPPET] if isinstance(piece.content, str) else "")
        self.vectors.append(None)
        return len(self.spans) - 1

    def outcome(self) -> str:
        """Say in one word what is to be done with the file."""
        file = self.file
        if file.vanished:
            return "vanished"
        if file.deferral or self.deferral:
            return "trouble"
        if file.refused:
            return "refused"
        if file.kind is None:
            return "ignored"
        if not self.decoding:
            return "known"
        if not self.failure and not self.spans:
            self.failure = "holds nothing that this space can see, hear or read"
        return "failed" if self.failure else "decoded"

    def content(self) -> Content:
        """Return what was decoded and encoded, ready for the ledger."""
        assert self.file.kind is not None
        return Content(
            modality=self.file.kind.modality,
            format=self.file.kind.format,
            size=self.file.found.size,
            duration=self.duration,
            covered=self.covered,
            runs=[self._run(modality) for modality in dict.fromkeys(self.modalities)],
        )

    def _run(self, modality: Modality) -> Run:
        places = [place for place, kind in enumerate(self.modalities) if kind == modality]
        rows = [row for place in places if (row := self.vectors[place]) is not None]
        texts = [self.texts[place] for place in places] if modality == Modality.TEXT else []
        return Run(modality, [self.spans[place] for place in places], np.stack(rows), texts)


def decode_into(job: FileJob, space: Space, halt: threading.Event) -> None:
    """Decode a job's file, preparing its pieces, until it ends, fails or the run is halted."""
    assert job.file.kind is not None
    path, spec = job.file.found.path, space.spec
    try:
        with decode(path, job.file.kind, spec.windowing, wanted=spec.modalities) as decoding:
            for piece in decoding:
                if not put(job.pieces, PreparedPiece(piece, space.encoder.prepare(piece)), halt):
                    return
            job.duration, job.covered = decoding.duration, decoding.covered
        if stamp_of(path) != job.file.stamp:
            job.deferral = CHANGED_MEANWHILE
    except FileNotFoundError:
        job.file.vanished = True
    except MediaError as error:
        job.failure = str(error)
    except OSError as error:
        job.deferral = error.strerror or str(error)
    except MemoryError:
        job.deferral = NO_MEMORY
    except UnusableSpace as error:
        job.unusable = error
    except Exception as error:  # a decoder's bug must not stop the run: the file is put aside with its words
        job.failure = f"cannot be decoded, for a reason that is not known ({type(error).__name__}: {error})"
    finally:
        put(job.pieces, PreparedPiece(None), halt)
