"""Train the photo tower of the pocket model from cached teachers. Killed anywhere, it goes on where it was.

The tower learns to see what the photo teacher sees: its features, its classes, and what it finds at each place of the
picture on the way there. Only the head knows the space; it is trained apart, in minutes (train_pocket_anchor.py).

    python scripts/pocket/train_pocket_photo.py HOME DATA --views 2000000 --cool 300000

    python scripts/pocket/train_pocket_photo.py HOME DATA --see

HOME holds `cache/photos/<set>/` (scripts/pocket/pocket_photos.py). The rate stays as it is until the last `--cool`
views,
in which it falls to nothing: a run that was cooled is finished, one that was not can go on for as long as one likes.
`--see` writes what the tower sees in every view, `seen.f16` beside the pixels, for the heads.
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
from bindsearch.encoders.pocket.towers import IMAGE_FEATURES, ImageTower
from numpy.typing import NDArray
from pocket_anchor import held_out, read_split
from pocket_distilling import Run, Student
from pocket_photos import SHAPES, stored
from pocket_teachers import PhotoTeacher
from torch import Tensor
from torch.nn import functional as F

SHARES = {
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
"""How often a photo of a set is drawn, compared with photos of the sets that are not named."""


@dataclass(frozen=True, slots=True)
class View:
    """One look at every photo of a source."""

    folder: Path
    name: str
    arrays: tuple[NDArray[Any], ...]
    usable: NDArray[np.intp]

    @classmethod
    def open(cls, folder: Path) -> View:
        """Map what has been gathered so far."""
        source = re.sub(r"\.\d$", "", folder.name)
        names = (folder / "names.txt").read_text().splitlines()
        usable = np.flatnonzero([not held_out(source, name) for name in names])
        return cls(folder, source, tuple(stored(folder, file) for file in SHAPES), usable)


@dataclass(frozen=True, slots=True)
class Batch:
    """Views of photos and what the teacher made of them."""

    pixels: Tensor
    features: Tensor
    middle: Tensor
    deep: Tensor

    def to(self, device: str) -> Batch:
        """Carry everything to a device."""
        return Batch(*(each.to(device) for each in (self.pixels, self.features, self.middle, self.deep)))


class Photos:
    """All views that may be trained on, drawn at random with replacement."""

    def __init__(self, home: Path) -> None:
        self.views = [View.open(path.parent) for path in sorted(home.glob("cache/photos/*/names.txt"))]
        several = {view.name: sum(other.name == view.name for other in self.views) for view in self.views}
        weights = np.array([len(v.usable) * SHARES.get(v.name, 1.0) / several[v.name] for v in self.views])
        self._weights = weights / weights.sum()
        self.count = sum(len(view.usable) for view in self.views)

    def draw(self, n: int, chance: np.random.Generator) -> Batch:
        """Take n views; half of them are mirrored, what the teacher saw at each place along with them."""
        rows = []
        for which in chance.choice(len(self.views), n, p=self._weights):
            view = self.views[which]
            row, way = chance.choice(view.usable), chance.choice([-1, 1])
            pixels, features, middle, deep = (array[row] for array in view.arrays)
            rows.append((pixels[:, ::way], features, middle[:, ::way], deep[:, ::way]))
        pixels, features, middle, deep = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
        return Batch(pixels.movedim(3, 1), features.float(), middle.movedim(3, 1).float(), deep.movedim(3, 1).float())

    def sample(self, n: int) -> Batch:
        """Take the same views every time."""
        return self.draw(n, np.random.default_rng(0))


class Ahead(threading.Thread):
    """Draws batches, and makes their pixels ready, while others are learnt."""

    def __init__(self, photos: Photos, size: int, side: int, seed: list[int]) -> None:
        super().__init__(daemon=True)
        self._photos, self._size, self._side = photos, size, side
        self._chance, self._light = np.random.default_rng(seed), torch.Generator().manual_seed(sum(seed))
        self._ready: queue.Queue[tuple[Tensor, Batch]] = queue.Queue(4)

    def run(self) -> None:
        """Keep a few batches ready."""
        while True:
            batch = self._photos.draw(self._size, self._chance)
            pixels = batch.pixels.float()
            if self._side != pixels.shape[2]:
                pixels = F.interpolate(pixels, (self._side, self._side), mode="area")
            self._ready.put((relit(pixels, self._light), batch))

    def next(self) -> tuple[Tensor, Batch]:
        """Wait for pixels, and what the teacher made of them."""
        return self._ready.get()


def centred(pixels: Tensor) -> Tensor:
    """Bytes to what the tower takes."""
    return (pixels - 118.0).div_(62)


def relit(pixels: Tensor, chance: torch.Generator) -> Tensor:
    """Bytes to what the tower takes, in another light and contrast."""
    n = len(pixels)
    contrast = 0.75 + 0.5 * torch.rand(n, 1, 1, 1, generator=chance)
    light = 0.15 * torch.rand(n, 3, 1, 1, generator=chance) + 0.25 * torch.rand(n, 1, 1, 1, generator=chance) - 0.2
    return centred(pixels).mul_(contrast).add_(light).contiguous(memory_format=torch.channels_last)


def begun(home: Path, photos: Photos, teacher: PhotoTeacher, *, seed: int, rate: float) -> Run:
    """Begin anew, or where the last checkpoint was."""
    torch.manual_seed(seed)
    sample = photos.sample(1024)
    student = Student(ImageTower(), sample.middle, sample.deep, sample.features)
    weight, bias = (torch.from_numpy(each) for each in teacher.classes)
    run = Run(home / "ckpt" / "photo.pt", student, (weight, bias), seed=seed, rate=rate)
    run.resume()
    return run


def step(run: Run, pixels: Tensor, wanted: Batch, share: float) -> tuple[float, ...]:
    """Learn from one batch; the teacher's maps are brought to the size of the tower's."""
    side = pixels.shape[2]
    middle = F.adaptive_avg_pool2d(wanted.middle, -(-side // 16))
    deep = F.adaptive_avg_pool2d(wanted.deep, -(-side // 32))
    return run.learn(pixels, (middle, deep, wanted.features), share)


@torch.no_grad()
def seen(tower: ImageTower, pixels: NDArray[np.uint8]) -> Tensor:
    """Features of whole pictures. *Shape:* (n, stored, stored, 3) to (n, SEEN)."""
    found, device = torch.empty(len(pixels), IMAGE_FEATURES), next(tower.parameters()).device
    for start in range(0, len(pixels), 128):
        batch = torch.from_numpy(np.array(pixels[start : start + 128])).permute(0, 3, 1, 2)
        with torch.autocast(device.type, torch.bfloat16):
            found[start : start + 128] = tower.features(
                centred(batch.to(device)).contiguous(memory_format=torch.channels_last)
            )
    return found


def measure(run: Run, photos: Photos) -> str:
    """Flickr8k's development photos: how much of the teacher's features the running mean still misses."""
    view = next(view for view in photos.views if view.name == "flickr8k")
    rows = np.setdiff1d(np.arange(len(view.arrays[0])), view.usable)
    mean = run.average.module
    found, wanted = seen(mean.tower, view.arrays[0][rows]), torch.from_numpy(view.arrays[1][rows]).float()
    missed = mean.missed("features", found.to(run.device), wanted.to(run.device))
    weight, bias = run.classes
    first = [F.linear(each.to(run.device), weight, bias).argmax(dim=1) for each in (found, wanted)]
    return f"dev misses {missed:.3f}, same first class {(first[0] == first[1]).float().mean():.3f}"


def see(run: Run, photos: Photos, folders: list[str]) -> None:
    """Write what the running mean sees in every view, or in those of some folders."""
    for view in photos.views:
        if folders and view.folder.name not in folders:
            continue
        seen(run.average.module.tower, view.arrays[0]).half().numpy().tofile(view.folder / "seen.new")
        (view.folder / "seen.new").replace(view.folder / "seen.f16")


def train(run: Run, photos: Photos, *, total: int, cool: int, batch: int, side: int) -> None:
    """Train until `total` views."""
    ahead = Ahead(photos, batch, side, [run.seed, run.views])
    ahead.start()
    print(f"{photos.count} views; from {run.views}", flush=True)

    def one(share: float) -> tuple[float, ...]:
        pixels, wanted = ahead.next()
        return step(run, pixels.to(run.device), wanted.to(run.device), share)

    run.train(one, lambda: measure(run, photos), total=total, cool=cool)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="train the photo tower")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path, help="the folder with flickr8k, esc50, sounds, teachers")
    parser.add_argument("--views", type=int, default=2_000_000, help="when to stop, counting from the very first")
    parser.add_argument("--cool", type=int, default=0, help="the last views, in which the rate falls to nothing")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--see", nargs="*", metavar="FOLDER", help="train nothing; write what the tower sees there")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    (given.home / "ckpt").mkdir(exist_ok=True)
    read_split(given.data)
    photos = Photos(given.home)
    teacher = PhotoTeacher(given.data / "teachers" / "mobilenet_v2_imagenet.tflite")
    run = begun(given.home, photos, teacher, seed=given.seed, rate=given.rate)
    if given.see is not None:
        return see(run, photos, given.see)
    train(run, photos, total=given.views, cool=given.cool, batch=given.batch, side=given.side)


if __name__ == "__main__":
    main()
