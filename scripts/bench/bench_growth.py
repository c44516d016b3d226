"""Measure how the costs of an index grow: building, saving, opening, searching, adding and removing, at several sizes.

Each size runs in a process of its own, so that its memory can be measured. Files are opened from the page cache.

    python scripts/bench/bench_growth.py                       10,000, 100,000 and 1,000,000 vectors of 512; needs 8 GB
    python scripts/bench/bench_growth.py --sizes 10000 --json  one JSON object a row
    python scripts/bench/bench_growth.py --plot growth.png     draw a plot, too

    # plot rows that were measured before
    python scripts/bench/bench_growth.py --rows docs/growth.jsonl --plot docs/growth.png
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from bench_vectors import Space
from plot_growth import plot

from bindsearch.ports import Index
from bindsearch.registry import load_index
from bindsearch.types import Ids, Vectors

COLUMNS = ("build_s", "save_s", "open_ms", "first_ms", "ask_ms", "add_1000_ms", "remove_1000_ms", "file_mb", "rss_mb")


def measure(kind: str, n: int, dim: int) -> dict[str, float | str]:
    """Build and save an index, then open and use it; return a row of figures."""
    space, ids = Space(dim), np.arange(n, dtype=np.int64)
    queries, more = space.queries(64, seed=3), space.segments(1_000, seed=4)
    with tempfile.TemporaryDirectory() as folder:
        index = load_index(kind)(dim)  # type: ignore[call-arg]
        costs = {"build_s": build_seconds(index, ids, space.segments(n, seed=2))}
        costs["save_s"] = seconds(lambda: index.save(Path(folder)))
        costs["file_mb"] = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        del index
        before = psutil.Process().memory_info().rss
        start = time.perf_counter()
        index = load_index(kind).load(Path(folder))
        costs["open_ms"] = 1000 * (time.perf_counter() - start)
        costs["first_ms"] = 1000 * seconds(lambda: index.search(queries[:1], 10))
        took = [1000 * seconds(lambda query=query: index.search(query[None], 10)) for query in np.tile(queries, (4, 1))]
        costs["ask_ms"] = statistics.median(took[128:])
        costs["rss_mb"] = (psutil.Process().memory_info().rss - before) / 1e6
        costs["add_1000_ms"] = 1000 * seconds(lambda: index.add(np.arange(n, n + 1_000), more))
        costs["remove_1000_ms"] = 1000 * seconds(lambda: index.remove(np.arange(0, n, n // 1_000)))
    return {"engine": "bindsearch", "kind": kind, "n": n, "dim": dim} | {
        name: round(costs[name], 3) for name in COLUMNS
    }


def build_seconds(index: Index, ids: Ids, vectors: Vectors) -> float:
    """Fill and build an index; return the seconds that it took."""
    start = time.perf_counter()
    index.add(ids, vectors)
    if hasattr(index, "build"):
        index.build()
    return time.perf_counter() - start


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], metavar="N")
    parser.add_argument("--kinds", nargs="+", default=["exact", "ivf"], metavar="KIND")
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the rows into an image file")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="measure nothing, plot the rows of an earlier --json")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows and options.plot is None:
        parser.error("--rows needs --plot FILE")
    return options


def measure_in_new_process(kind: str, n: int, dim: int) -> str:
    """Return the row of one index as JSON."""
    command = [sys.executable, __file__, "--here", "--kinds", kind, "--sizes", str(n), "--dim", str(dim)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    options = parse_arguments()
    if options.here:
        print(json.dumps(measure(options.kinds[0], options.sizes[0], options.dim)))
        return
    if options.rows:
        plot([json.loads(line) for line in options.rows.read_text().splitlines()], options.plot)
        return
    rows = []
    if not options.json:
        print(f"{'kind':<6}{'n':>10}" + "".join(f"{name:>16}" for name in COLUMNS))
    for kind in options.kinds:
        for n in options.sizes:
            text = measure_in_new_process(kind, n, options.dim)
            rows.append(json.loads(text))
            numbers = "".join(f"{rows[-1][name]:>16,.1f}" for name in COLUMNS)
            print(text if options.json else f"{kind:<6}{n:>10,}{numbers}", flush=True)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
