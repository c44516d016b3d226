"""Vectors and what they belong to, as files that other tools read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.errors import BadQuery, LibraryError, MissingExtra
from bindsearch.library import Library
from bindsearch.types import Item, Segment, Vectors

ROWS = 4_096
"""Rows of a parquet file that are held in memory."""


def export(library: Library, target: Path) -> int:
    """Write every segment with its vector; give the number of segments.

    `X.parquet` holds rows and vectors together; `X.jsonl` likewise, a segment a line; `X.npy` holds the vectors, in
    float32, and beside it `X.jsonl` the rows in the same order. Raises `BadQuery` for other names, `MissingExtra`.
    """
    writers = {".parquet": _parquet, ".jsonl": _jsonl, ".npy": _npy}
    if target.suffix not in writers:
        raise BadQuery(f"{target.name}: say what to write by the name: {', '.join(f'*{end}' for end in writers)}")
    try:
        return writers[target.suffix](library, target)
    except OSError as error:
        raise LibraryError(f"{target} cannot be written: {error.strerror or error}") from error


def _rows(library: Library) -> Iterator[tuple[dict[str, Any], Vectors]]:
    for item in library.items():
        for segment, vector in zip(item.segments, library.vectors(item), strict=True):
            yield _row(item, segment), vector


def _row(item: Item, segment: Segment) -> dict[str, Any]:
    return {
        "segment": segment.id,
        "item": item.id,
        "path": str(item.paths[0]),
        "hash": item.hash,
        "modality": str(item.modality),
        "matched": str(segment.modality),
        "start": segment.span.start,
        "end": segment.span.end,
        "offset": segment.span.offset,
        "length": segment.span.length,
        "text": segment.text or None,
    }


def _jsonl(library: Library, target: Path) -> int:
    count = 0
    with target.open("w", encoding="utf-8") as out:
        for row, vector in _rows(library):
            out.write(json.dumps(row | {"vector": [round(float(value), 6) for value in vector]}) + "\n")
            count += 1
    return count


def _npy(library: Library, target: Path) -> int:
    """Write in two passes, so that the vectors need not fit into memory."""
    count = sum(len(item.segments) for item in library.items())
    shape = (count, library.card.dim)
    vectors = np.lib.format.open_memmap(target, mode="w+", dtype=np.float32, shape=shape)
    with target.with_suffix(".jsonl").open("w", encoding="utf-8") as out:
        for place, (row, vector) in enumerate(_rows(library)):
            vectors[place] = vector
            out.write(json.dumps(row) + "\n")
    vectors.flush()
    return count


def _parquet(library: Library, target: Path) -> int:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtra("parquet needs pyarrow: pip install 'bindsearch[parquet]'") from error
    schema = arrow.schema(
        [("segment", arrow.int64()), ("item", arrow.int64())]
        + [(name, arrow.string()) for name in ("path", "hash", "modality", "matched")]
        + [("start", arrow.float64()), ("end", arrow.float64()), ("offset", arrow.int64()), ("length", arrow.int64())]
        + [("text", arrow.string()), ("vector", arrow.list_(arrow.float32(), library.card.dim))],
        metadata={"space": library.card.space, "fingerprint": library.card.fingerprint},
    )
    count, rows = 0, _rows(library)
    with parquet.ParquetWriter(target, schema) as writer:
        while block := [row | {"vector": vector.tolist()} for row, vector in islice(rows, ROWS)]:
            writer.write_table(arrow.Table.from_pylist(block, schema=schema))
            count += len(block)
    return count
