"""The engines that bench_search.py compares: our indexes, and others used as their documentation says."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from bench_vectors import Vectors
from bindsearch.indexes.approximate.recall import tune
from bindsearch.indexes.choose import memory_per_segment
from bindsearch.indexes.exact import ExactIndex

from bindsearch.registry import load_index
from bindsearch.types import Ids

K = 10
LINKS, CONSTRUCTION_BREADTH = 16, 128
"""Of all graphs: links of a vector (M), and rows kept in the queue while they are chosen (efConstruction)."""
SEARCH_BREADTHS = (64, 128, 256)
"""Rows that a search in a graph keeps in its queue (efSearch)."""
Search = Callable[[Vectors], Ids]


@dataclass(frozen=True, slots=True)
class Engine:
    """Finds the ten nearest vectors."""

    name: str
    kind: str
    search: Search
    build_s: float
    bytes: int
    """The size of its files, or of the file that it would write."""
    memory: int = 0
    """Bytes that must be in memory for steady speed; 0 if that is everything, as it is for peers. Our indexes need the
    candidate generator, the ids and, where a search reads some hundreds of them, all codes. The vectors, of which a
    search reads some dozens, stay on disk."""


def engines(vectors: Vectors, tuning_queries: Mapping[str, Vectors], *, graphs: bool) -> Iterator[Engine]:
    """Build one engine after the other; those that are not installed are left out.

    `tuning_queries` are queries by origin, other than the measured ones: `auto` is tuned with them.
    """
    yield from our_engines(vectors, tuning_queries, graphs=graphs)
    makers = [faiss_flat, faiss_ivf, *([faiss_hnsw, usearch, hnswlib, lancedb_flat] if graphs else [])]
    for make in makers:
        try:
            yield from make(vectors)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("bindsearch"):
                raise
            print(f"# {error.name} is not installed: left out", file=sys.stderr)


def our_engines(vectors: Vectors, tuning_queries: Mapping[str, Vectors], *, graphs: bool) -> Iterator[Engine]:
    """Return our indexes. `auto` is ivf as a library would tune it: the lowest effort that reaches the target."""
    ids, dim = np.arange(len(vectors), dtype=np.int64), vectors.shape[1]
    exact, took = timed(lambda: filled(ExactIndex(dim), ids, vectors))
    yield our_engine("exact", exact, took, memory_per_segment("exact", dim))
    ivf, took = timed(lambda: built(sharing_vectors(exact, "ivf")))
    certificate, tuning_s = timed(lambda: tune(ivf, tuning_queries))
    print(f"# auto: {certificate.effort}, certified {certificate.worst:.4f} in {tuning_s:.1f} s", file=sys.stderr)
    yield our_engine("auto", ivf, took, memory_per_segment("ivf", dim) + dim)
    if graphs:
        graph, took = timed(lambda: built(sharing_vectors(exact, "hnsw")))
        for breadth in SEARCH_BREADTHS:
            candidates = min(graph.default_effort.candidates, breadth)
            tuned = graph.copy()
            tuned.effort = replace(graph.default_effort, candidates=candidates, breadth=breadth)
            yield our_engine(f"hnsw ef={breadth}", tuned, took, memory_per_segment("hnsw", dim))


def our_engine(kind: str, index: Any, took: float, memory: int) -> Engine:
    """Wrap an index. `memory` is by segment."""
    size = saved_size(index)
    return Engine("bindsearch", kind, lambda queries: index.search(queries, K)[1], took, size, memory * len(index))


def sharing_vectors(exact: ExactIndex, kind: str) -> Any:
    """Return an index of another kind over the same vectors, which are not copied."""
    index: Any = load_index(kind)(exact.dim)  # type: ignore[call-arg]
    index._snapshot = exact._snapshot
    return index


def filled(index: Any, ids: Ids, vectors: Vectors) -> Any:
    index.add(ids, vectors)
    index.search(vectors[:1], K)
    return index


def built(index: Any) -> Any:
    index.build()
    return index


def faiss_flat(vectors: Vectors) -> Iterator[Engine]:
    import faiss

    def search(queries: Vectors, *, threshold: int) -> Ids:
        before = faiss.cvar.distance_compute_blas_threshold
        faiss.cvar.distance_compute_blas_threshold = threshold
        try:
            return index.search(queries, K)[1]
        finally:
            faiss.cvar.distance_compute_blas_threshold = before

    index = faiss.IndexFlatIP(vectors.shape[1])
    default = faiss.cvar.distance_compute_blas_threshold
    _, took = timed(lambda: index.add(vectors))
    for kind, threshold in (("flat", default), ("flat-tuned", 4 * vectors.shape[1])):
        yield Engine("faiss", kind, lambda queries, at=threshold: search(queries, threshold=at), took, vectors.nbytes)


def faiss_ivf(vectors: Vectors) -> Iterator[Engine]:
    import faiss

    lists = 1 << round(np.log2(np.sqrt(len(vectors))))
    for kind, recipe in (("ivf-flat", f"IVF{lists},Flat"), ("ivf-sq8", f"IVF{lists},SQ8")):
        index, took = timed(lambda recipe=recipe: trained(recipe, vectors))
        size = faiss_file_size(index)
        for probes in (16, 64):
            parameters = faiss.SearchParametersIVF(nprobe=probes)
            search = lambda queries, p=parameters, index=index: index.search(queries, K, params=p)[1]  # noqa: E731
            yield Engine("faiss", f"{kind} nprobe={probes}", search, took, size)


def trained(recipe: str, vectors: Vectors) -> Any:
    """Return the faiss index of a recipe, trained on some 60,000 of the vectors and filled with all of them."""
    import faiss

    index = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    step = max(1, len(vectors) // 60_000)
    index.train(vectors[::step])
    index.add(vectors)
    return index


def faiss_file_size(index: Any) -> int:
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index"
        faiss.write_index(index, str(file))
        return file.stat().st_size


def faiss_hnsw(vectors: Vectors) -> Iterator[Engine]:
    import faiss

    index = faiss.index_factory(vectors.shape[1], f"HNSW{LINKS},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION_BREADTH
    _, took = timed(lambda: (index.train(vectors[::10]), index.add(vectors)))
    for breadth in SEARCH_BREADTHS:
        parameters = faiss.SearchParametersHNSW(efSearch=breadth)
        search = lambda queries, p=parameters: index.search(queries, K, params=p)[1]  # noqa: E731
        yield Engine("faiss", f"hnsw ef={breadth}", search, took, faiss_file_size(index))


def usearch(vectors: Vectors) -> Iterator[Engine]:
    from usearch.index import Index

    dim = vectors.shape[1]
    index = Index(ndim=dim, metric="ip", dtype="bf16", connectivity=LINKS, expansion_add=CONSTRUCTION_BREADTH)
    _, took = timed(lambda: index.add(np.arange(len(vectors)), vectors))

    def search(queries: Vectors, *, breadth: int) -> Ids:
        index.expansion_search = breadth
        return index.search(queries, K).keys.astype(np.int64).reshape(len(queries), -1)

    yield from by_breadth("usearch", search, took, index.serialized_length)


def hnswlib(vectors: Vectors) -> Iterator[Engine]:
    import hnswlib as library

    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=CONSTRUCTION_BREADTH, M=LINKS)
    _, took = timed(lambda: index.add_items(vectors))

    def search(queries: Vectors, *, breadth: int) -> Ids:
        index.set_ef(breadth)
        return index.knn_query(queries, k=K)[0].astype(np.int64)

    yield from by_breadth("hnswlib", search, took, index.index_file_size())


def by_breadth(name: str, search: Callable[..., Ids], took: float, size: int) -> Iterator[Engine]:
    """Return a graph as one engine for each of `SEARCH_BREADTHS`."""
    for breadth in SEARCH_BREADTHS:
        yield Engine(name, f"hnsw ef={breadth}", lambda queries, b=breadth: search(queries, breadth=b), took, size)


def lancedb_flat(vectors: Vectors) -> Iterator[Engine]:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb
    import pyarrow

    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
    rows = pyarrow.table({"id": np.arange(len(vectors)), "vector": values})
    table, took = timed(lambda: lancedb.connect(folder).create_table("t", rows))

    def search(queries: Vectors) -> Ids:
        return np.array([search_one(query) for query in queries])

    def search_one(query: Vectors) -> list[int]:
        found = table.search(query).distance_type("dot").limit(K).select(["id", "_distance"])
        return found.to_arrow()["id"].to_pylist()

    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    yield Engine("lancedb", "flat", search, took, size)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a function and the seconds that it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def saved_size(index: Any) -> int:
    """Return the size of the files that an index saves."""
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).iterdir())
