"""Measure the indexes beside other engines, in one run, on the same vectors and queries.

The engines take turns, so that a busy moment of the machine affects all of them. `ms` is the median time of a whole
batch; `ratio` is the median, over the turns, of an engine's time to that of the exact index in the same turn. The
vectors come from bench_vectors.py: half of the queries are of another modality than the indexed vectors.

    python scripts/bench/bench_search.py           100,000 and 1,000,000 vectors of 512; 16 GB, a quarter of an hour
    python scripts/bench/bench_search.py --quick   20,000 vectors, two minutes
    python scripts/bench/bench_search.py --json    one JSON object a row

`--graphs 1000000` builds graphs of a million vectors, too. With all peers that takes 22 GB and half an hour; LanceDB,
which has little memory left then, takes another quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from bench_peers import Engine, Search, engines
from bench_vectors import Space, Vectors

from bindsearch.types import Ids


@dataclass(frozen=True, slots=True)
class Row:
    engine: str
    kind: str
    n: int
    dim: int
    batch: int
    ms: float
    """The median time of the whole batch."""
    recall10: float
    build_s: float
    bytes: int
    memory: int
    """Bytes that must be in memory for steady speed, as `Engine.memory` says."""
    fastest_ms: float
    ratio: float
    """Of its time to that of the exact index."""
    recall10_cross: float
    """Recall for the queries of another modality alone."""


def measure(
    compared: Sequence[Engine], queries: Vectors, recalls: Sequence[tuple[float, float]], n: int, seconds: float
) -> Iterator[Row]:
    """Let the engines take turns, until each has run for `seconds` on average; at least 3 turns, at most 200."""
    times: list[list[float]] = [[] for _ in compared]
    turns = 0
    while turns < 3 or (sum(map(sum, times)) < 1000 * seconds * len(compared) and turns < 200):
        for engine, took in zip(compared, times, strict=True):
            start = time.perf_counter()
            engine.search(queries)
            took.append(1000 * (time.perf_counter() - start))
        turns += 1
    for engine, took, (recall, cross) in zip(compared, times, recalls, strict=True):
        ratio = statistics.median(theirs / mine for theirs, mine in zip(took, times[0], strict=True))
        fastest, middle = round(min(took), 3), round(statistics.median(took), 3)
        columns = (engine.name, engine.kind, n, queries.shape[1], len(queries), middle, round(recall, 4))
        memory = engine.memory or engine.bytes
        yield Row(*columns, round(engine.build_s, 2), engine.bytes, memory, fastest, round(ratio, 2), round(cross, 4))


def recall_of(search: Search, queries: Vectors, truth: Ids) -> tuple[float, float]:
    """Return recall@10: for all queries, and for those of another modality."""
    shares = np.array([np.isin(*pair).mean() for pair in zip(truth, search(queries), strict=True)])
    return float(shares.mean()), float(shares[len(shares) - len(shares) // 2 :].mean())


def read_bandwidth(vectors: Vectors) -> float:
    """Return at how many GB/s all cores together read memory, at best."""
    words = vectors.reshape(-1).view(np.int64)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fastest = np.inf
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(15):
            start = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, np.array_split(words, 16 * cores)))
            fastest = min(fastest, time.perf_counter() - start)
    return vectors.nbytes / fastest / 1e9


def show(row: Row) -> None:
    print(f"{row.n:>9,} {row.batch:>5} {row.engine:<11}{row.kind:<20}", end="")
    print(f"{row.ms:>9.2f}{row.fastest_ms:>9.2f}{row.ratio:>7.2f}", end="")
    print(f"{row.recall10:>9.4f}{row.recall10_cross:>8.4f}{row.build_s:>8.1f}", end="")
    print(f"{row.bytes / 1e6:>9,.0f}{row.memory / 1e6:>9,.0f}", flush=True)


def run(n: int, options: argparse.Namespace) -> None:
    space = Space(options.dim)
    vectors = space.segments(n, seed=1)
    queries = space.queries(256, seed=100)
    bandwidth = read_bandwidth(vectors)
    if not options.json:
        print(f"\n{n:,} x {options.dim}; memory is read at {bandwidth:.1f} GB/s")
        print(f"{'n':>9} {'batch':>5} {'engine':<11}{'kind':<20}{'ms':>9}{'fastest':>9}{'ratio':>7}", end="")
        print(f"{'recall10':>9}{'cross':>8}{'build s':>8}{'MB disk':>9}{'MB mem':>9}", flush=True)
    tuning = space.queries(128, seed=500)
    tuning_queries = {"same": tuning[:64], "cross": tuning[64:]}
    compared = list(engines(vectors, tuning_queries, graphs=n <= options.graphs))
    truth = compared[0].search(queries)
    recalls = [recall_of(engine.search, queries, truth) for engine in compared]
    for batch in options.batches:
        spread = queries[:: len(queries) // batch][:batch]  # as many of either modality
        for row in measure(compared, spread, recalls, n, options.seconds):
            if options.json:
                print(json.dumps(asdict(row) | {"read_gbps": round(bandwidth, 1)}), flush=True)
            else:
                show(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 vectors, one second an engine")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 64], metavar="N")
    parser.add_argument("--seconds", type=float, default=3.0, help="measure each engine this long at each batch size")
    parser.add_argument("--graphs", type=int, default=100_000, metavar="N", help="build graphs up to this size")
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.seconds = [20_000], 1.0
    for n in options.sizes:
        run(n, options)


if __name__ == "__main__":
    sys.exit(main())
