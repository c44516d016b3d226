"""What a run of indexing did, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

BROKEN_LINK = "links to nothing"


@dataclass
class Report:
    """What a run of `Library.index` did.

    A file counts once: `added`, `changed`, `moved`, `copied` or `returned` when it was settled in this run.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    returned: int = 0
    """Files that were gone, and are back with the content they had."""
    unchanged: int = 0
    removed: int = 0
    ignored: int = 0
    """Files of other kinds, new in this run."""
    ignored_kinds: dict[str, int] = field(default_factory=dict)
    """How many of them have which ending; links that lead nowhere stand under `BROKEN_LINK`."""
    decoded: int = 0
    """Files that were decoded, whole."""
    damaged: int = 0
    """Files that decoding found to be damaged."""
    segments: int = 0
    """Segments of the files that were decoded."""
    media_seconds: float = 0.0
    """Of the sounds and videos decoded in this run."""
    covered_seconds: float = 0.0
    """How much of them lies inside segments."""
    quarantined: dict[Path, str] = field(default_factory=dict)
    """Files that cannot be read, and why; tried again only when they change."""
    still_quarantined: int = 0
    deferred: dict[Path, str] = field(default_factory=dict)
    """Files and folders that could not be looked at in this run; tried again in the next."""
    stopped: bool = False
    elapsed: float = 0.0

    @property
    def coverage(self) -> float:
        """Share of the sound and video of this run that lies inside segments."""
        return self.covered_seconds / self.media_seconds if self.media_seconds else 1.0

    @property
    def processed(self) -> int:
        """Files that this run settled in any way, unchanged ones included."""
        new = self.added + self.changed + self.moved + self.copied + self.returned
        return new + self.unchanged + self.ignored + len(self.quarantined) + self.still_quarantined
