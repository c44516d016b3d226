"""Batches the prepared pieces of many files for the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bindsearch.errors import OutOfMemory, SpaceError, UnusableSpace
from bindsearch.ingest.file_job import FileJob, PreparedPiece
from bindsearch.spaces.space import Space
from bindsearch.types import Modality


@dataclass(frozen=True, slots=True)
class WaitingPiece:
    """A prepared piece and where its vector belongs."""

    job: FileJob
    position: int
    prepared: object


class EncodeStage:
    """Collects pieces by modality, and writes the vectors of full batches into their jobs."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._waiting: dict[Modality, list[WaitingPiece]] = {}

    def add(self, job: FileJob, piece: PreparedPiece) -> None:
        """Add a piece, and encode the batch that it completes. Raises `UnusableSpace`."""
        modality = piece.piece.modality
        batch = self._waiting.setdefault(modality, [])
        batch.append(WaitingPiece(job, job.add_piece(piece.piece), piece.prepared))
        if len(batch) >= self._space.batch_size(modality):
            self._encode(modality)

    def flush(self) -> None:
        """Encode all pieces that wait. Raises `UnusableSpace`."""
        for modality in list(self._waiting):
            self._encode(modality)

    def _encode(self, modality: Modality) -> None:
        batch = self._waiting.pop(modality, [])
        try:
            rows = self._space.encode(modality, [waiting.prepared for waiting in batch])
        except UnusableSpace:
            raise
        except SpaceError:
            self._encode_singly(modality, batch)
            return
        for waiting, row in zip(batch, rows, strict=True):
            waiting.job.vectors[waiting.position] = row

    def _encode_singly(self, modality: Modality, batch: Sequence[WaitingPiece]) -> None:
        """Encode the pieces of a failed batch one by one, so that only the file that the encoder rejects fails."""
        for waiting in batch:
            try:
                waiting.job.vectors[waiting.position] = self._space.encode(modality, [waiting.prepared])[0]
            except UnusableSpace:
                raise
            except OutOfMemory as error:  # not the file's fault
                waiting.job.encode_deferral = f"{error}; the next run tries again"
            except SpaceError as error:
                waiting.job.encode_failure = str(error)
