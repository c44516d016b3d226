"""Train the photo tower of the pocket model from cached teachers. Killed anywhere, it goes on where it was.

The tower learns to see what the photo teacher sees: its features, its classes, and what it finds at each place of the
picture on the way there. Only the head knows the space; it is trained apart, in minutes (train_pocket_anchor.py).

    python scripts/train_pocket_photo.py HOME DATA --views 2000000 --cool 300000

    python scripts/train_pocket_photo.py HOME DATA --see

HOME holds `cache/photos/<set>/` (scripts/pocket_photos.py). The rate stays as it is until the last `--cool` views,
in which it falls to nothing: a run that was cooled is finished, one that was not can go on for as long as one likes.
`--see` writes what the tower sees in every view, `seen.f16` beside the pixels, for the heads.
"""

from __future__ import annotations

import argparse
import queue
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bindsearch.encoders.pocket_towers import SEEN, PhotoTower
from numpy.typing import NDArray
from pocket_anchor import held_out, read_split
from pocket_photos import SHAPES, stored
from pocket_teachers import PhotoTeacher
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.training import checkpoint, losses
from bindsearch.training.average import Average

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
WARM = 30_000
"""Views in which the rate rises."""


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


class Student(nn.Module):
    """The tower, and beside it what compares its places with the teacher's and is thrown away in the end."""

    def __init__(self, sample: Batch) -> None:
        super().__init__()
        self.tower = PhotoTower()
        self.middle = nn.Conv2d(self.tower.trunk.width_before, sample.middle.shape[1], 1)
        self.deep = nn.Conv2d(self.tower.trunk.width, sample.deep.shape[1], 1)
        for name, wanted in (("middle", sample.middle), ("deep", sample.deep), ("features", sample.features)):
            over = [axis for axis in range(wanted.ndim) if axis != 1]
            self.register_buffer(f"{name}_mean", wanted.mean(dim=over, keepdim=True))
            self.register_buffer(f"{name}_spread", wanted.std(dim=over, keepdim=True) + 0.05 * wanted.std())

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """*Shape:* (n, 3, side, side) to (n, 96, side / 16, side / 16), (n, 320, side / 32, side / 32), (n, SEEN)."""
        middle, deep = self.tower.trunk.places(pixels)
        return self.middle(middle), self.deep(deep), self.tower.widen(deep).mean(dim=(2, 3))

    def missed(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        """Which part of what varies in the teacher was not found, 0 to 1 and more."""
        mean, spread = getattr(self, f"{name}_mean"), getattr(self, f"{name}_spread")
        if name == "features":
            found = (found - mean) / spread
        return F.mse_loss(found, (wanted - mean) / spread)


class Run:
    """Everything that a checkpoint holds, and one step of training."""

    def __init__(self, home: Path, photos: Photos, teacher: PhotoTeacher, *, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.home = home
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.student = Student(photos.sample(1024)).to(self.device, memory_format=torch.channels_last)
        self.average = Average(self.student, decay=0.998)
        self._classes = tuple(torch.from_numpy(each).to(self.device) for each in teacher.classes)
        plain = [p for p in self.student.parameters() if p.ndim < 2]
        heavy = [p for p in self.student.parameters() if p.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate)
        self.rate, self.views, self.seed = rate, 0, seed
        self._path = home / "ckpt" / "photo.pt"

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        state = checkpoint.load(self._path)
        if state:
            self.student.load_state_dict(state["student"])
            self.average.module.load_state_dict(state["average"])
            self.average.steps = state["steps"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.views = state["views"]

    def save(self) -> None:
        """Write a checkpoint."""
        state = {"student": self.student.state_dict(), "average": self.average.module.state_dict()}
        state |= {"steps": self.average.steps, "optimiser": self.optimiser.state_dict(), "views": self.views}
        checkpoint.save(self._path, state)

    def step(self, pixels: Tensor, wanted: Batch, share: float) -> tuple[float, float, float, float]:
        """Learn from one batch at a share of the full rate; what was missed half-way, deep, on the whole, by class."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        with torch.autocast(self.device, torch.bfloat16):
            middle, deep, features = self.student(pixels)
        features, (weight, bias) = features.float(), self._classes
        student = self.student
        parts = (
            student.missed("middle", middle.float(), F.adaptive_avg_pool2d(wanted.middle, middle.shape[2])),
            student.missed("deep", deep.float(), F.adaptive_avg_pool2d(wanted.deep, deep.shape[2])),
            student.missed("features", features, wanted.features),
            losses.softened(F.linear(features, weight, bias), F.linear(wanted.features, weight, bias)),
        )
        loss = parts[0] + 2 * parts[1] + 2 * parts[2] + 0.2 * parts[3]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.student)
        self.views += len(pixels)
        return tuple(part.item() for part in parts)  # type: ignore[return-value]


@torch.no_grad()
def seen(tower: PhotoTower, pixels: NDArray[np.uint8]) -> Tensor:
    """Features of whole pictures. *Shape:* (n, stored, stored, 3) to (n, SEEN)."""
    found, device = torch.empty(len(pixels), SEEN), next(tower.parameters()).device
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
    weight, bias = run._classes
    first = [F.linear(each.to(run.device), weight, bias).argmax(dim=1) for each in (found, wanted)]
    return f"dev misses {missed:.3f}, same first class {(first[0] == first[1]).float().mean():.3f}"


def see(run: Run, photos: Photos, folders: list[str]) -> None:
    """Write what the running mean sees in every view, or in those of some folders."""
    for view in photos.views:
        if folders and view.folder.name not in folders:
            continue
        seen(run.average.module.tower, view.arrays[0]).half().numpy().tofile(view.folder / "seen.new")
        (view.folder / "seen.new").replace(view.folder / "seen.f16")


def pace(views: int, total: int, cool: int) -> float:
    """The share of the full rate: a short rise, a long stay, a straight fall."""
    return max(0.0, min(1.0, (views + 1) / WARM, (total - views) / cool if cool else 1.0))


def train(run: Run, photos: Photos, *, total: int, cool: int, batch: int, side: int) -> None:
    """Train until `total` views."""
    ahead = Ahead(photos, batch, side, [run.seed, run.views])
    ahead.start()
    print(f"{photos.count} views; from {run.views}", flush=True)
    saved = shown = measured = time.monotonic()
    views, recent = run.views, np.zeros(4)
    while run.views < total:
        pixels, wanted = ahead.next()
        parts = run.step(pixels.to(run.device), wanted.to(run.device), pace(run.views, total, cool))
        recent = np.array(parts) if not recent.any() else 0.97 * recent + 0.03 * np.array(parts)
        now = time.monotonic()
        if now - shown > 30:
            rate = (run.views - views) / (now - shown)
            told = " ".join(f"{part:.3f}" for part in recent)
            print(f"{time.strftime('%H:%M:%S')} views {run.views} missed {told} {rate:.0f}/s", flush=True)
            shown, views = now, run.views
        if now - saved > 120:
            run.save()
            saved = time.monotonic()
        if now - measured > 300:
            print(measure(run, photos), flush=True)
            measured = time.monotonic()
    run.save()
    print(measure(run, photos), flush=True)


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
    run = Run(given.home, photos, teacher, seed=given.seed, rate=given.rate)
    run.resume()
    if given.see is not None:
        return see(run, photos, given.see)
    train(run, photos, total=given.views, cool=given.cool, batch=given.batch, side=given.side)


if __name__ == "__main__":
    main()
