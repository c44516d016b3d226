"""Gather photos for training the pocket model: small pictures in one array, with what the photo teacher sees in each.

A source is a tar file or a git repository of pictures. Of every picture several views are taken: the whole, then random
parts; the teacher looks at just what the student will. For every view one folder is written, `OUT/SOURCE` and
`OUT/SOURCE.1` and so on, with `names.txt` and an array each of pixels, features and places (SHAPES). They grow batch by
batch; a killed run goes on behind the last whole batch.

    python scripts/pocket/pocket_photos.py --teacher mobilenet.tflite --out CACHE/flickr8k --views 4 images.tar
    python scripts/pocket/pocket_photos.py --teacher mobilenet.tflite --out CACHE/voc REPO.git --only
    'JPEGImages/.*jpg$'
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pocket_teachers import SIDE, PhotoTeacher

STORED = 128  # pixels
BATCH = 256
SHAPES: dict[str, tuple[type, tuple[int, ...]]] = {
    "pixels.u8": (np.uint8, (STORED, STORED, 3)),
    "features.f16": (np.float16, (1280,)),
    "middle.i8": (np.int8, (8, 8, 96)),
    "deep.i8": (np.int8, (4, 4, 320)),
}
"""What is kept of a view, by the file's name."""
Row = tuple[NDArray[Any], ...]
"""One view: an array for each of SHAPES."""


def tar_pictures(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """The named members of a tar file."""
    with tarfile.open(path) as tar:
        for name in names:
            member = tar.extractfile(name)
            if member is not None:
                yield name, member.read()


def git_pictures(path: Path, names: list[str], commit: str) -> Iterator[tuple[str, bytes]]:
    """The named files of a commit; files that the copy lacks are passed over."""
    command = ["git", "-C", str(path), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        assert run.stdin is not None
        assert run.stdout is not None
        for name in names:
            run.stdin.write(f"{commit}:{name}\n".encode())
            run.stdin.flush()
            header = run.stdout.readline().split()
            if header[-1] != b"missing":
                content = run.stdout.read(int(header[-1]))
                run.stdout.read(1)
                yield name, content


def listing(path: Path, commit: str) -> list[str]:
    """The names of all files in a tar file or a commit."""
    if path.is_file():
        with tarfile.open(path) as tar:
            return [member.name for member in tar if member.isfile()]
    command = ["git", "-C", str(path), "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", commit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def opened(content: bytes) -> Image.Image:
    """A picture, perhaps already halved."""
    with Image.open(io.BytesIO(content)) as file:
        file.draft("RGB", (3 * SIDE, 3 * SIDE))
        return file.convert("RGB")


def part(size: tuple[int, int], chance: random.Random) -> tuple[float, float, float, float]:
    """A random box of 20 to 100 % of a picture."""
    area, stretch = chance.uniform(0.2, 1), chance.uniform(0.8, 1.25)
    wide, high = (min(1.0, (area * by) ** 0.5) for by in (stretch, 1 / stretch))
    left, top = chance.uniform(0, 1 - wide), chance.uniform(0, 1 - high)
    return left * size[0], top * size[1], (left + wide) * size[0], (top + high) * size[1]


def look(picture: Image.Image, box: tuple[float, float, float, float] | None, teacher: PhotoTeacher) -> Row:
    """A picture, or a part of it, squeezed to a square, and what the teacher sees there."""
    small, large = (
        np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC, box, reducing_gap=2.0))
        for side in (STORED, SIDE)
    )
    seen = teacher.see(large)
    return small, seen.features, pooled(seen.middle, 8), pooled(seen.deep, 4)


def pooled(places: NDArray[np.int8], side: int) -> NDArray[np.int8]:
    """Means over a coarser grid. *Shape:* (h, w, channels) to (side, side, channels)."""
    edges = np.linspace(0, len(places), side + 1)
    spans = [slice(int(np.floor(a)), int(np.ceil(b))) for a, b in itertools.pairwise(edges)]
    rows = np.stack([places[span].mean(axis=0) for span in spans])
    return np.stack([rows[:, span].mean(axis=1) for span in spans], axis=1).round().astype(np.int8)


class Store:
    """Files that grow together; what was not committed when the process died is cut off on opening."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._names = folder, folder / "names.txt"
        self.names = self._names.read_text().splitlines() if self._names.exists() else []
        for name, (kind, shape) in SHAPES.items():
            (folder / name).touch()
            os.truncate(folder / name, len(self.names) * int(np.prod(shape)) * np.dtype(kind).itemsize)

    def add(self, names: list[str], rows: list[Row]) -> None:
        """Append one batch; the names are written last and by rename."""
        for (name, (kind, _)), column in zip(SHAPES.items(), zip(*rows, strict=True), strict=True):
            with (self._folder / name).open("ab") as file:
                file.write(np.stack(column).astype(kind).tobytes())
        self.names += names
        fresh = self._names.with_suffix(".new")
        fresh.write_text("".join(f"{name}\n" for name in self.names))
        fresh.replace(self._names)


def stored(folder: Path, file: str) -> NDArray[Any]:
    """One of a folder's arrays, mapped."""
    kind, shape = SHAPES[file]
    count = len((folder / "names.txt").read_text().splitlines())
    return np.memmap(folder / file, kind, "r", shape=(count, *shape))


def gather(source: Path, out: Path, view: int, *, teacher: PhotoTeacher, only: str, commit: str, limit: int) -> int:
    """Add what `source` still has to give to the store at `out`; how many pictures it then holds."""
    store = Store(out)
    wanted = [name for name in listing(source, commit) if re.search(only, name, re.IGNORECASE)]
    random.Random(0).shuffle(wanted)
    seen = set(store.names)
    wanted = [name for name in wanted[:limit] if name not in seen]
    read = tar_pictures(source, wanted) if source.is_file() else git_pictures(source, wanted, commit)
    names: list[str] = []
    rows: list[Row] = []
    for name, content in read:
        try:
            picture = opened(content)
            box = part(picture.size, random.Random(f"{name} {view}")) if view else None
            rows.append(look(picture, box, teacher))
        except (OSError, ValueError):
            continue
        names.append(name)
        if len(rows) == BATCH:
            store.add(names, rows)
            names, rows = [], []
    if rows:
        store.add(names, rows)
    return len(store.names)


def main() -> None:
    """Read the command line and gather one source."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=r"\.(jpe?g|png|webp|bmp)$", help="pattern that a name must contain")
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--limit", type=int, default=1_000_000)
    parser.add_argument("--views", type=int, default=1)
    given = parser.parse_args()
    teacher = PhotoTeacher(given.teacher)
    for view in range(given.views):
        out = given.out.with_name(f"{given.out.name}.{view}") if view else given.out
        count = gather(
            given.source, out, view, teacher=teacher, only=given.only, commit=given.commit, limit=given.limit
        )
        print(f"{out.name}: {count} photos", flush=True)


if __name__ == "__main__":
    main()
