"""Export segments with their vectors to files that other tools read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bindsearch.errors import BadQuery, LibraryError, MissingExtra
from bindsearch.library.library import Library
from bindsearch.results import rounded_time
from bindsearch.types import Item, Segment, Vectors

BLOCK_ROWS = 4_096
"""Rows of a parquet file that are written at a time."""


def export(library: Library, target: Path) -> int:
    """Write every segment with its vector; return the number of segments.

    `X.parquet` and `X.jsonl` hold rows and vectors together. `X.npy` holds the vectors as float32, and `X.rows.jsonl`
    beside it the rows in the same order. Raises `BadQuery` for other suffixes, `MissingExtra`, `LibraryError`.
    """
    writers = {".parquet": _parquet, ".jsonl": _jsonl, ".npy": _npy}
    if target.suffix not in writers:
        raise BadQuery(f"{target.name}: the name must end in one of {', '.join(f'*{end}' for end in writers)}")
    try:
        return writers[target.suffix](library, target)
    except OSError as error:
        raise LibraryError(f"{target} cannot be written: {error.strerror or error}") from error


def _rows(library: Library) -> Iterator[tuple[dict[str, Any], Vectors]]:
    for item, vectors in library.items_with_vectors():
        for segment, vector in zip(item.segments, vectors, strict=True):
            yield _row(item, segment), vector


def _row(item: Item, segment: Segment) -> dict[str, Any]:
    return {
        "segment": segment.id,
        "item": item.id,
        "path": str(item.paths[0]),
        "hash": item.hash,
        "modality": str(item.modality),
        "matched": str(segment.modality),
        "start": rounded_time(segment.span.start),
        "end": rounded_time(segment.span.end),
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
    """Write vectors as they come; the header, which holds their number, is written last."""
    count, dim = 0, library.manifest.dim
    with target.open("wb") as out, target.with_suffix(".rows.jsonl").open("w", encoding="utf-8") as rows:
        _write_header(out, (0, dim))
        for row, vector in _rows(library):
            out.write(vector.astype("<f4").tobytes())
            rows.write(json.dumps(row) + "\n")
            count += 1
        out.seek(0)
        _write_header(out, (count, dim))
    return count


def _write_header(out: BinaryIO, shape: tuple[int, int]) -> None:
    """Write the header of an npy file; numpy pads it, so that a larger shape has the same length."""
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})


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
        + [("text", arrow.string()), ("vector", arrow.list_(arrow.float32(), library.manifest.dim))],
        metadata={"space": library.manifest.space, "fingerprint": library.manifest.fingerprint},
    )
    count, rows = 0, _rows(library)
    with parquet.ParquetWriter(target, schema) as writer:
        while block := [_encodable(row) | {"vector": vector.tolist()} for row, vector in islice(rows, BLOCK_ROWS)]:
            writer.write_table(arrow.Table.from_pylist(block, schema=schema))
            count += len(block)
    return count


def _encodable(row: dict[str, Any]) -> dict[str, Any]:
    """Escape the bytes of a path that are not UTF-8, as strings in parquet must be."""
    path = os.fsencode(row["path"]).decode("utf-8", "backslashreplace")
    return row | {"path": path}
