"""Scores of candidates from their stored vectors: in float32 to narrow them down, in float64 for the answer.

The float64 score depends on the two vectors alone: it is summed in one fixed way and rounded once. So an answer is the
same whichever scan named the candidates, in whichever blocks the vectors lie, and whichever other queries were in the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bindsearch.types import Ids, Scores, Vectors

from .candidate_table import CandidateTable
from .int8_codes import equal_runs, pieces_of_groups
from .rows import RowSelection
from .threads import for_each, scratch_array

RESCORED_PAIRS = 1 << 8
"""Pairs of query and vector that are multiplied at a time: they should stay in the processor's cache."""


def rescore_float32(parts: Sequence[RowSelection], table: CandidateTable, queries: Vectors) -> Scores:
    """Return the score of each candidate, computed in float32."""

    def multiply(vectors: Vectors, query_index: Ids) -> Scores:
        scores = np.empty(len(query_index), dtype=np.float32)
        for start, end in equal_runs(query_index):
            np.einsum("ij,j->i", vectors[start:end], queries[query_index[start]], out=scores[start:end])
        return scores

    return _rescore(multiply, parts, table)


def rescore_float64(parts: Sequence[RowSelection], table: CandidateTable, queries: Vectors) -> Scores:
    """Return the score of each candidate, computed in float64 and rounded once to float32."""

    def multiply(vectors: Vectors, query_index: Ids) -> Scores:
        gathered = np.take(queries, query_index, axis=0, out=scratch_array("queries", vectors.shape), mode="clip")
        products = scratch_array("float64 products", vectors.shape, np.float64)
        scores: Scores = np.multiply(vectors, gathered, out=products, dtype=np.float64).sum(axis=1).astype(np.float32)
        return scores

    return _rescore(multiply, parts, table)


def _rescore(
    multiply: Callable[[Vectors, Ids], Scores], parts: Sequence[RowSelection], table: CandidateTable
) -> Scores:
    """Multiply the candidates piece by piece, those of a part and a query side by side; in threads if there are many.

    `multiply` gets vectors and, for each, the index of its query.
    """
    scores = np.empty(len(table), dtype=np.float32)
    order = np.lexsort((table.query, table.part))
    pieces = [order[start:end] for start, end in pieces_of_groups(table.part[order], RESCORED_PAIRS)]

    def fill(pairs: Ids) -> None:
        vectors = parts[int(table.part[pairs[0]])].block.vectors
        copy = scratch_array("vectors", (len(pairs), vectors.shape[1]))
        copied = np.take(vectors, table.row[pairs], 0, copy, mode="clip")
        scores[pairs] = multiply(copied, table.query[pairs])

    for_each(fill, pieces)
    return scores
