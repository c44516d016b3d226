"""Search without pause from several processes while another indexes and deletes; every answer must be whole.

    python tests/stress/stress_readers.py [--readers 3] [--rounds 10]

Pictures of known colours come and go. An answer is torn if it holds fewer hits than lie in the library at any moment
of the search, a hit twice, a score that is not its picture's, or an order that is not by score. Exit status 1 if any
is torn or any process fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

import bindsearch

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]
STEADY = 40
"""Pictures that stay from the first run to the last."""


def make_pictures(folder: Path, *, first: int, count: int) -> list[Path]:
    """Write pictures that differ in colour and, a little, in size."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(first, first + count):
        colour = COLOURS[number % len(COLOURS)]
        path = folder / f"{number:05d}-{colour}.png"
        Image.new("RGB", (32 + number % 50, 32 + number // 50), colour).save(path)
        made.append(path)
    return made


def flaws(hits: bindsearch.Hits, *, asked: int, right_scores: dict[str, float]) -> list[str]:
    """Say what is torn about an answer to a query for a colour, in plain order."""
    told = []
    scores = [hit.score for hit in hits]
    if len(hits) < min(asked, STEADY):
        told.append(f"{len(hits)} hits, but at least {min(asked, STEADY)} pictures were there all the time")
    if len({hit.path for hit in hits}) < len(hits):
        told.append("a path came twice")
    if scores != sorted(scores, reverse=True):
        told.append("not in order")
    for hit in hits:
        colour = hit.path.stem.split("-")[1]
        if abs(hit.score - right_scores[colour]) > 0.02:
            told.append(f"{hit.path.name} has score {hit.score}, but {colour} has {right_scores[colour]}")
    return told


def scores_of_colours(library: bindsearch.Library) -> dict[str, float]:
    """Return the score that each colour has in a search for red, while all colours are in the library."""
    return {hit.path.stem.split("-")[1]: hit.score for hit in library.search("red", k=STEADY, raw=True)}


def read(library: Path, until: Path, right: dict[str, float]) -> int:
    """Search until a file appears; print what was seen as JSON."""
    answers, told = 0, []
    with bindsearch.open(library) as opened:
        while not until.exists():
            told += flaws(opened.search("red", k=60, raw=True), asked=60, right_scores=right)
            answers += 1
            if answers == 1:
                until.with_name(f"reading-{os.getpid()}").touch()
    print(json.dumps({"answers": answers, "flaws": told}))
    return 0


def trial(folder: Path, *, readers: int, rounds: int) -> tuple[int, list[str]]:
    """Return the number of answers, and what was torn."""
    media, library, end = folder / "media", folder / "my.library", folder / "end"
    make_pictures(media, first=0, count=STEADY)
    with bindsearch.open(library) as writer:
        writer.index(media)
        right = json.dumps(scores_of_colours(writer))
        command = [sys.executable, __file__, "--read", str(library), "--until", str(end), "--right", right]
        processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(readers)]
        while len(list(folder.glob("reading-*"))) < readers and all(process.poll() is None for process in processes):
            time.sleep(0.05)
        for number in range(rounds):
            passing = make_pictures(media / "passing", first=1000 + 100 * (number % 3), count=60)
            writer.index(media)
            for path in passing[number % 2 :: 2]:
                path.unlink()
            writer.index(media)
        end.touch()
        told = writer.doctor()
    answers = 0
    for process in processes:
        output, _ = process.communicate(timeout=60)
        if process.returncode:
            told.append(f"a reader ended with {process.returncode}")
            continue
        seen = json.loads(output)
        answers += seen["answers"]
        told += seen["flaws"]
    return answers, told


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--readers", type=int, default=3)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--until", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--right", type=json.loads, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.read:
        return read(chosen.read, chosen.until, chosen.right)
    with tempfile.TemporaryDirectory() as folder:
        answers, told = trial(Path(folder), readers=chosen.readers, rounds=chosen.rounds)
    print("\n".join(told[:20]))
    print(f"{answers} answers while the library changed {2 * chosen.rounds} times: {len(told)} faults")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
