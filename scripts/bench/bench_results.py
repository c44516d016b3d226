"""Measure what a search costs beyond its index: rank, expectation, explanation; beside a bare flat search of FAISS.

A library is made of drawn vectors (bench_vectors.py): sounds of a hundred windows each, and words that no file says.
All that is timed is asked in the public way, on one thread of FAISS, in turns, so that a busy moment of the machine
falls on all alike. `ratio` is the median, over the turns, of a time to that of FAISS in the same turn; `beyond` is the
median of the time beyond the library's own index.

    python scripts/bench/bench_results.py                  1,000,000 segments of 256; needs 6 GB and a few minutes
    python scripts/bench/bench_results.py --quick          50,000 segments
    python scripts/bench/bench_results.py --json           one object a row
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
TOGETHER = 200
"""Files of one transaction."""
FOUND = 10


class DrawnEncoder:
    """Gives every text a vector of its own that is drawn as queries of another modality are."""

    def __init__(self, dim: int) -> None:
        self._drawn = Drawn(dim)
        self.spec = SpaceSpec(
            name="drawn",
            dim=dim,
            modalities=frozenset({Modality.AUDIO, Modality.TEXT}),
            licence="MIT",
            fingerprint=f"drawn {dim}",
            summary="Drawn by a seed, for measuring.",
        )

    def prepare(self, piece: Piece) -> Prepared:
        return piece.content

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        seeds = [int.from_bytes(hashlib.sha256(str(text).encode()).digest()[:4], "big") for text in batch]
        return np.stack([self._drawn.queries(2, seed=seed)[1] for seed in seeds])


def filled(folder: Path, vectors: Vectors, space: Space) -> bindsearch.Library:
    """Make a library of files that exist in its ledger only."""
    library = bindsearch.open(folder / "drawn.library", space=space)
    ledger = library._editions.now().ledger
    files = len(vectors) // WINDOWS
    for start in range(0, files, TOGETHER):

        def put(txn: object, start: int = start) -> None:
            for number in range(start, min(start + TOGETHER, files)):
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
        ways: dict[str, Callable[[int], object]] = {
            "FAISS, flat": lambda at: flat.search(asked[at : at + 1], 4 * FOUND + 16),
            "its own index": lambda at: index.search(asked[at : at + 1], 4 * FOUND + 16),
            "search, --raw": lambda at: library.search(words[at], k=FOUND, raw=True),
            "search": lambda at: library.search(words[at], k=FOUND),
            "search, --why": lambda at: library.search(words[at], k=FOUND, why=True),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for at in [*range(options.queries)] * options.turns:
            for name, way in ways.items():
                times[name].append(1000 * seconds(lambda way=way, at=at: way(at)))
        library.close()
    show(n, times, first=first, as_json=options.json)


def show(n: int, times: dict[str, list[float]], *, first: float, as_json: bool) -> None:
    flat, own = times["FAISS, flat"], times["its own index"]
    if not as_json:
        print(f"{n:,} segments; the first search of all took {first:.2f} s, in which what chance gives was fitted")
        print(f"{'':<16}{'ms':>9}{'ratio':>8}{'beyond ms':>11}")
    for name, took in times.items():
        ms = statistics.median(took)
        ratio = statistics.median(one / other for one, other in zip(took, flat, strict=True))
        beyond = statistics.median(one - other for one, other in zip(took, own, strict=True))
        if as_json:
            told = {"what": name, "n": n, "ms": round(ms, 3), "ratio": round(ratio, 3), "beyond_ms": round(beyond, 3)}
            print(json.dumps(told | {"first_s": round(first, 2)}), flush=True)
        else:
            print(f"{name:<16}{ms:>9.2f}{ratio:>8.2f}{beyond:>11.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="50,000 segments")
    parser.add_argument("--json", action="store_true", help="one object a row")
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
