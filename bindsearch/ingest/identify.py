"""What kind of file a path holds, which content, and what linking the path changes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT, Stamp, digest_of, is_gone, stamp_of
from bindsearch.errors import MediaError
from bindsearch.media import MediaKind, ScannedFile, identify
from bindsearch.storage.records import PathRecord
from bindsearch.storage.write_transaction import WriteTransaction

CHANGED_MEANWHILE = "it changed while it was read; the next run takes it"
NO_MEMORY = "there was not enough memory to read it; the next run tries again"


@dataclass(slots=True)
class IdentifiedFile:
    """A file with its kind and the digest of its content, or why there is none."""

    found: ScannedFile
    kind: MediaKind | None = None
    digest: bytes = NO_CONTENT
    refused: str = ""
    """Why the file was refused before its content was hashed; stored with the path."""
    deferral: str = ""
    """Why the file could not be read this time."""
    vanished: bool = False

    @property
    def stamp(self) -> Stamp:
        """The file's stamp when it was scanned."""
        return Stamp(self.found.size, self.found.mtime_ns)


@dataclass(frozen=True, slots=True)
class PathChange:
    """What linking a path to a content changes, as the ledger is before it."""

    digest: bytes
    quarantined: str
    had: bytes
    """The content that the path had before, if any."""
    known: bool
    """Whether the content is an item or in quarantine."""
    live: bool
    """Whether another path has the content."""
    moved_from: PathRecord | None
    """A vanished path that had the content: the file was moved from there."""

    @classmethod
    def of(cls, txn: WriteTransaction, path: Path, digest: bytes) -> PathChange:
        """Compare with the ledger as it is before the path is linked."""
        before = txn.path(path)
        others = [record for record in txn.owners(digest) if record.path != path]
        quarantined = txn.quarantined(digest) or ""
        return cls(
            digest=digest,
            quarantined=quarantined,
            had=before.digest if before else NO_CONTENT,
            known=digest == NO_CONTENT or bool(quarantined) or txn.item_of(digest) is not None,
            live=bool(others),
            moved_from=None if before else _origin(path, others),
        )


def identify_file(found: ScannedFile, halt: threading.Event) -> IdentifiedFile:
    """Identify a file and hash its content. Failures are part of the result; nothing is raised."""
    file = IdentifiedFile(found)
    if found.broken_link:
        return file
    try:
        file.kind = identify(found.path)
        if file.kind is not None:
            file.digest = digest_of(found.path, halt)
        if stamp_of(found.path) != file.stamp:
            file.deferral = CHANGED_MEANWHILE
    except MediaError as error:
        file.refused = str(error)
    except FileNotFoundError:
        file.vanished = True
    except OSError as error:
        file.deferral = error.strerror or str(error)
    except MemoryError:
        file.deferral = NO_MEMORY
    except Exception as error:  # as in decoding: one file must not stop the run
        file.refused = f"cannot be identified: unexpected error ({type(error).__name__}: {error})"
    return file


def _origin(path: Path, others: Sequence[PathRecord]) -> PathRecord | None:
    """Return the vanished path that a file most likely came from: one of the same name first."""
    gone = [record for record in others if is_gone(record.path)]
    return min(gone, key=lambda record: record.path.name != path.name, default=None)
