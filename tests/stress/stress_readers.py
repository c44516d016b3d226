"""Search without pause from several processes while another indexes and deletes; check that every result is whole.

    python tests/stress/stress_readers.py [--readers 3] [--rounds 10]

Images of known colours are added and removed. A list of hits is torn if it is shorter than the number of images that
are always in the library, contains a path twice or a score that is not its image's, or is not sorted by score. Exit
status 1 if any list is torn or any process fails.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from stress_kill import print_problems

import bindsearch

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]
PERMANENT_IMAGES = 40
"""Images that stay from the first run to the last."""
TRANSIENT_IMAGES = 60
"""Images that each round adds; half of them are deleted at once, and all may be replaced in a later round."""
HITS = 60
SCORE_TOLERANCE = 0.02
READER_TIMEOUT_SECONDS = 60


@dataclass
class ReaderReport:
    searches: int = 0
    problems: list[str] = field(default_factory=list)


def write_images(folder: Path, *, first: int, count: int) -> list[Path]:
    """Write images that differ in colour and, a little, in size."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(first, first + count):
        colour = COLOURS[number % len(COLOURS)]
        path = folder / f"{number:05d}-{colour}.png"
        Image.new("RGB", (32 + number % 50, 32 + number // 50), colour).save(path)
        paths.append(path)
    return paths


def find_torn(hits: bindsearch.Hits, *, k: int, colour_scores: dict[str, float]) -> list[str]:
    """Return what is torn about the hits of a search for a colour that is ordered by score."""
    problems = []
    scores = [hit.score for hit in hits]
    if len(hits) < min(k, PERMANENT_IMAGES):
        problems.append(f"{len(hits)} hits, but at least {min(k, PERMANENT_IMAGES)} images were always there")
    if len({hit.path for hit in hits}) < len(hits):
        problems.append("a path is listed twice")
    if scores != sorted(scores, reverse=True):
        problems.append("not sorted by score")
    for hit in hits:
        colour = hit.path.stem.split("-")[1]
        if abs(hit.score - colour_scores[colour]) > SCORE_TOLERANCE:
            problems.append(f"{hit.path.name} has score {hit.score}, but {colour} has {colour_scores[colour]}")
    return problems


def scores_of_colours(library: bindsearch.Library) -> dict[str, float]:
    """Return the score of each colour in a search for red; all colours must be in the library."""
    return {hit.path.stem.split("-")[1]: hit.score for hit in library.search("red", k=PERMANENT_IMAGES, raw=True)}


def search_until(library: Path, end_file: Path, colour_scores: dict[str, float]) -> int:
    """Search until a file appears; print the number of searches and the problems as JSON."""
    report = ReaderReport()
    with bindsearch.open(library) as opened:
        while not end_file.exists():
            hits = opened.search("red", k=HITS, raw=True)
            report.problems += find_torn(hits, k=HITS, colour_scores=colour_scores)
            report.searches += 1
            if report.searches == 1:
                end_file.with_name(f"reading-{os.getpid()}").touch()
    print(json.dumps({"searches": report.searches, "problems": report.problems}))
    return 0


def start_readers(folder: Path, command: list[str], *, count: int) -> list[subprocess.Popen[str]]:
    """Start reader processes; return when each has searched once, or one has ended."""
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    while len(list(folder.glob("reading-*"))) < count and all(process.poll() is None for process in processes):
        time.sleep(0.05)
    return processes


def change_and_index(writer: bindsearch.Library, media: Path, *, rounds: int) -> None:
    """Add images, index, delete half of them, index: once per round."""
    for number in range(rounds):
        added = write_images(media / "transient", first=1000 + 100 * (number % 3), count=TRANSIENT_IMAGES)
        writer.index(media)
        for path in added[number % 2 :: 2]:
            path.unlink()
        writer.index(media)


def search_during_indexing(folder: Path, *, readers: int, rounds: int) -> ReaderReport:
    """Search in `readers` processes while this one changes the library twice a round."""
    media, library, end_file = folder / "media", folder / "my.library", folder / "end"
    write_images(media, first=0, count=PERMANENT_IMAGES)
    with bindsearch.open(library) as writer:
        writer.index(media)
        scores = json.dumps(scores_of_colours(writer))
        command = [sys.executable, __file__, "--read", str(library), "--until", str(end_file), "--scores", scores]
        processes = start_readers(folder, command, count=readers)
        change_and_index(writer, media, rounds=rounds)
        end_file.touch()
        total = ReaderReport(problems=writer.doctor())
    for process in processes:
        output, _ = process.communicate(timeout=READER_TIMEOUT_SECONDS)
        if process.returncode:
            total.problems.append(f"a reader ended with status {process.returncode}")
            continue
        report = ReaderReport(**json.loads(output))
        total.searches += report.searches
        total.problems += report.problems
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--scores", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        return search_until(options.read, options.until, options.scores)
    with tempfile.TemporaryDirectory() as folder:
        report = search_during_indexing(Path(folder), readers=options.readers, rounds=options.rounds)
    print_problems(report.problems)
    changes = 2 * options.rounds
    print(f"{report.searches} searches while the library changed {changes} times: {len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
