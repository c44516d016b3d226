"""Makes the sample collection: pictures, sounds, films and texts, all drawn and synthesised by this project.

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
    """Write the collection into a folder, created if necessary, and return the files in order of their paths."""
    paths = [*_pictures(folder / "photos", seed), *_sounds(folder / "sounds", seed)]
    return sorted([*paths, *_films(folder / "videos", seed), *_texts(folder / "notes")])


def _pictures(folder: Path, seed: int) -> Iterator[Path]:
    for name, paint in (LANDSCAPES | CLOSEUPS).items():
        path = _with_folder(folder / name)
        paint(_rng(name, seed)).save(path, quality=88)
        yield path


def _sounds(folder: Path, seed: int) -> Iterator[Path]:
    for name, play in SOUNDS.items():
        path = _with_folder(folder / name)
        write_sound(path, play(_rng(name, seed)))
        yield path


def _films(folder: Path, seed: int) -> Iterator[Path]:
    for name, film in FILMS.items():
        path = _with_folder(folder / name)
        write_film(path, film, _rng(name, seed))
        yield path


def _texts(folder: Path) -> Iterator[Path]:
    for name, text in TEXTS.items():
        path = _with_folder(folder / name)
        path.write_text(text, encoding="utf-8")
        yield path


def _rng(name: str, seed: int) -> Generator:
    """Return a random generator of the file's own, so that a new file changes no other file."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _with_folder(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description="Make the sample collection.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    paths = make_samples(args.folder, seed=args.seed)
    size = sum(path.stat().st_size for path in paths)
    print(f"{len(paths)} files, {size / 1e6:.1f} MB, in {args.folder}")


if __name__ == "__main__":
    main()
