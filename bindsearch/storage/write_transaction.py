"""Write transactions: every change that can be made to the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict
from pathlib import Path
from typing import Concatenate, ParamSpec

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.storage.records import (
    ConceptRecord,
    Content,
    ItemRecord,
    PathRecord,
    Run,
    RunRef,
    TaggerRecord,
    key_of,
    pack_concept,
    pack_item,
    pack_log_entry,
    pack_path,
    pack_run,
    path_key,
)
from bindsearch.storage.snapshot import INDEXED_FOLDERS, TAGGER, Snapshot, concept_key

Arguments = ParamSpec("Arguments")


class WriteTransaction(Snapshot):
    """A snapshot that can also write. Its changes are committed as a whole or not at all."""

    def link(self, record: PathRecord) -> None:
        """Record which content a path holds; the content that it held before loses this path."""
        key = path_key(record.path)
        before = self._record(key)
        if before and before.digest != record.digest:
            self._disown(before.digest, key)
        self._txn.put("paths", key, pack_path(record))
        if record.digest != NO_CONTENT and not (before and before.digest == record.digest):
            was_live = self.is_live(record.digest)
            self._txn.put("owners", record.digest, key)
            if not was_live:
                self._note(record.digest, live=True)

    def unlink(self, path: Path) -> None:
        """Remove a path. The metadata of a content's last path is stored in case the content comes back."""
        key = path_key(path)
        before = self._record(key)
        if before:
            self._txn.drop("paths", key)
            self._disown(before.digest, key)
            if before.metadata and before.digest != NO_CONTENT and not self.is_live(before.digest):
                self._txn.put("former", before.digest, json.dumps(dict(before.metadata)).encode())

    def put_item(self, digest: bytes, content: Content) -> int:
        """Store a content with its segments and vectors, unless it is stored already; return its item."""
        known = self.item_of(digest)
        if known is not None:
            return known
        item = self._next("items")
        record = ItemRecord(
            digest=digest,
            modality=content.modality,
            format=content.format,
            size=content.size,
            duration=content.duration,
            covered=content.covered,
            runs=tuple(self._put_run(item, run) for run in content.runs if len(run.spans)),
        )
        self._txn.put("items", key_of(item), pack_item(record), append=True)
        self._txn.put("contents", digest, key_of(item))
        self._txn.drop("quarantine", digest)
        if self.is_live(digest):
            self._note(digest, live=True)
        return item

    def put_former(self, digest: bytes, metadata: Mapping[str, str]) -> None:
        """Store the metadata of a content's last path in case the content comes back."""
        self._txn.put("former", digest, json.dumps(dict(metadata)).encode())

    def put_quarantine(self, digest: bytes, reason: str) -> None:
        """Put a content into quarantine."""
        self._txn.put("quarantine", digest, reason.encode())

    def forget(self, record: PathRecord) -> None:
        """Remove a path, and its content too if no other path holds it."""
        self.unlink(record.path)
        if record.digest != NO_CONTENT and not self.is_live(record.digest):
            self._txn.drop("quarantine", record.digest)
            item = self.item_of(record.digest)
            if item is not None:
                self.drop_item(item)

    def drop_item(self, item: int) -> None:
        """Remove an item with its segments, vectors and tags. The caller must unlink or re-index its paths."""
        record = self.item_record(item)
        if record is None:
            return
        if self.is_live(record.digest):
            self._note(record.digest, live=False)
        for run in record.runs:
            self.drop_run(run.first)
        for number in self.taggers():
            self._txn.drop("tags", key_of(number) + key_of(item))
        self._txn.drop("former", record.digest)
        self._txn.drop("items", key_of(item))
        if self.item_of(record.digest) == item:
            self._txn.drop("contents", record.digest)

    def drop_record(self, item: int) -> None:
        """Drop the unreadable record of an item; the doctor then finds what belonged to it without an owner."""
        self._txn.drop("items", key_of(item))

    def drop_run(self, first: int) -> None:
        """Drop a run of segments with its vectors and texts."""
        for segment in self.run(first):
            self._txn.drop("texts", key_of(segment.id))
        self._txn.drop("runs", key_of(first))
        self._txn.drop("vectors", key_of(first))

    def drop_content(self, digest: bytes) -> None:
        """Drop the link from a content to its item."""
        self._txn.drop("contents", digest)

    def set_owners(self, digest: bytes, keys: Set[bytes]) -> None:
        """Make the paths with these keys, and no others, the owners of a content."""
        present = set(self._txn.values("owners", digest))
        for key in present - keys:
            self._txn.drop("owners", digest, key)
        for key in keys - present:
            self._txn.put("owners", digest, key)

    def set_indexed_folders(self, folders: Sequence[Path]) -> None:
        """Store the folders and files that `index` was given."""
        self._txn.put("meta", INDEXED_FOLDERS, json.dumps([str(folder) for folder in folders]).encode())

    def put_concept(self, name: str, record: ConceptRecord) -> None:
        """Save the record of a concept; a concept of the same name is replaced."""
        self._txn.put("meta", concept_key(name), pack_concept(record))

    def drop_concept(self, name: str) -> None:
        """Remove a concept."""
        self._txn.drop("meta", concept_key(name))

    def put_tagger(self, record: TaggerRecord, raw: bytes) -> int:
        """Store a classifier that tags items, packed in `raw`, with its record; return its number."""
        number = self._next("taggers")
        self._txn.put("tags", key_of(number), raw)
        self.set_tagger(number, record)
        return number

    def set_tagger(self, number: int, record: TaggerRecord) -> None:
        """Replace the record of a classifier, or drop it when no tags are left."""
        if record.columns:
            self._txn.put("meta", TAGGER + key_of(number), json.dumps(asdict(record)).encode())
        else:
            self.drop_tagger(number)

    def drop_tagger(self, number: int) -> None:
        """Drop the record of a classifier. `drop_tags` drops its rows and its bytes."""
        self._txn.drop("meta", TAGGER + key_of(number))

    def put_tags(self, number: int, item: int, probabilities: NDArray[np.float32]) -> None:
        """Store the probabilities that a classifier gives its answers for an item."""
        row = np.ascontiguousarray(probabilities, dtype="<f4")
        self._txn.put("tags", key_of(number) + key_of(item), row.tobytes())

    def drop_tags(self, number: int, item: int | None) -> None:
        """Drop the row of an item, or the bytes of the classifier if `item` is None."""
        self._txn.drop("tags", key_of(number) + (b"" if item is None else key_of(item)))

    def prune_log(self, upto: int, *, limit: int) -> None:
        """Drop the oldest entries up to a position, at most `limit` of them. Saved indexes must have reached it."""
        first = self.log_start() + 1
        for position in range(first, min(upto, first + limit - 1) + 1):
            self._txn.drop("log", key_of(position))
            self._txn.put("meta", b"pruned", key_of(position))

    def _put_run(self, item: int, run: Run) -> RunRef:
        first = self._next("segments", len(run.spans))
        self._txn.put("runs", key_of(first), pack_run(item, run), append=True)
        for segment, text in enumerate(run.texts, first):
            self._txn.put("texts", key_of(segment), text.encode(errors="surrogatepass"))
        block = np.ascontiguousarray(run.vectors, dtype=np.float16).tobytes()
        self._txn.put("vectors", key_of(first), block, append=True)
        return RunRef(first, run.modality, len(run.spans))

    def _disown(self, digest: bytes, key: bytes) -> None:
        if digest == NO_CONTENT:
            return
        self._txn.drop("owners", digest, key)
        if not self.is_live(digest):
            self._note(digest, live=False)

    def _note(self, digest: bytes, *, live: bool) -> None:
        item = self.item_of(digest)
        record = None if item is None else self.item_record(item)
        if item is not None and record is not None:
            entry = pack_log_entry(item, record, live=live)
            self._txn.put("log", key_of(self._next("position")), entry, append=True)

    def _next(self, counter: str, step: int = 1) -> int:
        """Reserve `step` numbers that were never used before; return the first."""
        last = self._counter(counter)
        self._txn.put("meta", counter.encode(), key_of(last + step))
        return last + 1


Change = Callable[[WriteTransaction], None]


def deferred(
    method: Callable[Concatenate[WriteTransaction, Arguments], object],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Change:
    """Return the change that calls a method of `WriteTransaction` with these arguments."""

    def change(txn: WriteTransaction) -> None:
        method(txn, *args, **kwargs)

    return change
