"""Measure what a search costs beyond its index: ranking, E-values, explanations; compared with a flat FAISS search.

The library consists of synthetic vectors (bench_vectors.py): audio files of a hundred windows each, and text queries.
Everything is searched through the public API, with one FAISS thread, in turns, so that a busy moment of the machine
affects all of them. `ratio` is the median, over the turns, of a time to that of FAISS in the same turn; `beyond` is the
median of the time beyond that of the library's own index.

    python scripts/bench/bench_results.py                  1,000,000 segments of 256; needs 6 GB and a few minutes
    python scripts/bench/bench_results.py --quick          50,000 segments
    python scripts/bench/bench_results.py --json           one JSON object a row
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
from bench_vectors import Space as Drawn

import bindsearch
from bindsearch.core.file_state import Stamp
from bindsearch.ports import Prepared
from bindsearch.spaces.space import Space
from bindsearch.storage.records import Content, PathRecord, Run
from bindsearch.types import Modality, Piece, SpaceSpec, Span, Vectors

WINDOWS = 100
"""Segments of a file."""
FILES_PER_TRANSACTION = 200
RESULTS = 10


class DrawnEncoder:
    """Encodes each text as a random vector, drawn like a query of another modality."""

    def __init__(self, dim: int) -> None:
        self._drawn = Drawn(dim)
        self.spec = SpaceSpec(
            name="drawn",
            dim=dim,
            modalities=frozenset({Modality.AUDIO, Modality.TEXT}),
            licence="MIT",
            fingerprint=f"drawn {dim}",
            summary="Random vectors, for benchmarks.",
        )

    def prepare(self, piece: Piece) -> Prepared:
        return piece.content

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        seeds = [int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:4], "big") for text in batch]
        return np.stack([self._drawn.queries(2, seed=seed)[1] for seed in seeds])


def filled(folder: Path, vectors: Vectors, space: Space) -> bindsearch.Library:
    """Return a library of files that exist only in its ledger."""
    library = bindsearch.open(folder / "drawn.library", space=space)
    ledger = library._editions.now().ledger
    files = len(vectors) // WINDOWS
    for start in range(0, files, FILES_PER_TRANSACTION):

        def put(txn: object, start: int = start) -> None:
            for number in range(start, min(start + FILES_PER_TRANSACTION, files)):
                rows = vectors[number * WINDOWS : (number + 1) * WINDOWS]
                digest = hashlib.blake2b(str(number).encode(), digest_size=16).digest()
                spans = [Span(2.0 * place, 2.0 * place + 2.0) for place in range(WINDOWS)]
                content = Content(Modality.AUDIO, "wav", 1, 2.0 * WINDOWS, 1.0, [Run(Modality.AUDIO, spans, rows)])
                txn.put_item(digest, content)  # type: ignore[attr-defined]
                txn.link(PathRecord(folder / f"{number:07d}.wav", Stamp(1, 1), digest))  # type: ignore[attr-defined]

        ledger.write(put)
    return library


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(n: int, options: argparse.Namespace) -> None:
    encoder = DrawnEncoder(options.dim)
    space = Space(encoder)
    vectors = Drawn(options.dim).segments(n, seed=1).astype(np.float16).astype(np.float32)
    flat = faiss.IndexFlatIP(options.dim)
    flat.add(vectors)
    words = [f"query {number}" for number in range(options.queries)]
    asked = space.embed(words, modality="text")
    with TemporaryDirectory() as place:
        folder = Path(place)
        library = filled(folder, vectors, space)
        del vectors
        library.rebuild_index("exact")
        with library._editions.now().ledger.read() as snapshot:
            index = library._editions.now().index_store.follow(snapshot)[Modality.AUDIO]
        first = seconds(lambda: library.search(words[0]))
        seconds(lambda: library.search(words[1]))
        searches: dict[str, Callable[[int], object]] = {
            "FAISS, flat": lambda at: flat.search(asked[at : at + 1], 4 * RESULTS + 16),
            "its own index": lambda at: index.search(asked[at : at + 1], 4 * RESULTS + 16),
            "search, --raw": lambda at: library.search(words[at], k=RESULTS, raw=True),
            "search": lambda at: library.search(words[at], k=RESULTS),
            "search, --why": lambda at: library.search(words[at], k=RESULTS, why=True),
        }
        times: dict[str, list[float]] = {name: [] for name in searches}
        for at in [*range(options.queries)] * options.turns:
            for name, search in searches.items():
                times[name].append(1000 * seconds(lambda search=search, at=at: search(at)))
        library.close()
    show(n, times, first=first, as_json=options.json)


def show(n: int, times: dict[str, list[float]], *, first: float, as_json: bool) -> None:
    flat, own = times["FAISS, flat"], times["its own index"]
    if not as_json:
        print(
            f"{n:,} segments; the first search of all took {first:.2f} s, in which the null distributions were fitted"
        )
        print(f"{'':<16}{'ms':>9}{'ratio':>8}{'beyond ms':>11}")
    for name, took in times.items():
        ms = statistics.median(took)
        ratio = statistics.median(one / other for one, other in zip(took, flat, strict=True))
        beyond = statistics.median(one - other for one, other in zip(took, own, strict=True))
        if as_json:
            row = {"what": name, "n": n, "ms": round(ms, 3), "ratio": round(ratio, 3), "beyond_ms": round(beyond, 3)}
            print(json.dumps(row | {"first_s": round(first, 2)}), flush=True)
        else:
            print(f"{name:<16}{ms:>9.2f}{ratio:>8.2f}{beyond:>11.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 segments")
    parser.add_argument("--json", action="store_true", help="print one JSON object a row")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000_000], metavar="N")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    faiss.omp_set_num_threads(1)
    for n in [50_000] if options.quick else options.sizes:
        measure(n, options)


if __name__ == "__main__":
    main()
