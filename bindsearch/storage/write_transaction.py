"""All changes that can be made to the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.storage.records import Content, PathRecord, Run, key_of, pack_path, pack_run, path_key
from bindsearch.storage.snapshot import TAGGER, Snapshot, concept_key, digest_in


class WriteTransaction(Snapshot):
    """A view that can also write; what it does happens whole or not at all."""

    def link(self, record: PathRecord) -> None:
        """Say what a path holds now; what it held before loses it."""
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
        """Forget a path. The metadata of a content's last path is kept in case the content comes back."""
        key = path_key(path)
        before = self._record(key)
        if before:
            self._txn.drop("paths", key)
            self._disown(before.digest, key)
            if before.metadata and before.digest != NO_CONTENT and not self.is_live(before.digest):
                self._txn.put("former", before.digest, json.dumps(dict(before.metadata)).encode())

    def put_item(self, digest: bytes, content: Content) -> int:
        """Store a content with its segments and vectors; one that is there already stays as it is."""
        known = self.item_of(digest)
        if known is not None:
            return known
        item = self._next("items")
        facts = {
            "hash": digest.hex(),
            "modality": content.modality,
            "format": content.format,
            "size": content.size,
            "duration": content.duration,
            "covered": content.covered,
            "runs": [self._put_run(item, run) for run in content.runs if len(run.spans)],
        }
        self._txn.put("items", key_of(item), json.dumps(facts).encode(), append=True)
        self._txn.put("contents", digest, key_of(item))
        self._txn.drop("quarantine", digest)
        if self.is_live(digest):
            self._note(digest, live=True)
        return item

    def put_former(self, gone: tuple[bytes, Mapping[str, str]]) -> None:
        """Keep the metadata of a content's last path in case the content comes back."""
        digest, metadata = gone
        self._txn.put("former", digest, json.dumps(dict(metadata)).encode())

    def put_quarantine(self, digest: bytes, reason: str) -> None:
        """Remember that a content cannot be read."""
        self._txn.put("quarantine", digest, reason.encode())

    def forget(self, record: PathRecord) -> None:
        """Forget a path, and its content with it if no other path holds that."""
        self.unlink(record.path)
        if record.digest != NO_CONTENT and not self.is_live(record.digest):
            self._txn.drop("quarantine", record.digest)
            item = self.item_of(record.digest)
            if item is not None:
                self.drop_item(item)

    def drop_item(self, item: int) -> None:
        """Forget an item, its segments and its vectors; its paths must be unlinked or re-indexed by the caller."""
        facts = self.facts(item)
        if facts is None:
            return
        digest = digest_in(facts)
        if self.is_live(digest):
            self._note(digest, live=False)
        for first, _, _ in facts["runs"]:
            self.drop_run(first)
        for number in self.taggers():
            self._txn.drop("tags", key_of(number) + key_of(item))
        self._txn.drop("former", digest)
        self._txn.drop("items", key_of(item))
        if self.item_of(digest) == item:
            self._txn.drop("contents", digest)

    def drop_record(self, item: int) -> None:
        """Drop an item's facts, which cannot be read; what hangs on them is then found to be astray."""
        self._txn.drop("items", key_of(item))

    def drop_run(self, first: int) -> None:
        """Forget a run of segments and its vectors."""
        for segment in self.run(first):
            self._txn.drop("texts", key_of(segment.id))
        self._txn.drop("runs", key_of(first))
        self._txn.drop("vectors", key_of(first))

    def drop_content(self, digest: bytes) -> None:
        """Forget which item a content is."""
        self._txn.drop("contents", digest)

    def set_owners(self, digest: bytes, keys: Set[bytes]) -> None:
        """Make exactly the paths of these keys the owners of a content."""
        present = set(self._txn.values("owners", digest))
        for key in present - keys:
            self._txn.drop("owners", digest, key)
        for key in keys - present:
            self._txn.put("owners", digest, key)

    def set_roots(self, roots: Sequence[Path]) -> None:
        """Remember the folders and files that `index` was asked for."""
        self._txn.put("meta", b"roots", json.dumps([str(root) for root in roots]).encode())

    def put_concept(self, concept: tuple[str, Mapping[str, Any]]) -> None:
        """Save a concept: its name, and what is to be known of it."""
        name, told = concept
        self._txn.put("meta", concept_key(name), json.dumps(dict(told)).encode())

    def drop_concept(self, name: str) -> None:
        """Forget a concept."""
        self._txn.drop("meta", concept_key(name))

    def put_tagger(self, told: Mapping[str, Any], raw: bytes) -> int:
        """Keep a classifier that tags items, and what is to be known of it; give its number."""
        number = self._next("taggers")
        self._txn.put("tags", key_of(number), raw)
        self.set_tagger((number, told))
        return number

    def set_tagger(self, known: tuple[int, Mapping[str, Any]]) -> None:
        """Say what is to be known of a classifier; of one that says no tags any more, nothing."""
        number, told = known
        if told["columns"]:
            self._txn.put("meta", TAGGER + key_of(number), json.dumps(dict(told)).encode())
        else:
            self._txn.drop("meta", TAGGER + key_of(number))

    def put_tags(self, tagged: tuple[int, int, NDArray[np.float32]]) -> None:
        """Say how probable the answers of a classifier are for an item."""
        number, item, row = tagged
        self._txn.put("tags", key_of(number) + key_of(item), np.ascontiguousarray(row, dtype="<f4").tobytes())

    def drop_tags(self, key: tuple[int, int | None]) -> None:
        """Drop what a classifier says of an item, or, of none, the classifier itself."""
        number, item = key
        self._txn.drop("tags", key_of(number) + (b"" if item is None else key_of(item)))

    def prune_log(self, upto: int, *, most: int) -> None:
        """Drop at most some entries up to a position; indexes must have taken them in."""
        first = self.log_start() + 1
        for position in range(first, min(upto, first + most - 1) + 1):
            self._txn.drop("log", key_of(position))
            self._txn.put("meta", b"pruned", key_of(position))

    def _put_run(self, item: int, run: Run) -> tuple[int, str, int]:
        first = self._next("segments", len(run.spans))
        self._txn.put("runs", key_of(first), pack_run(item, run), append=True)
        for segment, text in enumerate(run.texts, first):
            self._txn.put("texts", key_of(segment), text.encode(errors="surrogatepass"))
        block = np.ascontiguousarray(run.vectors, dtype=np.float16).tobytes()
        self._txn.put("vectors", key_of(first), block, append=True)
        return first, run.modality, len(run.spans)

    def _disown(self, digest: bytes, key: bytes) -> None:
        if digest == NO_CONTENT:
            return
        self._txn.drop("owners", digest, key)
        if not self.is_live(digest):
            self._note(digest, live=False)

    def _note(self, digest: bytes, *, live: bool) -> None:
        item = self.item_of(digest)
        facts = None if item is None else self.facts(item)
        if facts is not None:
            entry = {"item": item, "live": live, "modality": facts["modality"], "runs": facts["runs"]}
            self._txn.put("log", key_of(self._next("position")), json.dumps(entry).encode(), append=True)

    def _next(self, counter: str, step: int = 1) -> int:
        """Take `step` numbers that were never used before; give the first of them."""
        last = self._counter(counter)
        self._txn.put("meta", counter.encode(), key_of(last + step))
        return last + 1
