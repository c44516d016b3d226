"""Kill -9 an indexing process at random moments, run it again each time, and compare with an uninterrupted run.

    python tests/stress/stress_kill.py [--times 50] [--seed 0] [--files 600]

Exit status 1 if any path, segment, vector or index differs, or `doctor` finds a fault.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import bindsearch

Truth = dict[str, tuple[str, list[object], bytes]]


def make_media(folder: Path, *, files: int, seed: int) -> None:
    """Write pictures of noise, sounds of noise and texts, a third each, with some copies among them."""
    random_numbers = np.random.default_rng(seed)
    for number in range(files):
        place = folder / f"{number % 7}" / f"{number:05d}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if number % 3 == 0:
            pixels = random_numbers.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place.with_suffix(".png"))
        elif number % 3 == 1:
            write_wav(place.with_suffix(".wav"), random_numbers.normal(0, 0.1, 16_000 * (1 + number % 9)))
        else:
            place.with_suffix(".txt").write_text(
                f"Text {number if number % 10 else 0} of the trial. " * (number % 40 + 1)
            )


def write_wav(path: Path, samples: np.ndarray, *, rate: int = 16_000) -> None:
    """Write samples as 16-bit mono."""
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def index_command(library: Path, media: Path) -> list[str]:
    """Return the command that a person would type."""
    return [sys.executable, "-m", "bindsearch", "index", "--quiet", "--library", str(library), str(media)]


def truth_of(library: Path) -> Truth:
    """Give, for every path, the content, the segments and the vectors that the library holds."""
    with bindsearch.open(library) as opened:
        return {
            str(path): (item.hash, [s.span for s in item.segments], opened.vectors(item).tobytes())
            for item in opened.items()
            for path in item.paths
        }


def killed(command: list[str], *, after: float) -> bool:
    """Start a command and kill it after some seconds; tell whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


def faults(library: Path, expected: Truth) -> list[str]:
    """Say where a library differs from what it should hold."""
    with bindsearch.open(library) as opened:
        told = opened.doctor()
        segments = sum(len(item.segments) for item in opened.items())
        status = opened.status()
    if status.segments != segments:
        told.append(f"{status.segments} segments are counted, {segments} are there")
    found = truth_of(library)
    told += [f"{path}: missing" for path in expected.keys() - found.keys()]
    told += [f"{path}: should not be there" for path in found.keys() - expected.keys()]
    told += [f"{path}: differs" for path in expected.keys() & found.keys() if expected[path] != found[path]]
    return told


def trial(folder: Path, *, times: int, files: int, seed: int, say: bool = False) -> tuple[int, list[str]]:
    """Return how often a running process was killed, and all faults that were found."""
    media = folder / "media"
    make_media(media, files=files, seed=seed)
    began = time.monotonic()
    subprocess.run(index_command(folder / "whole.library", media), check=True)
    whole = time.monotonic() - began
    expected = truth_of(folder / "whole.library")
    moments = random.Random(seed)
    kills, told, round_number = 0, [], 0
    while kills < times:
        round_number += 1
        library = folder / f"{round_number}.library"
        in_this_library = 0
        command = index_command(library, media)
        while killed(command, after=moments.uniform(0.05, whole)) and kills + in_this_library < times:
            in_this_library += 1
        subprocess.run(command, check=True)
        kills += in_this_library
        told += faults(library, expected)
        if say:
            print(f"library {round_number}: killed {in_this_library} times ({kills} in all), {len(told)} faults")
    return kills, told


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=50)
    options.add_argument("--files", type=int, default=600)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kills, told = trial(Path(folder), times=chosen.times, files=chosen.files, seed=chosen.seed, say=True)
    print("\n".join(told[:20]))
    print(f"{kills} kills, {len(told)} faults")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
