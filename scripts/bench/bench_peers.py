"""What bindsearch's indexes are measured beside: each engine as its documentation says to call it."""

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
LINKS, CONSTRUCTION = 16, 128
"""Of all graphs: links of a vector, and how many are kept in sight while they are sought."""
BREADTHS = (64, 128, 256)
"""How many a search keeps in sight."""
Search = Callable[[Vectors], Ids]


@dataclass(frozen=True, slots=True)
class Engine:
    """Something that finds the ten nearest of some vectors."""

    name: str
    kind: str
    search: Search
    build_s: float
    bytes: int
    """On disk, or what its own file would take."""
    memory: int = 0
    """What has to be in memory for steady speed: of peers everything; of ours what names candidates, ids and, where
    a search reads some hundreds, all codes. The vectors, of which it reads some dozens, stay on disk."""


def engines(vectors: Vectors, asked: Mapping[str, Vectors], *, graphs: bool) -> Iterator[Engine]:
    """Build one engine after the other; those that are not installed are left out.

    `asked` are queries by origin, others than those that are measured, for our certificate.
    """
    yield from ours(vectors, asked, graphs=graphs)
    makers = [flat, ivf, *([graph_of_faiss, usearch, hnswlib, lance] if graphs else [])]
    for make in makers:
        try:
            yield from make(vectors)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("bindsearch"):
                raise
            print(f"# {error.name} is not installed: left out", file=sys.stderr)


def ours(vectors: Vectors, asked: Mapping[str, Vectors], *, graphs: bool) -> Iterator[Engine]:
    """Return our indexes: cells with the effort that a library would give them, the least that its certificate
    allows.
    """
    ids, dim = np.arange(len(vectors), dtype=np.int64), vectors.shape[1]
    exact, took = timed(lambda: added(ExactIndex(dim), ids, vectors))
    yield _ours("exact", exact, took, memory_per_segment("exact", dim))
    quick, took = timed(lambda: built(beside(exact, "ivf")))
    certificate, more = timed(lambda: tune(quick, asked))
    print(f"# auto: {certificate.effort}, certified {certificate.worst:.4f} in {more:.1f} s", file=sys.stderr)
    yield _ours("auto", quick, took, memory_per_segment("ivf", dim) + dim)
    if graphs:
        graph, took = timed(lambda: built(beside(exact, "hnsw")))
        for breadth in BREADTHS:
            tuned = graph.copy()
            tuned.effort = replace(
                graph.default_effort, candidates=min(graph.default_effort.candidates, breadth), breadth=breadth
            )
            yield _ours(f"hnsw ef={breadth}", tuned, took, memory_per_segment("hnsw", dim))


def _ours(name: str, index: Any, took: float, memory: int) -> Engine:
    size = size_of(index)
    return Engine("bindsearch", name, lambda queries: index.search(queries, K)[1], took, size, memory * len(index))


def beside(exact: ExactIndex, kind: str) -> Any:
    """Return an index of another kind over the same vectors, which lie in memory once."""
    index: Any = load_index(kind)(exact.dim)  # type: ignore[call-arg]
    index._snapshot = exact._snapshot
    return index


def added(index: Any, ids: Ids, vectors: Vectors) -> Any:
    index.add(ids, vectors)
    index.search(vectors[:1], K)
    return index


def built(index: Any) -> Any:
    index.build()
    return index


def flat(vectors: Vectors) -> Iterator[Engine]:
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


def ivf(vectors: Vectors) -> Iterator[Engine]:
    import faiss

    cells = 1 << round(np.log2(np.sqrt(len(vectors))))
    for kind, recipe in (("ivf-flat", f"IVF{cells},Flat"), ("ivf-sq8", f"IVF{cells},SQ8")):
        index, took = timed(lambda recipe=recipe: trained(recipe, vectors))
        size = stored(index)
        for probes in (16, 64):
            parameters = faiss.SearchParametersIVF(nprobe=probes)
            search = lambda queries, p=parameters, index=index: index.search(queries, K, params=p)[1]  # noqa: E731
            yield Engine("faiss", f"{kind} nprobe={probes}", search, took, size)


def trained(recipe: str, vectors: Vectors) -> Any:
    import faiss

    index = faiss.index_factory(vectors.shape[1], recipe, faiss.METRIC_INNER_PRODUCT)
    step = max(1, len(vectors) // 60_000)
    index.train(vectors[::step])
    index.add(vectors)
    return index


def stored(index: Any) -> int:
    import faiss

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index"
        faiss.write_index(index, str(file))
        return file.stat().st_size


def graph_of_faiss(vectors: Vectors) -> Iterator[Engine]:
    import faiss

    index = faiss.index_factory(vectors.shape[1], f"HNSW{LINKS},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = CONSTRUCTION
    _, took = timed(lambda: (index.train(vectors[::10]), index.add(vectors)))
    for effort in BREADTHS:
        parameters = faiss.SearchParametersHNSW(efSearch=effort)
        search = lambda queries, p=parameters: index.search(queries, K, params=p)[1]  # noqa: E731
        yield Engine("faiss", f"hnsw ef={effort}", search, took, stored(index))


def usearch(vectors: Vectors) -> Iterator[Engine]:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16", connectivity=LINKS, expansion_add=CONSTRUCTION)
    _, took = timed(lambda: index.add(np.arange(len(vectors)), vectors))

    def search(queries: Vectors, *, effort: int) -> Ids:
        index.expansion_search = effort
        return index.search(queries, K).keys.astype(np.int64).reshape(len(queries), -1)

    for effort in BREADTHS:
        yield Engine(
            "usearch", f"hnsw ef={effort}", lambda q, e=effort: search(q, effort=e), took, index.serialized_length
        )


def hnswlib(vectors: Vectors) -> Iterator[Engine]:
    import hnswlib as library

    index = library.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), ef_construction=CONSTRUCTION, M=LINKS)
    _, took = timed(lambda: index.add_items(vectors))

    def search(queries: Vectors, *, effort: int) -> Ids:
        index.set_ef(effort)
        return index.knn_query(queries, k=K)[0].astype(np.int64)

    for effort in BREADTHS:
        yield Engine(
            "hnswlib", f"hnsw ef={effort}", lambda q, e=effort: search(q, effort=e), took, index.index_file_size()
        )


def lance(vectors: Vectors) -> Iterator[Engine]:
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ.setdefault("LANCE_LOG", "error")
    import lancedb
    import pyarrow

    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(vectors.reshape(-1)), vectors.shape[1])
    rows = pyarrow.table({"id": np.arange(len(vectors)), "vector": values})
    table, took = timed(lambda: lancedb.connect(folder).create_table("t", rows))

    def search(queries: Vectors) -> Ids:
        return np.array([one(query) for query in queries])

    def one(query: Vectors) -> list[int]:
        found = table.search(query).distance_type("dot").limit(K).select(["id", "_distance"])
        return found.to_arrow()["id"].to_pylist()

    size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    yield Engine("lancedb", "flat", search, took, size)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    given = work()
    return given, time.perf_counter() - start


def size_of(index: Any) -> int:
    with tempfile.TemporaryDirectory() as folder:
        index.save(Path(folder))
        return sum(file.stat().st_size for file in Path(folder).iterdir())
