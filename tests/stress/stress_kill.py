"""Kill -9 an indexing process at random moments, restart it each time, and compare with an uninterrupted run.

    python tests/stress/stress_kill.py [--times 50] [--seed 0] [--files 600]

Exit status 1 if any path, segment, vector or index differs, or `doctor` finds a problem.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

import bindsearch

MIN_SECONDS_TO_KILL = 0.05
MAX_PRINTED_PROBLEMS = 20

Contents = dict[str, tuple[str, list[object], bytes]]
"""By path: the digest of the file, its spans, its vectors."""


@dataclass
class KillReport:
    kills: int = 0
    problems: list[str] = field(default_factory=list)


def make_media(folder: Path, *, files: int, seed: int) -> None:
    """Write images of noise, sounds of noise and texts, a third each, with some copies among them."""
    rng = np.random.default_rng(seed)
    for number in range(files):
        stem = folder / f"{number % 7}" / f"{number:05d}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        if number % 3 == 0:
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(stem.with_suffix(".png"))
        elif number % 3 == 1:
            write_wav(stem.with_suffix(".wav"), rng.normal(0, 0.1, 16_000 * (1 + number % 9)))
        else:
            sentence = f"Text {number if number % 10 else 0} of the collection. "
            stem.with_suffix(".txt").write_text(sentence * (number % 40 + 1))


def write_wav(path: Path, samples: np.ndarray, *, rate: int = 16_000) -> None:
    """Write samples as 16-bit mono."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def index_command(library: Path, media: Path) -> list[str]:
    """Return the command line that indexes the media."""
    return [sys.executable, "-m", "bindsearch", "index", "--quiet", "--library", str(library), str(media)]


def contents_of(library: Path) -> Contents:
    """Return the digest, the spans and the vectors of every path in a library."""
    with bindsearch.open(library) as opened:
        return {
            str(path): (item.hash, [s.span for s in item.segments], opened.vectors(item).tobytes())
            for item in opened.items()
            for path in item.paths
        }


def kill_after(command: list[str], *, seconds: float) -> bool:
    """Start a command and kill it after some seconds; return whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def find_problems(library: Path, expected: Contents) -> list[str]:
    """Return what `doctor` finds, and where the library differs from the expected contents."""
    with bindsearch.open(library) as opened:
        problems = opened.doctor()
        segments = sum(len(item.segments) for item in opened.items())
        status = opened.status()
    if status.segments != segments:
        problems.append(f"status counts {status.segments} segments, but the items have {segments}")
    found = contents_of(library)
    problems += [f"{path}: missing" for path in expected.keys() - found.keys()]
    problems += [f"{path}: unexpected" for path in found.keys() - expected.keys()]
    problems += [f"{path}: differs" for path in expected.keys() & found.keys() if expected[path] != found[path]]
    return problems


def kill_index_runs(folder: Path, *, times: int, files: int, seed: int, verbose: bool = False) -> KillReport:
    """Kill index runs until `times` of them were killed; check each library once a run has completed it."""
    media = folder / "media"
    make_media(media, files=files, seed=seed)
    began = time.monotonic()
    subprocess.run(index_command(folder / "whole.library", media), check=True)
    whole_seconds = time.monotonic() - began
    expected = contents_of(folder / "whole.library")
    rng = random.Random(seed)
    report, library_number = KillReport(), 0
    while report.kills < times:
        library_number += 1
        library = folder / f"{library_number}.library"
        command = index_command(library, media)
        kills = 0
        while kill_after(command, seconds=rng.uniform(MIN_SECONDS_TO_KILL, whole_seconds)):
            if report.kills + kills == times:
                break
            kills += 1
        subprocess.run(command, check=True)
        report.kills += kills
        report.problems += find_problems(library, expected)
        if verbose:
            print(
                f"library {library_number}: killed {kills} times ({report.kills} in total), "
                f"{len(report.problems)} problems"
            )
    return report


def print_problems(problems: list[str]) -> None:
    """Print the first problems, one per line."""
    print("\n".join(problems[:MAX_PRINTED_PROBLEMS]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--files", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = kill_index_runs(
            Path(folder), times=options.times, files=options.files, seed=options.seed, verbose=True
        )
    print_problems(report.problems)
    print(f"{report.kills} kills, {len(report.problems)} problems")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
