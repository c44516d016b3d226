"""A snapshot of the ledger: everything that can be read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bindsearch.core.vectors import unit
from bindsearch.errors import CorruptLibrary
from bindsearch.storage.lmdb_env import Transaction
from bindsearch.storage.records import (
    MAX_KEY_BYTES,
    ConceptRecord,
    ItemRecord,
    LogEntry,
    PathRecord,
    RunRef,
    TaggerRecord,
    key_of,
    number_of,
    path_key,
    unpack_concept,
    unpack_head,
    unpack_item,
    unpack_log_entry,
    unpack_path,
    unpack_spans,
)
from bindsearch.types import Item, Modality, Segment, Vectors


class Snapshot:
    """The ledger as it was when its read transaction began."""

    def __init__(self, transaction: Transaction, dim: int) -> None:
        self._txn = transaction
        self._dim = dim

    def path(self, path: Path) -> PathRecord | None:
        """Return the record of a path; None if it is not in the ledger."""
        return self._record(path_key(path))

    def paths(self, under: Path | None = None) -> Iterator[PathRecord]:
        """Return the records of all paths, or of those at and below one."""
        prefix = b"" if under is None else os.fsencode(under)[:MAX_KEY_BYTES]
        for key, value in self._txn.scan("paths", prefix):
            if not key.startswith(prefix):
                return
            record = unpack_path(key, value)
            if under is None or record.path == under or under in record.path.parents:
                yield record

    def owners(self, digest: bytes) -> list[PathRecord]:
        """Return the records of the paths that hold a content."""
        records = (self._record(key) for key in self._txn.values("owners", digest))
        return [record for record in records if record]

    def item_of(self, digest: bytes) -> int | None:
        """Return the item of a content; None if there is none."""
        found = self._txn.get("contents", digest)
        return None if found is None else number_of(found)

    def is_live(self, digest: bytes) -> bool:
        """Whether any path holds a content."""
        return self._txn.get("owners", digest) is not None

    def quarantined(self, digest: bytes) -> str | None:
        """Return why a content is in quarantine; None if it is not."""
        found = self._txn.get("quarantine", digest)
        return None if found is None else found.decode()

    def item_record(self, item: int) -> ItemRecord | None:
        """Return the record of an item, None if there is no such item. Raises `CorruptLibrary`."""
        found = self._txn.get("items", key_of(item))
        return None if found is None else _unpack_item(item, found)

    def runs_of(self, item: int) -> tuple[RunRef, ...]:
        """Return the runs of an item; none if there is no such item. Raises `CorruptLibrary`."""
        record = self.item_record(item)
        return () if record is None else record.runs

    def items(self) -> Iterator[tuple[int, ItemRecord]]:
        """Return all items with their records, live or not. Raises `CorruptLibrary`."""
        return self.items_after(-1)

    def items_after(self, item: int) -> Iterator[tuple[int, ItemRecord]]:
        """Return the items with higher numbers than `item`, with their records. Raises `CorruptLibrary`."""
        for key, value in self._txn.scan("items", key_of(item + 1)):
            yield number_of(key), _unpack_item(number_of(key), value)

    def live_items(self) -> Iterator[tuple[int, ItemRecord]]:
        """Return the items that at least one path holds, with their records. Raises `CorruptLibrary`."""
        return ((item, record) for item, record in self.items() if self.is_live(record.digest))

    def damaged_items(self) -> list[int]:
        """Return the items whose records cannot be read."""
        return [number_of(key) for key, value in self._txn.scan("items") if not _is_readable(key, value)]

    def item(self, item: int) -> Item | None:
        """Return an item with its segments and paths; None if there is no such item."""
        record = self.item_record(item)
        if record is None:
            return None
        return Item(
            id=item,
            hash=record.digest.hex(),
            modality=record.modality,
            size=record.size,
            duration=record.duration,
            segments=[segment for run in record.runs for segment in self.run(run.first)],
            paths=[owner.path for owner in self.owners(record.digest)],
        )

    def run(self, first: int) -> list[Segment]:
        """Return the segments of the run that begins at `first`; none if there is no such run."""
        value = self._txn.view("runs", key_of(first))
        if value is None:
            return []
        _, modality, _ = unpack_head(value)
        return [
            Segment(first + row, modality, span, self._text(modality, first + row))
            for row, span in enumerate(unpack_spans(value))
        ]

    def run_head(self, first: int) -> tuple[int, Modality, int] | None:
        """Return the item, the modality and the number of segments of a run; None if there is no such run."""
        value = self._txn.view("runs", key_of(first))
        return None if value is None else unpack_head(value)

    def owner_of(self, segment: int) -> int | None:
        """Return the item that contains a segment; None if there is no such segment."""
        located = self._locate(segment)
        return None if located is None else unpack_head(located[1])[0]

    def segment(self, segment: int) -> Segment | None:
        """Return a segment; None if there is no such segment."""
        located = self._locate(segment)
        if located is None:
            return None
        first, value = located
        modality, row = unpack_head(value)[1], segment - first
        return Segment(segment, modality, unpack_spans(value, slice(row, row + 1))[0], self._text(modality, segment))

    def run_firsts(self) -> Iterator[int]:
        """Return the first segment of every run."""
        return (number_of(key) for key in self._txn.keys("runs"))

    def vectors(self, first: int) -> Vectors:
        """Return the unit vectors of a run. Raises `CorruptLibrary`. *Shape:* (n, dim)."""
        try:
            return unit(self.raw_vectors(first))
        except (KeyError, ValueError) as error:
            raise CorruptLibrary(
                f"the vectors from segment {first} on are missing or truncated: run `bindsearch doctor --repair`"
            ) from error

    def vector(self, segment: int) -> Vectors:
        """Return the unit vector of a segment. Raises `CorruptLibrary`. *Shape:* (dim,)"""
        located = self._locate(segment)
        if located is None:
            raise CorruptLibrary(f"segment {segment} is missing: run `bindsearch doctor --repair`")
        vector: Vectors = self.vectors(located[0])[segment - located[0]]
        return vector

    def raw_vectors(self, first: int) -> NDArray[np.float16]:
        """Return the stored vectors of a run. Raises `KeyError` if they are missing, `ValueError` if truncated."""
        found = self._txn.view("vectors", key_of(first))
        if found is None:
            raise KeyError(first)
        return np.frombuffer(found, dtype=np.float16).reshape(-1, self._dim)

    def vector_firsts(self) -> Iterator[int]:
        """Return the first segment of every block of vectors."""
        return (number_of(key) for key in self._txn.keys("vectors"))

    def contents(self) -> Iterator[tuple[bytes, int]]:
        """Return every content with its item."""
        return ((key, number_of(value)) for key, value in self._txn.scan("contents"))

    def path_keys(self) -> Iterator[tuple[bytes, PathRecord]]:
        """Return every path record with its key."""
        return ((key, unpack_path(key, value)) for key, value in self._txn.scan("paths"))

    def owner_keys(self) -> Iterator[tuple[bytes, bytes]]:
        """Return every pair of a content and the key of a path that holds it."""
        return self._txn.scan("owners")

    def quarantine(self) -> Iterator[tuple[bytes, str]]:
        """Return every content in quarantine, with the reason."""
        return ((key, value.decode()) for key, value in self._txn.scan("quarantine"))

    def log(self, after: int = 0) -> Iterator[LogEntry]:
        """Return the log entries after a position."""
        for key, value in self._txn.scan("log", key_of(after + 1)):
            yield unpack_log_entry(number_of(key), value)

    def log_start(self) -> int:
        """Return the position up to which the log was pruned."""
        return self._counter("pruned")

    def position(self) -> int:
        """Return the position of the last entry of the log."""
        return self._counter("position")

    def indexed_folders(self) -> list[Path]:
        """Return the folders and files that `index` was given."""
        found = self._txn.get("meta", INDEXED_FOLDERS)
        return [Path(folder) for folder in json.loads(found)] if found else []

    def concept(self, name: str) -> ConceptRecord | None:
        """Return the saved record of a concept; None if there is no such concept."""
        found = self._txn.get("meta", concept_key(name))
        return None if found is None else unpack_concept(found)

    def concepts(self) -> dict[str, ConceptRecord]:
        """Return the saved records of all concepts, sorted by name."""
        prefix = concept_key("")
        found = ((key, value) for key, value in self._txn.scan("meta", prefix) if key.startswith(prefix))
        return {key.removeprefix(prefix).decode(): unpack_concept(value) for key, value in found}

    def taggers(self) -> dict[int, TaggerRecord]:
        """Return the record of every classifier that tags items, by its number, oldest first."""
        found = ((key, value) for key, value in self._txn.scan("meta", TAGGER) if key.startswith(TAGGER))
        return {number_of(key.removeprefix(TAGGER)): TaggerRecord(**json.loads(value)) for key, value in found}

    def tag_columns(self) -> dict[str, tuple[int, int]]:
        """Return the number of the classifier of each tag, and the column of the tag in its rows."""
        taggers = self.taggers().items()
        return {label: (number, column) for number, tagger in taggers for label, column in tagger.columns.items()}

    def tagger(self, number: int) -> bytes:
        """Return the stored bytes of a classifier that tags items. Raises `CorruptLibrary`."""
        found = self._txn.get("tags", key_of(number))
        if found is None:
            raise CorruptLibrary(
                "the classifier of some tags is missing: run `bindsearch doctor --repair`, which drops the tags"
            )
        return found

    def tag_rows(self, number: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Return the items that a classifier has tagged, with the probabilities of its answers."""
        prefix = key_of(number)
        for key, value in self._txn.scan("tags", prefix):
            if not key.startswith(prefix):
                return
            if len(key) > len(prefix):
                yield number_of(key[len(prefix) :]), np.frombuffer(value, dtype="<f4")

    def tag_row(self, number: int, item: int) -> NDArray[np.float32] | None:
        """Return the probabilities that a classifier gave its answers for an item; None if it did not tag the item."""
        found = self._txn.get("tags", key_of(number) + key_of(item))
        return None if found is None else np.frombuffer(found, dtype="<f4")

    def tag_keys(self) -> Iterator[tuple[int, int | None]]:
        """Return every classifier and item with a stored row; the item is None for the classifier itself."""
        for key in self._txn.keys("tags") if self._txn.has("tags") else ():
            yield number_of(key[:8]), number_of(key[8:]) if len(key) > 8 else None

    def last_item(self) -> int:
        """Return the highest item number; 0 in an empty ledger."""
        found = self._txn.floor("items", b"\xff" * 8)
        return 0 if found is None else number_of(found[0])

    def former_metadata(self, digest: bytes) -> dict[str, str]:
        """Return the metadata that the last path of a content had when it was removed."""
        found = self._txn.get("former", digest)
        return {} if found is None else json.loads(found)

    def former(self) -> Iterator[tuple[bytes, dict[str, str]]]:
        """Return the contents whose last path had metadata when it was removed, with that metadata."""
        return ((key, json.loads(value)) for key, value in self._txn.scan("former"))

    def path_count(self) -> int:
        """Return the number of paths."""
        return self._txn.count("paths")

    def item_count(self) -> int:
        """Return the number of items, live or not."""
        return self._txn.count("items")

    def _locate(self, segment: int) -> tuple[int, memoryview] | None:
        """Return the first segment and the value of the run that contains a segment."""
        found = self._txn.floor("runs", key_of(segment))
        if found is None or segment >= number_of(found[0]) + unpack_head(found[1])[2]:
            return None
        return number_of(found[0]), found[1]

    def _text(self, modality: Modality, segment: int) -> str:
        found = self._txn.get("texts", key_of(segment)) if modality == Modality.TEXT else None
        return "" if found is None else found.decode(errors="surrogatepass")

    def _record(self, key: bytes) -> PathRecord | None:
        value = self._txn.get("paths", key)
        return None if value is None else unpack_path(key, value)

    def _counter(self, name: str) -> int:
        found = self._txn.get("meta", name.encode())
        return 0 if found is None else number_of(found)


INDEXED_FOLDERS = b"roots"
"""The key of the indexed folders in the table `meta`."""
TAGGER = b"tagger:"
"""The prefix of the keys of tagger records in the table `meta`."""


def concept_key(name: str) -> bytes:
    """Return the key of a concept in the table `meta`."""
    return b"concept:" + name.encode()


def _unpack_item(item: int, value: bytes) -> ItemRecord:
    try:
        return unpack_item(value)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptLibrary(
            f"the record of item {item} is damaged ({error}): run `bindsearch doctor --repair`"
        ) from error


def _is_readable(key: bytes, value: bytes) -> bool:
    try:
        _unpack_item(number_of(key), value)
    except CorruptLibrary:
        return False
    return True
