"""The records of the ledger and their binary form."""

from __future__ import annotations

import json
import os
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.core.file_state import DIGEST_BYTES, NO_CONTENT, Stamp
from bindsearch.types import Ids, Modality, Span, Vectors

MAX_KEY_BYTES = 480
"""Of a path in its key; LMDB allows 511 bytes, and a digest follows where the path is longer."""
_STAMP = struct.Struct(f"<qq{DIGEST_BYTES}s")
_RUN = struct.Struct("<qBq")
_SPAN = np.dtype([("start", "<f8"), ("end", "<f8"), ("offset", "<i8"), ("length", "<i8")])
_MODALITIES = tuple(Modality)
_MODALITY_BY_NAME = {str(modality): modality for modality in Modality}
_decode_json = json.JSONDecoder().raw_decode  # a third faster than `json.loads`: filters read the records of all items


@dataclass(frozen=True, slots=True)
class PathRecord:
    """What the ledger knows about one path."""

    path: Path
    stamp: Stamp
    digest: bytes = NO_CONTENT
    metadata: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    """Why a file of this name is not indexed whatever its content; empty if it is."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive segments of one modality with their vectors, before they have ids."""

    modality: Modality
    spans: Sequence[Span]
    vectors: Vectors
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """The result of decoding and encoding a file."""

    modality: Modality
    format: str
    size: int
    duration: float | None
    covered: float
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class RunRef:
    """Where a run of an item is stored: its segments are `first` up to `first + count - 1`."""

    first: int
    modality: Modality
    count: int


@dataclass(frozen=True, slots=True)
class ItemRecord:
    """What the ledger knows about one item."""

    digest: bytes
    modality: Modality
    format: str
    size: int
    duration: float | None
    """In seconds, of sounds, videos and animations."""
    covered: float
    """The share of the content that its segments cover."""
    runs: tuple[RunRef, ...]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A change of the log: an item became live or dormant."""

    position: int
    item: int
    live: bool
    modality: Modality
    runs: Sequence[RunRef]


@dataclass(frozen=True, slots=True, eq=False)
class ConceptRecord:
    """What the ledger stores of a concept."""

    parts: Sequence[Mapping[str, Any]]
    """The operands of the saved query, as JSON values."""
    space: str
    fingerprint: str
    """Of the space that the vector belongs to."""
    vector: Vectors
    """*Shape:* (dim,)"""


@dataclass(frozen=True, slots=True)
class TaggerRecord:
    """What the ledger knows about a classifier that tags items."""

    columns: Mapping[str, int]
    """Label -> its column in the rows of probabilities."""
    answers: int
    """The length of a row: labels and background labels."""
    made: str
    """When the classifier was stored, in ISO format."""
    upto: int = 0
    """The highest item that it has tagged."""
    words: Mapping[str, Any] | None = None
    """Labels, background labels and templates that it can be rebuilt from; None if it needs more than words."""


def path_key(path: Path) -> bytes:
    """Return the key of a path: the path, or its beginning and a digest if it is too long for LMDB."""
    raw = os.fsencode(path)
    if len(raw) <= MAX_KEY_BYTES:
        return raw
    return raw[:MAX_KEY_BYTES] + b"\0" + blake2b(raw, digest_size=16).digest()


def pack_path(record: PathRecord) -> bytes:
    """Return the value under a path's key."""
    raw = os.fsencode(record.path)
    more = {
        "metadata": dict(record.metadata),
        "refused": record.refused,
        "path": raw.hex() if len(raw) > MAX_KEY_BYTES else "",
    }
    present = {name: value for name, value in more.items() if value}
    stamp = _STAMP.pack(record.stamp.size, record.stamp.mtime_ns, record.digest)
    return stamp + json.dumps(present).encode() if present else stamp


def unpack_path(key: bytes, value: bytes) -> PathRecord:
    """Read what `pack_path` wrote."""
    size, mtime_ns, digest = _STAMP.unpack_from(value)
    more = json.loads(value[_STAMP.size :]) if len(value) > _STAMP.size else {}
    raw = bytes.fromhex(more["path"]) if "path" in more else key
    stamp = Stamp(size, mtime_ns)
    return PathRecord(Path(os.fsdecode(raw)), stamp, digest, more.get("metadata", {}), more.get("refused", ""))


def pack_run(item: int, run: Run) -> bytes:
    """Return the value under a run's first segment. Its texts are stored apart, one by one."""
    spans = np.zeros(len(run.spans), dtype=_SPAN)
    for row, span in zip(spans, run.spans, strict=True):
        row["start"] = np.nan if span.start is None else span.start
        row["end"] = np.nan if span.end is None else span.end
        row["offset"] = -1 if span.offset is None else span.offset
        row["length"] = -1 if span.length is None else span.length
    return _RUN.pack(item, _MODALITIES.index(run.modality), len(run.spans)) + spans.tobytes()


def unpack_head(value: memoryview) -> tuple[int, Modality, int]:
    """Read the item, the modality and the number of segments of a run."""
    item, code, count = _RUN.unpack_from(value)
    return item, _MODALITIES[code], count


def unpack_spans(value: memoryview, rows: slice = slice(None)) -> list[Span]:
    """Read the spans of the segments of a run, or of some rows of it."""
    count = _RUN.unpack_from(value)[2]
    spans = np.frombuffer(value, dtype=_SPAN, count=count, offset=_RUN.size)
    return [_span(*span) for span in spans[rows].tolist()]


def _span(start: float, end: float, offset: int, length: int) -> Span:
    return Span(
        None if start != start else start,
        None if end != end else end,
        None if offset < 0 else offset,
        None if length < 0 else length,
    )


def pack_item(record: ItemRecord) -> bytes:
    """Return the value under an item's number."""
    value = {
        "hash": record.digest.hex(),
        "modality": record.modality,
        "format": record.format,
        "size": record.size,
        "duration": record.duration,
        "covered": record.covered,
        "runs": [pack_run_ref(run) for run in record.runs],
    }
    return json.dumps(value).encode()


def unpack_item(value: bytes) -> ItemRecord:
    """Read what `pack_item` wrote. Raises `ValueError`, `KeyError`, `TypeError` for a damaged value."""
    text = value.decode()
    fields, end = _decode_json(text)
    if end != len(text):
        raise ValueError("something follows the record")
    return ItemRecord(
        bytes.fromhex(fields["hash"]),
        _MODALITY_BY_NAME[fields["modality"]],
        fields.get("format", ""),
        fields["size"],
        fields["duration"],
        fields.get("covered", 1.0),
        unpack_run_refs(fields["runs"]),
    )


def pack_log_entry(item: int, record: ItemRecord, *, live: bool) -> bytes:
    """Return the value under a position of the log."""
    runs = [pack_run_ref(run) for run in record.runs]
    return json.dumps({"item": item, "live": live, "modality": record.modality, "runs": runs}).encode()


def unpack_log_entry(position: int, value: bytes) -> LogEntry:
    """Read what `pack_log_entry` wrote."""
    fields = json.loads(value)
    runs = unpack_run_refs(fields["runs"])
    return LogEntry(position, fields["item"], fields["live"], Modality(fields["modality"]), runs)


def pack_concept(record: ConceptRecord) -> bytes:
    """Return the value under a concept's name."""
    value = {
        "parts": list(record.parts),
        "space": record.space,
        "fingerprint": record.fingerprint,
        "vector": b64encode(record.vector.astype("<f4").tobytes()).decode("ascii"),
    }
    return json.dumps(value).encode()


def unpack_concept(value: bytes) -> ConceptRecord:
    """Read what `pack_concept` wrote."""
    fields = json.loads(value)
    vector = np.frombuffer(b64decode(fields["vector"]), dtype="<f4").astype(np.float32)
    return ConceptRecord(fields["parts"], fields["space"], fields["fingerprint"], vector)


def pack_run_ref(run: RunRef) -> tuple[int, str, int]:
    """Return the JSON form of a run in item records and log entries."""
    return run.first, run.modality, run.count


def unpack_run_refs(runs: Iterable[tuple[int, str, int]]) -> tuple[RunRef, ...]:
    """Read what `pack_run_ref` wrote."""
    return tuple([RunRef(first, _MODALITY_BY_NAME[name], count) for first, name, count in runs])


def run_ids(runs: Iterable[RunRef], modality: Modality) -> Ids:
    """Return the segment ids of the runs of one modality."""
    blocks = [np.arange(run.first, run.first + run.count, dtype=np.int64) for run in runs if run.modality == modality]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int64)


def key_of(number: int) -> bytes:
    """Return the key of a number; keys sort like the numbers."""
    return number.to_bytes(8, "big")


def number_of(raw: bytes) -> int:
    """Read what `key_of` wrote."""
    return int.from_bytes(raw, "big")
