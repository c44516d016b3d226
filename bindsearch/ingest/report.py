"""What a run of indexing did."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

BROKEN_LINK = "broken links"
"""The kind under which ignored links without a target are counted."""


@dataclass
class Report:
    """What a run of `Library.index` did, or one stage of it; parts are added with `+=`.

    A file is counted once, when this run processed it: as `added`, `changed`, `moved`, `copied` or `returned`.
    """

    added: int = 0
    changed: int = 0
    moved: int = 0
    copied: int = 0
    returned: int = 0
    """Files that were gone and are back with the same content."""
    unchanged: int = 0
    removed: int = 0
    ignored: int = 0
    """Files of other kinds that are new in this run."""
    ignored_kinds: dict[str, int] = field(default_factory=dict)
    """Suffix -> number of ignored files; links without a target are counted under `BROKEN_LINK`."""
    decoded: int = 0
    """Files that were decoded completely."""
    damaged: int = 0
    """Files that decoding found to be damaged."""
    segments: int = 0
    """Segments of the decoded files."""
    media_seconds: float = 0.0
    """Duration of the sounds and videos decoded in this run."""
    covered_seconds: float = 0.0
    """The part of `media_seconds` that lies inside segments."""
    quarantined: dict[Path, str] = field(default_factory=dict)
    """Unreadable files -> reason; retried only when they change."""
    still_quarantined: int = 0
    deferred: dict[Path, str] = field(default_factory=dict)
    """Files and folders that could not be read this time -> reason; the next run retries them."""
    stopped: bool = False
    elapsed: float = 0.0

    @property
    def coverage(self) -> float:
        """Share of the sound and video of this run that lies inside segments."""
        return self.covered_seconds / self.media_seconds if self.media_seconds else 1.0

    @property
    def processed(self) -> int:
        """Files that this run dealt with in any way, including unchanged ones."""
        new = self.added + self.changed + self.moved + self.copied + self.returned
        return new + self.unchanged + self.ignored + len(self.quarantined) + self.still_quarantined

    def __iadd__(self, other: Report) -> Self:
        """Add another part of the same run."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if each.name == "ignored_kinds":
                for kind, count in theirs.items():
                    mine[kind] = mine.get(kind, 0) + count
            elif isinstance(mine, dict):
                mine.update(theirs)
            elif isinstance(mine, bool):
                setattr(self, each.name, mine or theirs)
            else:
                setattr(self, each.name, mine + theirs)
        return self
