"""Gather photos for training the pocket model: small pictures in one array, with what the photo teacher sees in each.

A source is a tar file or a git repository of pictures. For every source one folder is written: `pixels.u8`,
`features.f16`, `names.txt`. They grow batch by batch; a killed run goes on behind the last whole batch.

    python scripts/pocket_photos.py --teacher mobilenet.tflite --out CACHE/flickr8k images.tar
    python scripts/pocket_photos.py --teacher mobilenet.tflite --out CACHE/voc REPO.git --only 'JPEGImages/.*jpg$'
"""

from __future__ import annotations

import argparse
import io
import os
import random
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pocket_teachers import SIDE, PhotoTeacher

STORED = 144  # pixels: the student looks at 128 of them
BATCH = 256
Pixels = NDArray[np.uint8]


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


def look(content: bytes, teacher: PhotoTeacher) -> tuple[Pixels, NDArray[np.float32]]:
    """A picture squeezed to a square, and its features."""
    with Image.open(io.BytesIO(content)) as file:
        file.draft("RGB", (2 * SIDE, 2 * SIDE))
        picture = file.convert("RGB")
    small = np.asarray(picture.resize((STORED, STORED), Image.Resampling.BICUBIC, reducing_gap=2.0))
    large = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2.0))
    return small, teacher.features(large)


class Store:
    """Three files that grow together; what was not committed when the process died is cut off on opening."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [(folder / "pixels.u8", STORED * STORED * 3), (folder / "features.f16", 1280 * 2)]
        self._names = folder / "names.txt"
        self.names = self._names.read_text().splitlines() if self._names.exists() else []
        for path, size in self._files:
            path.touch()
            os.truncate(path, len(self.names) * size)

    def add(self, names: list[str], pixels: list[Pixels], features: list[NDArray[np.float32]]) -> None:
        """Append one batch; the names are written last and by rename."""
        for (path, _), rows in zip(self._files, (pixels, [f.astype(np.float16) for f in features]), strict=True):
            with path.open("ab") as file:
                file.write(np.stack(rows).tobytes())
        self.names += names
        fresh = self._names.with_suffix(".new")
        fresh.write_text("".join(f"{name}\n" for name in self.names))
        fresh.replace(self._names)


def gather(source: Path, out: Path, *, teacher: PhotoTeacher, only: str, commit: str, limit: int) -> int:
    """Add what `source` still has to give to the store at `out`; how many pictures it then holds."""
    store = Store(out)
    wanted = [name for name in listing(source, commit) if re.search(only, name, re.IGNORECASE)]
    random.Random(0).shuffle(wanted)
    seen = set(store.names)
    wanted = [name for name in wanted if name not in seen][: max(0, limit - len(seen))]
    read = tar_pictures(source, wanted) if source.is_file() else git_pictures(source, wanted, commit)
    rows: list[tuple[str, Pixels, NDArray[np.float32]]] = []
    for name, content in read:
        try:
            rows.append((name, *look(content, teacher)))
        except (OSError, ValueError):
            continue
        if len(rows) == BATCH:
            _flush(store, rows)
    _flush(store, rows)
    return len(store.names)


def _flush(store: Store, rows: list[tuple[str, Pixels, NDArray[np.float32]]]) -> None:
    if rows:
        names, pixels, features = (list(column) for column in zip(*rows, strict=True))
        store.add(names, pixels, features)  # type: ignore[arg-type]
        rows.clear()


def main() -> None:
    """Read the command line and gather one source."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("source", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default=r"\.(jpe?g|png|webp|bmp)$", help="pattern that a name must contain")
    parser.add_argument("--commit", default="HEAD")
    parser.add_argument("--limit", type=int, default=1_000_000)
    given = parser.parse_args()
    teacher = PhotoTeacher(given.teacher)
    count = gather(given.source, given.out, teacher=teacher, only=given.only, commit=given.commit, limit=given.limit)
    print(f"{given.out.name}: {count} photos")


if __name__ == "__main__":
    main()
