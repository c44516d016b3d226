"""Index 2,000 mixed files, of which 5 % are damaged, twice by the command line.

    python tests/stress/stress_damage.py [--files 2000] [--seed 0]

Every intact file must be indexed and every damaged one quarantined with a reason; the exit status must be 3, and
standard error hold bindsearch's own lines only. The second run must decode nothing and take less than 5 % of the time
of the first. Exit status 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]
DAMAGE_RATE = 1 / 16
"""The share of damaged files among the binary ones, which are four in five: 5 % of all."""
MAX_SECOND_RUN_SHARE = 0.05
"""The longest time of the second run, as a share of the first."""
OWN_MESSAGE = re.compile(r"bindsearch|  |[\d,]+(/[\d,]+)? files, ")
"""The beginning of a line that bindsearch writes to standard error."""


def write_image(path: Path, number: int) -> None:
    """Write an image of one colour with a square of noise."""
    rng = np.random.default_rng(number)
    image = Image.new("RGB", (200 + number % 100, 160), COLOURS[number % len(COLOURS)])
    noise = Image.fromarray(rng.integers(0, 256, (80, 80, 3), dtype=np.uint8))
    image.paste(noise, (number % 100, 40))
    image.save(path)


def write_sound(path: Path, number: int, codec: str) -> None:
    """Write three to six seconds of a tone with noise, in stereo."""
    rate, seconds = 48_000, 3 + number % 4
    times = np.arange(rate * seconds) / rate
    frequency = 80 * 2 ** (number % 6)
    tone = 0.4 * np.sin(2 * np.pi * frequency * times) + np.random.default_rng(number).normal(0, 0.02, len(times))
    samples = np.stack([tone, tone * 0.5]).astype(np.float32)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=1152)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(resampled))
        file.mux(stream.encode(None))


def write_text(path: Path, number: int) -> None:
    """Write a few sentences."""
    path.write_text(f"Note {number}. A {COLOURS[number % len(COLOURS)]} thing was seen. " * (1 + number % 30))


KINDS: dict[str, Callable[[Path, int], None]] = {
    "png": write_image,
    "jpg": write_image,
    "webp": write_image,
    "gif": write_image,
    "wav": lambda path, number: write_sound(path, number, "pcm_s16le"),
    "flac": lambda path, number: write_sound(path, number, "flac"),
    "mp3": lambda path, number: write_sound(path, number, "libmp3lame"),
    "ogg": lambda path, number: write_sound(path, number, "libopus"),
    "txt": write_text,
    "md": write_text,
}
BINARY = [kind for kind in KINDS if kind not in ("txt", "md")]


def truncate(path: Path, rng: random.Random) -> Path:
    """Keep the first 20 to 80 % of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * rng.uniform(0.2, 0.8))])
    return path


def flip(path: Path, rng: random.Random) -> Path:
    """Flip bits in the header, and one bit per 200 bytes of the file in its first half: any decoder can notice that."""
    content = bytearray(path.read_bytes())
    for offset in range(4, min(24, len(content))):
        content[offset] ^= 1 << rng.randrange(8)
    for _ in range(len(content) // 200):
        content[rng.randrange(len(content) // 2)] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    return path


def empty(path: Path, rng: random.Random) -> Path:
    """Remove the whole content of a file."""
    path.write_bytes(b"")
    return path


def misname(path: Path, rng: random.Random) -> Path:
    """Rename a file to the suffix of another kind of media."""
    others = ["wav", "txt"] if path.suffix in (".png", ".jpg", ".webp", ".gif") else ["png", "txt"]
    return path.rename(path.with_suffix("." + rng.choice(others)))


def replace_by_error_page(path: Path, rng: random.Random) -> Path:
    """Write an HTML error page to a file with the suffix of an image."""
    path.unlink()
    path = path.with_suffix(".jpg")
    path.write_text("<html><body>404 not found</body></html>")
    return path


DAMAGES = [truncate, flip, empty, misname, replace_by_error_page]


def make_media(folder: Path, *, files: int, seed: int) -> dict[Path, str]:
    """Write the collection; return the damaged files and the damage of each."""
    rng = random.Random(seed)
    damaged = {}
    for number in range(files):
        kind = list(KINDS)[number % len(KINDS)]
        path = folder / f"{number % 11}" / f"{number:05d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](path, number)
        if kind in BINARY and rng.random() < DAMAGE_RATE:
            damage = DAMAGES[len(damaged) % len(DAMAGES)]
            damaged[damage(path, rng)] = damage.__name__
    return damaged


@dataclass(frozen=True)
class IndexRun:
    """One run of `bindsearch index`."""

    seconds: float
    status: int
    report: dict[str, Any]
    messages: list[str]
    """The lines on standard error."""

    @property
    def foreign_messages(self) -> list[str]:
        """The lines on standard error that bindsearch did not write."""
        return [line for line in self.messages if not OWN_MESSAGE.match(line)]


def run_index(library: Path, media: Path) -> IndexRun:
    """Index by the command line, and measure the time."""
    began = time.monotonic()
    command = [sys.executable, "-m", "bindsearch", "index", "--json", "--library", str(library), str(media)]
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.monotonic() - began
    return IndexRun(seconds, done.returncode, json.loads(done.stdout), done.stderr.splitlines())


def find_problems(damaged: dict[Path, str], first: IndexRun, second: IndexRun) -> list[str]:
    """Return what is wrong with the two runs."""
    quarantined = first.report["quarantined"]
    problems = [
        f"not quarantined: {path.name} ({how})" for path, how in damaged.items() if str(path) not in quarantined
    ]
    problems += [
        f"quarantined although intact: {Path(path).name}: {reason}"
        for path, reason in quarantined.items()
        if Path(path) not in damaged
    ]
    problems += [f"on standard error: {line}" for line in first.foreign_messages]
    if first.status != 3:
        problems.append(f"the exit status is {first.status}, not 3")
    if second.report["decoded"] + second.report["damaged"] != 0:
        problems.append(f"the second run decoded {second.report['decoded']} files")
    if second.seconds >= MAX_SECOND_RUN_SHARE * first.seconds:
        problems.append(f"the second run took {second.seconds / first.seconds:.1%} of the time of the first")
    return problems


def print_runs(damaged: dict[Path, str], first: IndexRun, second: IndexRun) -> None:
    """Print the counts of both runs, and an example of a reason for each damage."""
    quarantined = first.report["quarantined"]
    print(f"{len(damaged)} damaged: {dict(Counter(damaged.values()))}")
    indexed = first.report["added"] + first.report["copied"]
    print(f"indexed {indexed}, quarantined {len(quarantined)}, exit status {first.status}")
    share = second.seconds / first.seconds
    print(f"second run: decoded {second.report['decoded']}, {share:.1%} of {first.seconds:.1f} s")
    for damage in DAMAGES:
        name = damage.__name__
        example = next((path for path, how in damaged.items() if how == name and str(path) in quarantined), None)
        print(f"  {name}: {example.name}: {quarantined[str(example)]}" if example else f"  {name}: none")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        media, library = Path(name) / "media", Path(name) / "my.library"
        damaged = make_media(media, files=options.files, seed=options.seed)
        first = run_index(library, media)
        second = run_index(library, media)
    print(f"{options.files} files, ", end="")
    print_runs(damaged, first, second)
    problems = find_problems(damaged, first, second)
    print("\n".join([*problems, f"{len(problems)} problems"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
