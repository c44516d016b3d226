"""Index 2,000 mixed files of which 5 % are damaged, by the command line, twice.

    python tests/stress/stress_damage.py [--files 2000] [--seed 0]

Every sound file must be indexed, every damaged one quarantined with a reason, the exit status 3, nothing on stderr but
bindsearch's own lines; the second run must decode nothing and take under 5 % of the first's time. Exit status 1 if not.
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
from pathlib import Path

import av
import numpy as np
from PIL import Image

COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "white", "black"]


def write_picture(path: Path, number: int) -> None:
    """Write a picture of stripes and noise."""
    numbers = np.random.default_rng(number)
    picture = Image.new("RGB", (200 + number % 100, 160), COLOURS[number % len(COLOURS)])
    noise = Image.fromarray(numbers.integers(0, 256, (80, 80, 3), dtype=np.uint8))
    picture.paste(noise, (number % 100, 40))
    picture.save(path)


def write_sound(path: Path, number: int, codec: str) -> None:
    """Write three to six seconds of a tone with noise, in stereo."""
    rate, seconds = 48_000, 3 + number % 4
    times = np.arange(rate * seconds) / rate
    hertz = 80 * 2 ** (number % 6)
    tone = 0.4 * np.sin(2 * np.pi * hertz * times) + np.random.default_rng(number).normal(0, 0.02, len(times))
    samples = np.stack([tone, tone * 0.5]).astype(np.float32)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, layout="stereo")
        resampler = av.AudioResampler(format=stream.format, layout="stereo", rate=rate, frame_size=1152)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate = rate
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def write_text(path: Path, number: int) -> None:
    """Write a few sentences."""
    path.write_text(f"Note {number}. A {COLOURS[number % len(COLOURS)]} thing was seen. " * (1 + number % 30))


KINDS: dict[str, Callable[[Path, int], None]] = {
    "png": write_picture,
    "jpg": write_picture,
    "webp": write_picture,
    "gif": write_picture,
    "wav": lambda path, number: write_sound(path, number, "pcm_s16le"),
    "flac": lambda path, number: write_sound(path, number, "flac"),
    "mp3": lambda path, number: write_sound(path, number, "libmp3lame"),
    "ogg": lambda path, number: write_sound(path, number, "libopus"),
    "txt": write_text,
    "md": write_text,
}
BINARY = [kind for kind in KINDS if kind not in ("txt", "md")]


def truncate(path: Path, chance: random.Random) -> Path:
    """Keep the first 20 to 80 % of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * chance.uniform(0.2, 0.8))])
    return path


def flip(path: Path, chance: random.Random) -> Path:
    """Flip bits in the header and, thickly, in the first half: what any decoder can notice."""
    content = bytearray(path.read_bytes())
    for place in range(4, min(24, len(content))):
        content[place] ^= 1 << chance.randrange(8)
    for _ in range(len(content) // 200):
        content[chance.randrange(len(content) // 2)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return path


def empty(path: Path, chance: random.Random) -> Path:
    """Leave nothing of a file but its name."""
    path.write_bytes(b"")
    return path


def misname(path: Path, chance: random.Random) -> Path:
    """Return a file the suffix of another kind of media."""
    others = ["wav", "txt"] if path.suffix in (".png", ".jpg", ".webp", ".gif") else ["png", "txt"]
    return path.rename(path.with_suffix("." + chance.choice(others)))


def replace_by_words(path: Path, chance: random.Random) -> Path:
    """Put an error page where a picture should be."""
    path.unlink()
    path = path.with_suffix(".jpg")
    path.write_text("<html><body>404 not found</body></html>")
    return path


DAMAGES = [truncate, flip, empty, misname, replace_by_words]


def make_media(folder: Path, *, files: int, seed: int) -> dict[Path, str]:
    """Write the collection; give the damaged files and what was done to each."""
    chance = random.Random(seed)
    damaged = {}
    for number in range(files):
        kind = list(KINDS)[number % len(KINDS)]
        path = folder / f"{number % 11}" / f"{number:05d}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](path, number)
        if kind in BINARY and chance.random() < 1 / 16:  # of four in five files: 5 % of all
            damage = DAMAGES[len(damaged) % len(DAMAGES)]
            damaged[damage(path, chance)] = damage.__name__
    return damaged


def run(library: Path, media: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Index as a person would, and take the time."""
    began = time.monotonic()
    command = [sys.executable, "-m", "bindsearch", "index", "--json", "--library", str(library), str(media)]
    done = subprocess.run(command, capture_output=True, text=True)
    return time.monotonic() - began, done


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--files", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        media, library = Path(name) / "media", Path(name) / "my.library"
        damaged = make_media(media, files=chosen.files, seed=chosen.seed)
        first_time, first = run(library, media)
        second_time, second = run(library, media)
    report, again = json.loads(first.stdout), json.loads(second.stdout)
    told = report["quarantined"]
    missed = {path: how for path, how in damaged.items() if str(path) not in told}
    wronged = {path: why for path, why in told.items() if Path(path) not in damaged}
    print(f"{chosen.files} files, {len(damaged)} damaged: {dict(Counter(damaged.values()))}")
    print(f"indexed {report['added'] + report['copied']}, quarantined {len(told)}, exit {first.returncode}")
    print(f"second run: decoded {again['decoded']}, {second_time / first_time:.1%} of {first_time:.1f} s")
    for path, how in missed.items():
        print(f"  not noticed: {how} {path.name}")
    for path, why in wronged.items():
        print(f"  refused without cause: {Path(path).name}: {why}")
    own = re.compile(r"bindsearch|  |[\d,]+(/[\d,]+)? files, ")
    strangers = [line for line in first.stderr.splitlines() if not own.match(line)]
    print(f"other lines on stderr: {strangers[:5]}")
    for damage in DAMAGES:
        example = next((path for path, how in damaged.items() if how == damage.__name__ and str(path) in told), None)
        print(f"  {damage.__name__}: {example.name}: {told[str(example)]}" if example else f"  {damage.__name__}: none")
    fine = not missed and not wronged and first.returncode == 3 and not strangers
    return 0 if fine and again["decoded"] + again["damaged"] == 0 and second_time < 0.05 * first_time else 1


if __name__ == "__main__":
    sys.exit(main())
