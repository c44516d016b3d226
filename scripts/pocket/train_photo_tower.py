"""Train the photo tower of the pocket model by distillation. A killed run resumes from its last checkpoint.

The tower learns to reproduce the photo teacher's features, class probabilities and feature maps. Its head is trained
separately, in minutes (train_space.py --tower).

    python scripts/pocket/train_photo_tower.py HOME DATA --views 2000000 --cooldown 300000
    python scripts/pocket/train_photo_tower.py HOME DATA --write-features

HOME holds `cache/photos/SOURCE/` (gather_photos.py). The learning rate is constant until the last `--cooldown` views,
in which it falls to zero: a run with a cooldown is finished, one without can be continued at will. `--write-features`
writes the tower's features of every view beside the pixels, for the heads.
"""

from __future__ import annotations

import argparse
import queue
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anchor_space import held_out, read_split
from bindsearch.encoders.pocket.towers import IMAGE_FEATURES, ImageTower
from distillation import DistillationRun, Student
from gather_photos import ARRAYS, map_array
from numpy.typing import NDArray
from teachers import PhotoTeacher
from torch import Tensor
from torch.nn import functional as F

TOWER_FEATURES_FILE = "tower_features.f16"
"""Where `--write-features` writes, in the folder of each view number."""
PIXEL_MEAN, PIXEL_SCALE = 118.0, 62.0
SOURCE_WEIGHTS = {
    "flickr8k": 3.0,
    "caltech101": 2.0,
    "imagenet_samples": 3.0,
    "voc": 2.0,
    "bsds": 2.0,
    "tiny": 0.6,
    "imagewoof": 0.6,
    "grocery": 0.5,
    "flowers": 0.5,
    "trash": 0.5,
}
"""How often a photo of a source is drawn; 1.0 for all other sources."""


@dataclass(frozen=True, slots=True)
class ViewFolder:
    """The views of one source with one view number."""

    folder: Path
    source: str
    arrays: tuple[NDArray[Any], ...]
    training_rows: NDArray[np.intp]

    @classmethod
    def open(cls, folder: Path) -> ViewFolder:
        """Map what has been gathered so far."""
        source = re.sub(r"\.\d$", "", folder.name)
        names = (folder / "names.txt").read_text().splitlines()
        training_rows = np.flatnonzero([not held_out(source, name) for name in names])
        return cls(folder, source, tuple(map_array(folder, file) for file in ARRAYS), training_rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """Views with the teacher's outputs for them."""

    pixels: Tensor
    features: Tensor
    middle: Tensor
    deep: Tensor


class PhotoViews:
    """All training views, drawn at random with replacement."""

    def __init__(self, home: Path) -> None:
        self.folders = [ViewFolder.open(path.parent) for path in sorted(home.glob("cache/photos/*/names.txt"))]
        sources = [each.source for each in self.folders]
        weights = np.array(
            [
                len(each.training_rows) * SOURCE_WEIGHTS.get(each.source, 1.0) / sources.count(each.source)
                for each in self.folders
            ]
        )
        self._weights = weights / weights.sum()
        self.count = sum(len(each.training_rows) for each in self.folders)

    def draw(self, n: int, rng: np.random.Generator) -> Batch:
        """Draw n views; half of them are mirrored, with their feature maps."""
        rows = []
        for number in rng.choice(len(self.folders), n, p=self._weights):
            folder = self.folders[number]
            row, direction = rng.choice(folder.training_rows), rng.choice([-1, 1])
            pixels, features, middle, deep = (array[row] for array in folder.arrays)
            rows.append((pixels[:, ::direction], features, middle[:, ::direction], deep[:, ::direction]))
        pixels, features, middle, deep = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        return Batch(pixels.movedim(3, 1), features.float(), middle.movedim(3, 1).float(), deep.movedim(3, 1).float())

    def sample(self, n: int) -> Batch:
        """Draw the same views every time."""
        return self.draw(n, np.random.default_rng(0))


class BatchPrefetcher(threading.Thread):
    """Draws batches and augments their pixels in the background."""

    def __init__(self, photos: PhotoViews, size: int, side: int, seed: list[int]) -> None:
        super().__init__(daemon=True)
        self._photos, self._size, self._side = photos, size, side
        self._rng, self._torch_rng = np.random.default_rng(seed), torch.Generator().manual_seed(sum(seed))
        self._ready: queue.Queue[tuple[Tensor, Batch]] = queue.Queue(4)

    def run(self) -> None:
        """Keep a few batches ready."""
        while True:
            batch = self._photos.draw(self._size, self._rng)
            pixels = batch.pixels.float()
            if self._side != pixels.shape[2]:
                pixels = F.interpolate(pixels, (self._side, self._side), mode="area")
            self._ready.put((jitter(pixels, self._torch_rng), batch))

    def next(self) -> tuple[Tensor, Batch]:
        """Return the next pixels and their batch; wait until they are ready."""
        return self._ready.get()


def normalise(pixels: Tensor) -> Tensor:
    """Convert pixel values of 0 to 255 to the tower's input; changes float pixels in place."""
    return (pixels - PIXEL_MEAN).div_(PIXEL_SCALE)


def jitter(pixels: Tensor, rng: torch.Generator) -> Tensor:
    """Normalise pixels with random brightness, colour and contrast."""
    n = len(pixels)
    contrast = 0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=rng)
    light = 0.15 * torch.rand(n, 3, 1, 1, generator=rng) + 0.25 * torch.rand(n, 1, 1, 1, generator=rng) - 0.2
    return normalise(pixels).mul_(contrast).add_(light).contiguous(memory_format=torch.channels_last)


def start_run(home: Path, photos: PhotoViews, teacher: PhotoTeacher, *, seed: int, rate: float) -> DistillationRun:
    """Start from random weights, or from the last checkpoint."""
    torch.manual_seed(seed)
    sample = photos.sample(1024)
    student = Student(ImageTower(), sample.middle, sample.deep, sample.features)
    weight, bias = (torch.from_numpy(each) for each in teacher.classifier)
    run = DistillationRun(home / "ckpt" / "photo.pt", student, (weight, bias), seed=seed, rate=rate)
    run.resume()
    return run


def step(run: DistillationRun, pixels: Tensor, target: Batch, rate_share: float) -> tuple[float, ...]:
    """Train on one batch; the teacher's feature maps are pooled to the size of the tower's."""
    side = pixels.shape[2]
    middle = F.adaptive_avg_pool2d(target.middle, -(-side // 16))
    deep = F.adaptive_avg_pool2d(target.deep, -(-side // 32))
    targets = [each.to(run.device) for each in (middle, deep, target.features)]
    return run.update(pixels.to(run.device), (targets[0], targets[1], targets[2]), rate_share)


@torch.no_grad()
def tower_features(tower: ImageTower, pixels: NDArray[np.uint8]) -> Tensor:
    """Return the tower's features of images. *Shape:* (n, side, side, 3) to (n, IMAGE_FEATURES)."""
    features, device = torch.empty(len(pixels), IMAGE_FEATURES), next(tower.parameters()).device
    for start in range(0, len(pixels), 128):
        batch = torch.from_numpy(np.array(pixels[start : start + 128])).permute(0, 3, 1, 2)
        with torch.autocast(device.type, torch.bfloat16):
            features[start : start + 128] = tower.features(
                normalise(batch.to(device)).contiguous(memory_format=torch.channels_last)
            )
    return features


def measure(run: DistillationRun, photos: PhotoViews) -> str:
    """Compare the averaged tower with the teacher on Flickr8k's held-out photos."""
    folder = next(each for each in photos.folders if each.source == "flickr8k")
    rows = np.setdiff1d(np.arange(len(folder.arrays[0])), folder.training_rows)
    averaged = run.average.module
    output = tower_features(averaged.tower, folder.arrays[0][rows]).to(run.device)
    target = torch.from_numpy(folder.arrays[1][rows]).float().to(run.device)
    unexplained = averaged.unexplained_variance("features", output, target)
    same = (run.logits(output).argmax(dim=1) == run.logits(target).argmax(dim=1)).float().mean()
    return f"held-out unexplained variance {unexplained:.3f}, same class {same:.3f}"


def write_features(run: DistillationRun, photos: PhotoViews, folders: list[str]) -> None:
    """Write the averaged tower's features of every view, or of those in the named folders."""
    for each in photos.folders:
        if folders and each.folder.name not in folders:
            continue
        draft = each.folder / "tower_features.new"
        tower_features(run.average.module.tower, each.arrays[0]).half().numpy().tofile(draft)
        draft.replace(each.folder / TOWER_FEATURES_FILE)


def train(run: DistillationRun, photos: PhotoViews, *, total: int, cooldown: int, batch: int, side: int) -> None:
    """Train until `total` views."""
    prefetcher = BatchPrefetcher(photos, batch, side, [run.seed, run.views])
    prefetcher.start()
    print(f"{photos.count} views gathered; training from view {run.views}", flush=True)

    def train_step(rate_share: float) -> tuple[float, ...]:
        pixels, target = prefetcher.next()
        return step(run, pixels, target, rate_share)

    run.train(train_step, lambda: measure(run, photos), total=total, cooldown=cooldown)


def main() -> None:
    """Train the photo tower, or write its features."""
    parser = argparse.ArgumentParser(description="Train the photo tower by distillation.")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("data", type=Path, help="folder with flickr8k and teachers")
    parser.add_argument("--views", type=int, default=2_000_000, help="total views to train on, all runs together")
    parser.add_argument("--cooldown", type=int, default=0, help="last views, in which the rate falls to zero")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=128, help="side of the tower's input in pixels")
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--write-features",
        nargs="*",
        metavar="FOLDER",
        help="write the tower's features of the views in these folders of cache/photos (default: all) instead",
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (args.home / "ckpt").mkdir(exist_ok=True)
    read_split(args.data)
    photos = PhotoViews(args.home)
    teacher = PhotoTeacher(args.data / "teachers" / "mobilenet_v2_imagenet.tflite")
    run = start_run(args.home, photos, teacher, seed=args.seed, rate=args.rate)
    if args.write_features is not None:
        return write_features(run, photos, args.write_features)
    train(run, photos, total=args.views, cooldown=args.cooldown, batch=args.batch, side=args.side)


if __name__ == "__main__":
    main()
