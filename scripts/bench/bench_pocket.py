"""Measure the pocket space: its size, how fast it indexes photos and sounds, and how long a query takes.

Photos, 640 x 480 JPEGs with detail at all scales, and the sound are synthetic. Every figure is the median of five
turns. Photos and sounds are measured from files to library, with the towers in memory.

    python scripts/bench/bench_pocket.py
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bindsearch.encoders.pocket.encoder import WEIGHTS
from PIL import Image

import bindsearch

TURNS = 5
PHOTOS, TEXTS, SECONDS = 128, 512, 300
QUERY_CODE = "import bindsearch; bindsearch.space('pocket').embed(['rain'], modality='text')"
IMAGE_CODE = "import bindsearch; bindsearch.space('pocket').embed(['{}'])"


def photo(path: Path, rng: np.random.Generator) -> None:
    """Write an image of coloured noise at all scales."""
    picture = np.zeros((480, 640, 3))
    for side in (4, 16, 64, 160):
        rough = Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8))
        picture += np.asarray(rough.resize((640, 480), Image.Resampling.BICUBIC), float) / 4
    Image.fromarray(picture.astype(np.uint8)).save(path, quality=88)


def sound(path: Path, rng: np.random.Generator) -> None:
    """Write noise that swells and fades."""
    swell = np.sin(np.linspace(0, 60, SECONDS * 16_000)) * 0.4
    samples = (rng.normal(size=len(swell)) * swell * 8_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


def median(action: Callable[[int], object]) -> float:
    """Return the median seconds of an action, which is called with the number of the turn."""
    times = []
    for turn in range(TURNS):
        start = time.perf_counter()
        action(turn)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def indexing(folder: Path, space: bindsearch.Space) -> Callable[[int], object]:
    """Return an action that indexes a folder into a new library."""

    def index(turn: int) -> None:
        with bindsearch.open(folder.with_name(f"{folder.name}{turn}.library"), space=space) as library:
            assert library.index(folder).added

    return index


def new_process(code: str) -> Callable[[int], object]:
    """Return an action that runs a line of Python in a process of its own."""
    return lambda _: subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Create the media, measure, and print a table."""
    argparse.ArgumentParser(description="measure the pocket space").parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported
    rng = np.random.default_rng(0)
    space = bindsearch.space("pocket")
    with tempfile.TemporaryDirectory() as home:
        photos, sounds = Path(home) / "photos", Path(home) / "sounds"
        photos.mkdir()
        sounds.mkdir()
        for number in range(PHOTOS):
            photo(photos / f"{number}.jpg", rng)
        sound(sounds / "long.wav", rng)
        space.embed([str(photos / "0.jpg"), str(sounds / "long.wav")])
        words = ["dog", "sea", "rain", "a man on a bicycle", "street at night", "church", "two children playing"]
        texts = [" and ".join(rng.choice(words, 2)) + f" {number}" for number in range(TURNS * TEXTS)]
        text_seconds = median(lambda turn: space.embed(texts[turn * TEXTS : (turn + 1) * TEXTS], modality="text"))
        rows = [
            ("photos a second, from files to library", PHOTOS / median(indexing(photos, space))),
            ("sound, times real time, from file to library", SECONDS / median(indexing(sounds, space))),
            ("texts a second", TEXTS / text_seconds),
            ("weights, MiB", (WEIGHTS / "pocket.safetensors").stat().st_size / 2**20),
            ("python -c pass, ms", 1000 * median(new_process("pass"))),
            ("import bindsearch, ms", 1000 * median(new_process("import bindsearch"))),
            ("a text query embedded in a new process, ms", 1000 * median(new_process(QUERY_CODE))),
            ("an image embedded in a new process, ms", 1000 * median(new_process(IMAGE_CODE.format(photos / "0.jpg")))),
        ]
    for name, figure in rows:
        print(f"{name:<46}{figure:10.1f}")


if __name__ == "__main__":
    main()
