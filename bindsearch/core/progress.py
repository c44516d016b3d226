"""Progress of long-running work."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class BuildStage(StrEnum):
    """The stages of an index rebuild, in order."""

    BUILDING = "building"
    MEASURING = "measuring"
    WRITING = "writing"
    SWITCHING = "switching"
    CLEARING = "clearing"


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """The progress of an index rebuild; the old index answers searches meanwhile."""

    modality: str
    kind: str
    stage: BuildStage
    done: int = 0
    total: int = 0
    """Segments, during the stage `BUILDING`."""


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
