"""Kill -9 a process that rebuilds the indexes as `ivf`, at every stage of the build, and check that nothing is lost.

    python tests/stress/stress_rebuild.py [--times 30] [--seed 0] [--texts 36]

A library of texts has the index `ivf`, with IVF lists although it is small, and more than enough segments to be
searched by them. In each round either its indexes are rebuilt, or half as many texts are added, so that a merge is
due. The process is killed at the beginning of a stage (building, measuring, writing, switching, clearing) or a random
moment later. Then the library must open, return the hits of a library that was never killed, hold all segments, and
pass `doctor`. Exit status 1 if any of that fails.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bindsearch.indexes.approximate.ivf import IvfIndex
from stress_kill import print_problems

import bindsearch
from bindsearch import registry
from bindsearch.core.progress import BuildStage, Progress

WORDS = "red fire green forest low rumble static noise blue water bright snow dark night loud bell soft wind".split()
QUERIES = ("green forest", "a low rumble", "bright snow at night")
PASSAGES_PER_TEXT = 50
WORDS_PER_PASSAGE = 120
MAX_DELAY_SECONDS = 0.05
"""The longest time between the beginning of a stage and the kill."""
MIN_IVF_ROWS = 64
"""Fewer than IVF lists otherwise need, so that many rounds take little time."""
ROUNDS_PER_MERGE = 3
"""One round in so many adds texts; the others rebuild the indexes."""

Hits = list[list[tuple[str, float]]]


@dataclass
class RebuildReport:
    kills: Counter[BuildStage] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Expected:
    """What a library that was never killed returns, and its number of segments."""

    hits: Hits
    segments: int


class SmallIvfIndex(IvfIndex):
    """The index `ivf`, with IVF lists from few rows on."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, min_generator_rows=MIN_IVF_ROWS)


def write_texts(folder: Path, numbers: range) -> None:
    """Write texts of random words, each of many passages."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        passages = np.random.default_rng(number).choice(WORDS, (PASSAGES_PER_TEXT, WORDS_PER_PASSAGE))
        (folder / f"{number}.txt").write_text("\n\n".join(" ".join(words) + "." for words in passages))


def index_and_rebuild(library: Path, media: Path, kind: str) -> int:
    """Index, and rebuild the indexes if a kind is given; print each stage of the text index as it begins."""
    registry.INDEXES["ivf"] = "stress_rebuild:SmallIvfIndex"
    previous = ""

    def on_progress(progress: Progress) -> None:
        nonlocal previous
        stage = progress.building.stage if progress.building and progress.building.modality == "text" else ""
        if stage and stage != previous:
            print(stage, flush=True)
        previous = stage

    with bindsearch.open(library) as opened:
        opened.index(media, progress=on_progress)
        if kind:
            opened.rebuild_index(kind, progress=on_progress)
    return 0


def worker_command(library: Path, media: Path, kind: str) -> list[str]:
    """Return the command that indexes and rebuilds in a process of its own."""
    return [sys.executable, __file__, "--work", str(library), "--media", str(media), "--kind", kind]


def kill_at(command: list[str], stage: BuildStage, *, delay: float) -> bool:
    """Run a worker and kill it `delay` seconds after a stage began; return whether it was still running."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == stage:
                time.sleep(delay)
                process.kill()
                break
        process.communicate()
        if process.returncode > 0:
            raise RuntimeError(f"the worker failed with status {process.returncode}")
        return process.returncode != 0


def hits_of(library: bindsearch.Library) -> Hits:
    """Return the hits of all queries with k = all texts, for which every index compares everything.

    Scores must be equal. E-values need not be: null distributions are fitted to a sample of the vectors, which depends
    on the order in which they were added, so near ties may change places; the same texts must be listed.
    """
    hits = []
    for query in QUERIES:
        by_score, by_evalue = (library.search(query, k=len(library), raw=raw) for raw in (True, False))
        hits.append([(hit.path.name, round(hit.score, 6)) for hit in by_score])
        hits.append(sorted((hit.path.name, 0.0) for hit in by_evalue))
    return hits


def find_problems(library: Path, expected: Expected) -> list[str]:
    """Return what `doctor` finds, and how a library differs from one that was never killed."""
    with bindsearch.open(library) as opened:
        problems = [] if hits_of(opened) == expected.hits else ["the hits differ"]
        segments = opened.status().segments
        if segments != expected.segments:
            problems.append(f"{segments} segments, not {expected.segments}")
        return problems + opened.doctor()


def index_exactly(folder: Path, media: Path) -> Expected:
    """Index the media in a new library with the exact index; return its hits and its number of segments."""
    with bindsearch.open(folder) as opened:
        opened.index(media)
        return Expected(hits_of(opened), opened.status().segments)


class RebuildKiller:
    """A library that is rebuilt or added to, round after round, and the hits that it must return."""

    def __init__(self, folder: Path, *, texts: int, seed: int, verbose: bool) -> None:
        self._rng, self._verbose = random.Random(seed), verbose
        self._base, self._library = folder / "base.library", folder / "killed.library"
        self._media, self._added = folder / "media", folder / "added"
        self._added_numbers = range(texts, texts + texts // 2)
        write_texts(self._media, range(texts))
        self._before = index_exactly(folder / "before.library", self._media)
        more = folder / "more"
        write_texts(more, range(texts))
        write_texts(more, self._added_numbers)
        self._after = index_exactly(folder / "after.library", more)
        subprocess.run(worker_command(self._base, self._media, "ivf"), check=True, stdout=subprocess.DEVNULL)
        self.report = RebuildReport()

    def run_round(self) -> None:
        """Kill a rebuild, or every third time a merge, at the next stage; check the library."""
        kills = self.report.kills.total()
        is_merge = kills % ROUNDS_PER_MERGE == ROUNDS_PER_MERGE - 1
        if is_merge or not self._library.exists():
            shutil.rmtree(self._library, ignore_errors=True)
            shutil.copytree(self._base, self._library)
        stages = list(BuildStage)
        stage = stages[kills % len(stages)]
        command = self._command(is_merge=is_merge)
        if kill_at(command, stage, delay=self._rng.choice([0.0, self._rng.uniform(0, MAX_DELAY_SECONDS)])):
            self._check(stage, is_merge=is_merge)
        if is_merge:
            shutil.rmtree(self._library)

    def _command(self, *, is_merge: bool) -> list[str]:
        if not is_merge:
            return worker_command(self._library, self._media, "ivf")
        shutil.rmtree(self._added, ignore_errors=True)
        write_texts(self._added, self._added_numbers)
        return worker_command(self._library, self._added, "")

    def _check(self, stage: BuildStage, *, is_merge: bool) -> None:
        self.report.kills[stage] += 1
        problems = find_problems(self._library, self._after if is_merge else self._before)
        self.report.problems += [f"killed while {stage}: {problem}" for problem in problems]
        if self._verbose:
            what = "a merge" if is_merge else "a rebuild"
            print(f"{self.report.kills.total()}: killed {what} while {stage}, {len(problems)} problems")


def kill_rebuilds(folder: Path, *, times: int, texts: int, seed: int, verbose: bool = False) -> RebuildReport:
    """Kill rebuilds and merges `times` times, at each stage in turn."""
    killer = RebuildKiller(folder, texts=texts, seed=seed, verbose=verbose)
    while killer.report.kills.total() < times:
        killer.run_round()
    return killer.report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=30)
    parser.add_argument("--texts", type=int, default=36)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--media", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return index_and_rebuild(options.work, options.media, options.kind)
    with tempfile.TemporaryDirectory() as folder:
        report = kill_rebuilds(Path(folder), times=options.times, texts=options.texts, seed=options.seed, verbose=True)
    print_problems(report.problems)
    stages = ", ".join(f"{stage} {count}" for stage, count in report.kills.items())
    print(f"{report.kills.total()} kills ({stages}), {len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
