"""Kill -9 a process that makes indexes anew, in cells, at every stage of it, and look whether anything is lost.

    python tests/stress/stress_rebuild.py [--times 30] [--seed 0] [--texts 36]

A library of texts has the index `ivf`, with cells although it is small, and more than enough segments to search in
them. Round after round either its indexes are made anew,
or half as many texts come, so that a merge is due; the process is killed at a stage that is drawn: while it builds,
measures, writes, switches, or clears what is old, at once or a moment later. Then the library must open, answer as a
library that was never killed, hold all segments, and please `doctor`. Exit status 1 if any of that fails.
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
from pathlib import Path

import numpy as np
from bindsearch.indexes.approximate.ivf import IvfIndex

import bindsearch
from bindsearch import registry
from bindsearch.core.progress import Progress

STAGES = ("building", "measuring", "writing", "switching", "clearing")
WORDS = "red fire green forest low rumble static noise blue water bright snow dark night loud bell soft wind".split()
QUESTIONS = ("green forest", "a low rumble", "bright snow at night")
PASSAGES = 50
"""In each text."""
DELAY = 0.05
"""Seconds, at most, that pass between the beginning of a stage and the kill."""

MIN_ROWS = 64
"""Fewer than cells otherwise need, so that many rounds take little time."""

Answers = list[list[tuple[str, float]]]


class SmallCells(IvfIndex):
    """The index `ivf`, with cells from few rows on."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, min_generator_rows=MIN_ROWS)


def write_texts(folder: Path, numbers: range) -> None:
    """Write texts of drawn words, each of many passages."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        drawn = np.random.default_rng(number).choice(WORDS, (PASSAGES, 120))
        (folder / f"{number}.txt").write_text("\n\n".join(" ".join(row) + "." for row in drawn))


def work(library: Path, media: Path, kind: str) -> int:
    """Index, and make the indexes anew if a kind is given; tell each stage on stdout as it begins."""
    registry.INDEXES["ivf"] = "stress_rebuild:SmallCells"
    before = ""

    def on_progress(progress: Progress) -> None:
        nonlocal before
        stage = progress.building.stage if progress.building and progress.building.modality == "text" else ""
        if stage and stage != before:
            print(stage, flush=True)
        before = stage

    with bindsearch.open(library) as opened:
        opened.index(media, progress=on_progress)
        if kind:
            opened.rebuild_index(kind, progress=on_progress)
    return 0


def worker(library: Path, media: Path, kind: str) -> list[str]:
    """Return the command that does the work in a process of its own."""
    return [sys.executable, __file__, "--work", str(library), "--media", str(media), "--kind", kind]


def killed_at(library: Path, media: Path, kind: str, stage: str, delay: float) -> bool:
    """Run the work and kill it a moment after a stage began; tell whether it was still running."""
    with subprocess.Popen(worker(library, media, kind), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == stage:
                time.sleep(delay)
                process.kill()
                break
        process.communicate()
        if process.returncode > 0:
            raise RuntimeError(f"the work itself failed with status {process.returncode}")
        return process.returncode != 0


def answers(library: bindsearch.Library) -> Answers:
    """Ask for all texts: so many that every index looks at everything, and answers alike.

    By plain scores, that is. By expectation near ties may change places, for which of many vectors chance is fitted
    to depends on the order in which they came; the same texts must come.
    """
    told = []
    for question in QUESTIONS:
        plain, expected = (library.search(question, k=len(library), raw=raw) for raw in (True, False))
        told.append([(hit.path.name, round(hit.score, 6)) for hit in plain])
        told.append(sorted((hit.path.name, 0.0) for hit in expected))
    return told


def faults(library: Path, expected: Answers, segments: int) -> list[str]:
    """Say in what a library differs from one that was never killed."""
    with bindsearch.open(library) as opened:
        told = [] if answers(opened) == expected else ["it answers otherwise"]
        there = opened.status().segments
        told += [] if there == segments else [f"{there} segments, not {segments}"]
        return told + opened.doctor()


def truth(folder: Path, media: Path) -> tuple[Answers, int]:
    """Return what a library answers that has the exact index and was never killed, and its number of segments."""
    with bindsearch.open(folder) as opened:
        opened.index(media)
        return answers(opened), opened.status().segments


def trial(folder: Path, *, times: int, texts: int, seed: int, say: bool = False) -> tuple[Counter[str], list[str]]:
    """Return how often the process was killed at each stage, and all faults that were found."""
    media, less, drawn = folder / "media", folder / "less", random.Random(seed)
    write_texts(media, range(texts))
    write_texts(less, range(texts))
    few = truth(folder / "few.library", less)
    write_texts(media, range(texts, texts + texts // 2))
    many = truth(folder / "many.library", media)
    base = folder / "base.library"
    subprocess.run(worker(base, less, "ivf"), check=True, stdout=subprocess.DEVNULL)
    kills: Counter[str] = Counter()
    told: list[str] = []
    library = folder / "killed.library"
    while kills.total() < times:
        grows = kills.total() % 3 == 2
        if grows or not library.exists():
            shutil.rmtree(library, ignore_errors=True)
            shutil.copytree(base, library)
        stage = STAGES[kills.total() % len(STAGES)]
        added = folder / "added"
        if grows:
            shutil.rmtree(added, ignore_errors=True)
            write_texts(added, range(texts, texts + texts // 2))
        else:
            added = less
        delay = drawn.choice([0.0, drawn.uniform(0, DELAY)])
        if killed_at(library, added, "" if grows else "ivf", stage, delay):
            kills[stage] += 1
            expected, segments = many if grows else few
            found = faults(library, expected, segments)
            told += [f"killed while {stage}: {fault}" for fault in found]
            if say:
                print(
                    f"{kills.total()}: killed {'a merge' if grows else 'a rebuild'} while {stage}, {len(found)} faults"
                )
        if grows:
            shutil.rmtree(library)
    return kills, told


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=30)
    options.add_argument("--texts", type=int, default=36)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--media", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--kind", default="", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.work:
        return work(chosen.work, chosen.media, chosen.kind)
    with tempfile.TemporaryDirectory() as folder:
        kills, told = trial(Path(folder), times=chosen.times, texts=chosen.texts, seed=chosen.seed, say=True)
    print("\n".join(told[:20]))
    print(
        f"{kills.total()} kills ({', '.join(f'{stage} {count}' for stage, count in kills.items())}), {len(told)} faults"
    )
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
