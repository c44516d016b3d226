"""What is in a library, what is put aside and why, and what it costs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bindsearch.gallery import Gallery
from bindsearch.records import NO_CONTENT
from bindsearch.schema import Card
from bindsearch.types import Modality
from bindsearch.view import View, digest_in


@dataclass(frozen=True)
class Status:
    """A library at one moment."""

    path: Path
    space: str
    fingerprint: str
    dim: int
    schema: int
    items_by_modality: dict[str, int]
    segments_by_modality: dict[str, int]
    hours: float
    """Of sound and video."""
    dormant: int
    """Items whose files are gone; their vectors are kept in case they come back."""
    quarantine: dict[Path, str]
    roots: list[Path]
    ledger_bytes: int
    index_bytes: int
    indexes: dict[str, str]
    """Modality -> kind of index."""
    certificates: dict[str, dict[str, Any]]
    """Modality -> what its index was measured to find, for those that may not find everything."""

    @property
    def items(self) -> int:
        """Live items."""
        return sum(self.items_by_modality.values())

    @property
    def segments(self) -> int:
        """Segments of live items."""
        return sum(self.segments_by_modality.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        told = asdict(self)
        told["path"] = str(self.path)
        told["quarantine"] = {str(path): reason for path, reason in self.quarantine.items()}
        told["roots"] = [str(root) for root in self.roots]
        return told | {"items": self.items, "segments": self.segments}


def status_of(view: View, path: Path, card: Card, ledger_bytes: int, gallery: Gallery) -> Status:
    """Count what a view of the ledger holds."""
    items = dict.fromkeys(map(str, Modality), 0)
    segments = dict.fromkeys(map(str, Modality), 0)
    dormant, seconds = 0, 0.0
    for _, facts in view.items():
        if not view.is_live(digest_in(facts)):
            dormant += 1
            continue
        items[facts["modality"]] += 1
        seconds += facts["duration"] or 0.0
        for _, modality, count in facts["runs"]:
            segments[modality] += count
    return Status(
        path=path,
        space=card.space,
        fingerprint=card.fingerprint,
        dim=card.dim,
        schema=card.schema,
        items_by_modality=items,
        segments_by_modality=segments,
        hours=seconds / 3600,
        dormant=dormant,
        quarantine=quarantine_of(view),
        roots=view.roots(),
        ledger_bytes=ledger_bytes,
        index_bytes=gallery.bytes_used(),
        indexes=gallery.kinds(),
        certificates=gallery.stored_certificates(),
    )


def quarantine_of(view: View) -> dict[Path, str]:
    """Give every path that cannot be read, and why: for its content, or for its name."""
    told = {record.path: record.refused for record in view.paths() if record.refused}
    for digest, reason in view.quarantine():
        told |= {record.path: reason for record in view.owners(digest) if digest != NO_CONTENT}
    return dict(sorted(told.items()))
