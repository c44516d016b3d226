"""Progress of long-running work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far an index has come that is made anew, while the one before it answers."""

    modality: str
    kind: str
    stage: str
    """`building`, `measuring`, `writing`, `switching`, `clearing`."""
    done: int = 0
    total: int = 0
    """Of its segments, while it is built."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come."""

    done: int
    """Files settled of those that were not unchanged."""
    total: int | None
    """Files that need work; None while the scan still runs."""
    segments: int
    path: Path | None
    """The file that was settled last; None at the end."""
    building: BuildProgress | None = None
    """Once all files are settled: the index that is made anew."""
