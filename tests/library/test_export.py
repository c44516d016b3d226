from __future__ import annotations

import json

import numpy as np
import pytest

from bindsearch.errors import BadQuery, LibraryError
from bindsearch.library.export import export


def expected(library) -> dict[int, tuple[str, list[float]]]:
    """Return segment -> path and vector, read with the library."""
    return {
        segment.id: (str(item.paths[0]), vector.tolist())
        for item in library.items()
        for segment, vector in zip(item.segments, library.vectors(item), strict=True)
    }


def test_jsonl_has_rows_and_vectors(library, tmp_path):
    assert export(library, tmp_path / "out.jsonl") == 12
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    truth = expected(library)
    assert {row["segment"] for row in rows} == set(truth)
    for row in rows:
        path, vector = truth[row["segment"]]
        assert row["path"] == path
        assert row["vector"] == pytest.approx(vector, abs=1e-6)


def test_npy_has_vectors_in_the_order_of_the_rows(library, tmp_path):
    assert export(library, tmp_path / "out.npy") == 12
    vectors = np.load(tmp_path / "out.npy")
    rows = [json.loads(line) for line in (tmp_path / "out.rows.jsonl").read_text().splitlines()]
    truth = expected(library)
    for row, vector in zip(rows, vectors, strict=True):
        assert vector.tolist() == truth[row["segment"]][1]


def test_parquet_has_rows_vectors_and_space(library, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert export(library, tmp_path / "out.parquet") == 12
    table = parquet.read_table(tmp_path / "out.parquet")
    truth = expected(library)
    found = {row["segment"]: (row["path"], row["vector"]) for row in table.to_pylist()}
    assert found == truth
    assert table.schema.metadata[b"space"] == b"toy"


def test_unknown_suffix_and_missing_folder_are_refused(library, tmp_path):
    with pytest.raises(BadQuery, match=r"\*\.parquet"):
        export(library, tmp_path / "out.csv")
    with pytest.raises(LibraryError, match="nowhere"):
        export(library, tmp_path / "nowhere" / "out.jsonl")
