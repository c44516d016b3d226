"""Train the photo tower of the pocket model from cached teachers. Killed anywhere, it goes on where it was.

    python scripts/train_pocket.py HOME --views 1000000

HOME holds `cache/photos/<set>/` (scripts/pocket_photos.py) and `anchor/` (scripts/train_pocket_anchor.py, may come
later: until then the tower learns the teacher's classes alone).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket_towers import PhotoTower
from numpy.typing import NDArray
from pocket_anchor import Anchor, held_out, read_split, text_to_image
from pocket_photos import STORED
from pocket_teachers import PhotoTeacher
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.training import checkpoint, losses
from bindsearch.training.average import Average
from bindsearch.training.schedule import cosine

SHARES = {
    "flickr8k": 3.0,
    "caltech101": 2.5,
    "imagenet_samples": 3.0,
    "voc": 2.0,
    "bsds": 2.0,
    "tiny": 0.7,
    "imagewoof": 0.6,
}
"""How often a photo of a set is drawn, compared with photos of the sets that are not named."""


@dataclass(frozen=True, slots=True)
class Set:
    """One gathered source."""

    name: str
    names: list[str]
    pixels: NDArray[np.uint8]
    features: NDArray[np.float16]

    @classmethod
    def open(cls, folder: Path) -> Set:
        """Map what has been gathered so far."""
        names = (folder / "names.txt").read_text().splitlines()
        count = len(names)
        pixels = np.memmap(folder / "pixels.u8", np.uint8, "r", shape=(count, STORED, STORED, 3))
        features = np.memmap(folder / "features.f16", np.float16, "r", shape=(count, 1280))
        return cls(folder.name, names, pixels, features)


class Photos:
    """All photos that may be trained on, drawn at random with replacement."""

    def __init__(self, home: Path) -> None:
        folders = sorted(path.parent for path in home.glob("cache/photos/*/names.txt"))
        self.sets = [Set.open(folder) for folder in folders]
        self._usable = [np.flatnonzero([not held_out(s.name, name) for name in s.names]) for s in self.sets]
        weights = np.array([len(u) * SHARES.get(s.name, 1.0) for s, u in zip(self.sets, self._usable, strict=True)])
        self._weights = weights / weights.sum()
        self.count = sum(map(len, self._usable))

    def draw(self, n: int, chance: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Pixels and teacher's features. *Shape:* (n, 3, stored, stored) uint8, (n, 1280)."""
        pixels, features = [], []
        for which in chance.choice(len(self.sets), n, p=self._weights):
            row = int(chance.choice(self._usable[which]))
            pixels.append(self.sets[which].pixels[row])
            features.append(self.sets[which].features[row])
        return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), torch.from_numpy(np.stack(features)).float()


def centred(pixels: Tensor) -> Tensor:
    """Bytes to what the tower takes."""
    return pixels.float().sub_(118).div_(62)


def augmented(pixels: Tensor, side: int, chance: torch.Generator) -> Tensor:
    """Cut a random part of 45 to 100 % of each picture, mirror half of them, and change light and contrast."""
    n, device = len(pixels), pixels.device
    area = 0.45 + 0.55 * torch.rand(n, generator=chance)
    stretch = torch.exp(0.25 * (2 * torch.rand(n, generator=chance) - 1))
    wide, high = (area.sqrt() * stretch).clamp(max=1), (area.sqrt() / stretch).clamp(max=1)
    left = (1 - wide) * (2 * torch.rand(n, generator=chance) - 1)
    top = (1 - high) * (2 * torch.rand(n, generator=chance) - 1)
    mirror = torch.where(torch.rand(n, generator=chance) < 0.5, -1.0, 1.0)
    zero = torch.zeros(n)
    where = torch.stack([torch.stack([wide * mirror, zero, left], 1), torch.stack([zero, high, top], 1)], 1)
    grid = F.affine_grid(where.to(device), [n, 3, side, side], align_corners=False)
    cut = F.grid_sample(centred(pixels), grid, padding_mode="reflection", align_corners=False)
    contrast = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=chance)
    light = 0.18 * torch.rand(n, 3, 1, 1, generator=chance) + 0.2 * torch.rand(n, 1, 1, 1, generator=chance) - 0.2
    return (cut * contrast.to(device) + light.to(device)).contiguous(memory_format=torch.channels_last)


class Student(nn.Module):
    """The tower, and a row of teacher's classes beside its head that is thrown away in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = PhotoTower()
        self.classes = nn.Linear(self.tower.trunk.width, 1001)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """*Shape:* (n, 3, side, side) to (n, dim) and (n, 1001)."""
        seen = self.tower.features(pixels)
        return self.tower.head(seen), self.classes(seen)


class Run:
    """Everything that a checkpoint holds, and one step of training."""

    def __init__(self, home: Path, *, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.home = home
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.student = Student().to(self.device, memory_format=torch.channels_last)
        self.average = Average(self.student, decay=0.998)
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

    def step(
        self, pixels: Tensor, classes: Tensor, wanted: Tensor | None, bank: Tensor | None, progress: float
    ) -> float:
        """Learn from one batch; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * cosine(progress)
        with torch.autocast(self.device, torch.bfloat16):
            vectors, logits = self.student(pixels)
        vectors = vectors.float()
        loss = 0.5 * losses.softened(logits.float(), classes.to(self.device))
        if wanted is not None and bank is not None:
            wanted, bank = wanted.to(self.device), bank.to(self.device)
            loss = loss + 4 * losses.regression(vectors, wanted) + losses.distillation(vectors, wanted, bank)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.student)
        self.views += len(pixels)
        return loss.item()


@torch.no_grad()
def embed(tower: PhotoTower, pixels: NDArray[np.uint8], *, side: int = 128) -> Tensor:
    """Whole pictures in the space. *Shape:* (n, stored, stored, 3) to (n, dim), unit length."""
    found, device = [], next(tower.parameters()).device
    for start in range(0, len(pixels), 64):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[start : start + 64])).permute(0, 3, 1, 2)
        small = F.interpolate(
            centred(batch.to(device)), (side, side), mode="bilinear", antialias=True, align_corners=False
        )
        found.append(tower(small.contiguous(memory_format=torch.channels_last)))
    return F.normalize(torch.cat(found).float().cpu(), dim=1)


def measure(run: Run, photos: Photos, anchor: Anchor) -> str:
    """Flickr8k's development photos by their captions; the tower is the running mean."""
    flickr = next(s for s in photos.sets if s.name == "flickr8k")
    rows = [row for row, name in enumerate(flickr.names) if name in anchor.dev_captions]
    vectors = embed(run.average.module.tower, flickr.pixels[rows])
    first, ten = text_to_image(vectors, anchor.captions_of([flickr.names[row] for row in rows]))
    wanted = anchor.images(torch.from_numpy(flickr.features[rows]).float())
    close = float(F.cosine_similarity(vectors, wanted, dim=1).mean())
    return f"dev R@1 {first:.3f} R@10 {ten:.3f} cosine {close:.3f}"


def train(run: Run, *, total: int, batch: int, side: int, data: Path) -> None:
    """Train until `total` views."""
    read_split(data)
    photos, anchor = Photos(run.home), Anchor.load(run.home / "anchor")
    teacher = PhotoTeacher(data / "teachers" / "mobilenet_v2_imagenet.tflite")
    chance = np.random.default_rng([run.seed, run.views])
    torch_chance = torch.Generator().manual_seed(run.seed + run.views)
    print(f"{photos.count} photos; from {run.views} views; anchor {'there' if anchor else 'not yet there'}", flush=True)
    saved = shown = measured = time.monotonic()
    views, recent = run.views, 0.0
    while run.views < total:
        pixels, features = photos.draw(batch, chance)
        wanted = anchor.images(features) if anchor else None
        bank = anchor.bank if anchor else None
        classes = torch.from_numpy(teacher.logits(features.numpy()))
        loss = run.step(augmented(pixels.to(run.device), side, torch_chance), classes, wanted, bank, run.views / total)
        recent = loss if recent == 0 else 0.95 * recent + 0.05 * loss
        now = time.monotonic()
        if now - shown > 30:
            rate = (run.views - views) / (now - shown)
            print(f"{time.strftime('%H:%M:%S')} views {run.views} loss {recent:.3f} {rate:.0f}/s", flush=True)
            shown, views = now, run.views
        if now - saved > 90:
            run.save()
            saved = time.monotonic()
        if anchor and now - measured > 420:
            print(measure(run, photos, anchor), flush=True)
            measured = time.monotonic()
        if anchor is None and (run.home / "anchor" / "done").exists():
            anchor, photos = Anchor.load(run.home / "anchor"), Photos(run.home)
            print(f"anchor there at {run.views} views; {photos.count} photos", flush=True)
    run.save()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="train the photo tower")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path, help="the folder with flickr8k, esc50, sounds, teachers")
    parser.add_argument("--views", type=int, default=1_000_000, help="when to stop, counting from the very first")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    (given.home / "ckpt").mkdir(exist_ok=True)
    run = Run(given.home, seed=given.seed, rate=given.rate)
    run.resume()
    train(run, total=given.views, batch=given.batch, side=given.side, data=given.data)


if __name__ == "__main__":
    main()
