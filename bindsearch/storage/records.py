"""The ledger's records, and how they become bytes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import numpy as np

from bindsearch.core.file_state import DIGEST_BYTES, NO_CONTENT, Stamp
from bindsearch.types import Ids, Modality, Span, Vectors

LONGEST_KEY = 480
_STAMP = struct.Struct(f"<qq{DIGEST_BYTES}s")
_RUN = struct.Struct("<qBq")
_SPAN = np.dtype([("start", "<f8"), ("end", "<f8"), ("offset", "<i8"), ("length", "<i8")])
_MODALITIES = tuple(Modality)


@dataclass(frozen=True, slots=True)
class PathRecord:
    """What the ledger knows of one path."""

    path: Path
    stamp: Stamp
    digest: bytes = NO_CONTENT
    metadata: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    """Why the file under this name is not taken, whatever its content."""


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive segments of one modality and their vectors, before they have ids."""

    modality: Modality
    spans: Sequence[Span]
    vectors: Vectors
    texts: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What decoding and encoding a file gave."""

    modality: Modality
    format: str
    size: int
    duration: float | None
    covered: float
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An item came to life or went away."""

    position: int
    item: int
    live: bool
    modality: Modality
    runs: Sequence[tuple[int, str, int]]
    """The item's runs: first segment, modality, number of segments."""


def path_key(path: Path) -> bytes:
    """Return the key of a path: itself, or the beginning and a digest where it is too long for LMDB."""
    raw = os.fsencode(path)
    if len(raw) <= LONGEST_KEY:
        return raw
    return raw[:LONGEST_KEY] + b"\0" + blake2b(raw, digest_size=16).digest()


def pack_path(record: PathRecord) -> bytes:
    """Return the value under a path's key."""
    raw = os.fsencode(record.path)
    more = {
        "metadata": dict(record.metadata),
        "refused": record.refused,
        "path": raw.hex() if len(raw) > LONGEST_KEY else "",
    }
    told = {name: value for name, value in more.items() if value}
    stamp = _STAMP.pack(record.stamp.size, record.stamp.mtime_ns, record.digest)
    return stamp + json.dumps(told).encode() if told else stamp


def unpack_path(key: bytes, value: bytes) -> PathRecord:
    """Read what `pack_path` wrote."""
    size, mtime_ns, digest = _STAMP.unpack_from(value)
    told = json.loads(value[_STAMP.size :]) if len(value) > _STAMP.size else {}
    raw = bytes.fromhex(told["path"]) if "path" in told else key
    stamp = Stamp(size, mtime_ns)
    return PathRecord(Path(os.fsdecode(raw)), stamp, digest, told.get("metadata", {}), told.get("refused", ""))


def pack_run(item: int, run: Run) -> bytes:
    """Return the value under a run's first segment. The texts of passages are stored one by one."""
    spans = np.zeros(len(run.spans), dtype=_SPAN)
    for row, span in zip(spans, run.spans, strict=True):
        row["start"] = np.nan if span.start is None else span.start
        row["end"] = np.nan if span.end is None else span.end
        row["offset"] = -1 if span.offset is None else span.offset
        row["length"] = -1 if span.length is None else span.length
    return _RUN.pack(item, _MODALITIES.index(run.modality), len(run.spans)) + spans.tobytes()


def unpack_head(value: memoryview) -> tuple[int, Modality, int]:
    """Read whose run it is, its modality and how many segments it has."""
    item, code, count = _RUN.unpack_from(value)
    return item, _MODALITIES[code], count


def unpack_spans(value: memoryview, rows: slice = slice(None)) -> list[Span]:
    """Read the spans of some segments of a run."""
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


def run_ids(runs: Iterable[tuple[int, str, int]], modality: Modality) -> Ids:
    """Return the segment ids of an item's runs of one modality, from its facts."""
    blocks = [np.arange(first, first + count, dtype=np.int64) for first, kind, count in runs if kind == modality]
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int64)


def key_of(number: int) -> bytes:
    """Return the key of a number: keys sort as numbers do."""
    return number.to_bytes(8, "big")


def number_of(raw: bytes) -> int:
    """Read what `key_of` wrote."""
    return int.from_bytes(raw, "big")
