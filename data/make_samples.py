"""Make the sample collection: pictures, sounds, films and texts that this project draws and synthesises itself.

python data/make_samples.py FOLDER [--seed 0]
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.random import Generator
from sample_closeups import CLOSEUPS
from sample_films import FILMS, write_film
from sample_landscapes import LANDSCAPES
from sample_sounds import SOUNDS
from sample_synth import write_sound
from sample_texts import TEXTS


def make_samples(folder: Path, *, seed: int = 0) -> list[Path]:
    """Write the collection into a folder, which is made if need be, and give the files in order of their paths."""
    paths = [*_pictures(folder / "photos", seed), *_sounds(folder / "sounds", seed)]
    return sorted([*paths, *_films(folder / "videos", seed), *_texts(folder / "notes")])


def _pictures(folder: Path, seed: int) -> Iterator[Path]:
    for name, paint in (LANDSCAPES | CLOSEUPS).items():
        path = _place(folder / name)
        paint(_chance(name, seed)).save(path, quality=88)
        yield path


def _sounds(folder: Path, seed: int) -> Iterator[Path]:
    for name, play in SOUNDS.items():
        path = _place(folder / name)
        write_sound(path, play(_chance(name, seed)))
        yield path


def _films(folder: Path, seed: int) -> Iterator[Path]:
    for name, film in FILMS.items():
        path = _place(folder / name)
        write_film(path, film, _chance(name, seed))
        yield path


def _texts(folder: Path) -> Iterator[Path]:
    for name, text in TEXTS.items():
        path = _place(folder / name)
        path.write_text(text, encoding="utf-8")
        yield path


def _chance(name: str, seed: int) -> Generator:
    """Return every file its own chance: a new file changes no other."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _place(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Make the sample collection.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    paths = make_samples(options.folder, seed=options.seed)
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {size / 1e6:.1f} MB, in {options.folder}")


if __name__ == "__main__":
    main()
