"""Gather photos for training the pocket model, with the photo teacher's features of each.

A source is a tar file or a git repository with images. Several views are taken of every image: first the whole, then
random crops; teacher and student get the same view. Each view number has its own folder, `OUT/SOURCE`, `OUT/SOURCE.1`
and so on, with `names.txt` and one array each of pixels, features and feature maps (see `ARRAYS`). They are written
batch by batch; a killed run resumes after the last whole batch.

    python scripts/pocket/gather_photos.py --teacher mobilenet.tflite --out CACHE/flickr8k --views 4 images.tar
    python scripts/pocket/gather_photos.py --teacher mobilenet.tflite --out CACHE/voc REPO.git \\
        --pattern 'JPEGImages/.*jpg$'
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
from teachers import TEACHER_SIDE, PhotoTeacher

STORED_SIDE = 128
"""Side of the stored pixels."""
BATCH = 256
ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "pixels.u8": (np.uint8, (STORED_SIDE, STORED_SIDE, 3)),
    "features.f16": (np.float16, (1280,)),
    "middle.i8": (np.int8, (8, 8, 96)),
    "deep.i8": (np.int8, (4, 4, 320)),
}
"""The file of each array, with the type and shape of one row."""
Row = tuple[NDArray[Any], ...]
"""One view: an array for each of `ARRAYS`."""
Box = tuple[float, float, float, float]


def read_tar(path: Path, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the named members of a tar file."""
    with tarfile.open(path) as tar:
        for name in names:
            member = tar.extractfile(name)
            if member is not None:
                yield name, member.read()


def read_git(path: Path, names: list[str], commit: str) -> Iterator[tuple[str, bytes]]:
    """Yield the named files of a commit; skip files that the local copy lacks."""
    command = ["git", "-C", str(path), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for name in names:
            process.stdin.write(f"{commit}:{name}\n".encode())
            process.stdin.flush()
            header = process.stdout.readline().split()
            if header[-1] != b"missing":
                content = process.stdout.read(int(header[-1]))
                process.stdout.read(1)
                yield name, content


def list_files(path: Path, commit: str) -> list[str]:
    """Return the names of all files in a tar file or a commit."""
    if path.is_file():
        with tarfile.open(path) as tar:
            return [member.name for member in tar if member.isfile()]
    command = ["git", "-C", str(path), "-c", "core.quotePath=off", "ls-tree", "-r", "--name-only", commit]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def decode_image(content: bytes) -> Image.Image:
    """Decode an image; large JPEGs are decoded at a fraction of their size."""
    with Image.open(io.BytesIO(content)) as file:
        file.draft("RGB", (3 * TEACHER_SIDE, 3 * TEACHER_SIDE))
        return file.convert("RGB")


def random_crop(size: tuple[int, int], rng: random.Random) -> Box:
    """Return a random box of 20 to 100 % of an image's area."""
    area, aspect = rng.uniform(0.2, 1), rng.uniform(0.8, 1.25)
    width, height = (min(1.0, (area * factor) ** 0.5) for factor in (aspect, 1 / aspect))
    left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return left * size[0], top * size[1], (left + width) * size[0], (top + height) * size[1]


def make_row(image: Image.Image, box: Box | None, teacher: PhotoTeacher) -> Row:
    """Squeeze an image, or a crop of it, to a square; return its pixels and the teacher's outputs."""
    small, large = (
        np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box, reducing_gap=2.0))
        for side in (STORED_SIDE, TEACHER_SIDE)
    )
    outputs = teacher.outputs(large)
    return small, outputs.features, pool(outputs.middle, 8), pool(outputs.deep, 4)


def pool(feature_map: NDArray[np.int8], side: int) -> NDArray[np.int8]:
    """Average over a coarser grid. *Shape:* (h, w, channels) to (side, side, channels)."""
    edges = np.linspace(0, len(feature_map), side + 1)
    spans = [slice(int(np.floor(a)), int(np.ceil(b))) for a, b in itertools.pairwise(edges)]
    rows = np.stack([feature_map[span].mean(axis=0) for span in spans])
    return np.stack([rows[:, span].mean(axis=1) for span in spans], axis=1).round().astype(np.int8)


class ViewStore:
    """The files of one view number, which grow together.

    Opening it truncates what was not committed when the last process died.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._names_file = folder, folder / "names.txt"
        self.names = self._names_file.read_text().splitlines() if self._names_file.exists() else []
        for name, (dtype, shape) in ARRAYS.items():
            (folder / name).touch()
            os.truncate(folder / name, len(self.names) * int(np.prod(shape)) * np.dtype(dtype).itemsize)

    def add(self, names: list[str], rows: list[Row]) -> None:
        """Append one batch; the names are written last and by a rename, which commits the batch."""
        for (name, (dtype, _)), column in zip(ARRAYS.items(), zip(*rows, strict=True), strict=True):
            with (self._folder / name).open("ab") as file:
                file.write(np.stack(column).astype(dtype).tobytes())
        self.names += names
        draft = self._names_file.with_suffix(".new")
        draft.write_text("".join(f"{name}\n" for name in self.names))
        draft.replace(self._names_file)


def map_array(folder: Path, file: str) -> NDArray[Any]:
    """Memory-map one of a folder's arrays."""
    dtype, shape = ARRAYS[file]
    count = len((folder / "names.txt").read_text().splitlines())
    return np.memmap(folder / file, dtype, "r", shape=(count, *shape))


def gather(source: Path, out: Path, view: int, *, teacher: PhotoTeacher, pattern: str, commit: str, limit: int) -> int:
    """Add the images of `source` that the store at `out` lacks; return how many it then holds."""
    store = ViewStore(out)
    matching = [name for name in list_files(source, commit) if re.search(pattern, name, re.IGNORECASE)]
    random.Random(0).shuffle(matching)
    done = set(store.names)
    missing = [name for name in matching[:limit] if name not in done]
    contents = read_tar(source, missing) if source.is_file() else read_git(source, missing, commit)
    names: list[str] = []
    rows: list[Row] = []
    for name, content in contents:
        try:
            image = decode_image(content)
            box = random_crop(image.size, random.Random(f"{name} {view}")) if view else None
            rows.append(make_row(image, box, teacher))
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
    """Gather one source."""
    parser = argparse.ArgumentParser(description="Gather photos and the photo teacher's features of them.")
    parser.add_argument("source", type=Path, help="tar file or git repository with images")
    parser.add_argument("--teacher", type=Path, required=True, help="tflite file of MobileNetV2")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; further views get .1, .2, …")
    parser.add_argument("--pattern", default=r"\.(jpe?g|png|webp|bmp)$", help="regular expression that names match")
    parser.add_argument("--commit", default="HEAD", help="of a git repository (HEAD)")
    parser.add_argument("--limit", type=int, default=1_000_000, help="images at most")
    parser.add_argument("--views", type=int, default=1, help="views of each image (1: the whole only)")
    args = parser.parse_args()
    teacher = PhotoTeacher(args.teacher)
    for view in range(args.views):
        out = args.out.with_name(f"{args.out.name}.{view}") if view else args.out
        count = gather(
            args.source, out, view, teacher=teacher, pattern=args.pattern, commit=args.commit, limit=args.limit
        )
        print(f"{out.name}: {count} photos", flush=True)


if __name__ == "__main__":
    main()
