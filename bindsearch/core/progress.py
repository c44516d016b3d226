"""Progress of long-running work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """The progress of an index rebuild; the old index answers searches meanwhile."""

    modality: str
    kind: str
    stage: str
    """`building`, `measuring`, `writing`, `switching`, `clearing`."""
    done: int = 0
    total: int = 0
    """Segments, during the stage `building`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of an index run."""

    done: int
    """Files processed, unchanged ones not counted."""
    total: int | None
    """Files to process; None while the scan still runs."""
    segments: int
    path: Path | None
    """The file that was processed last; None at the end."""
    building: BuildProgress | None = None
    """Set once all files are processed and an index is rebuilt."""
