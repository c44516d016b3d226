"""Teach the sound tower of the pocket model to hear: what YAMNet hears, at each place of a second of sound.

    python scripts/train_pocket_hearing.py HOME DATA --views 1000000 --cool 250000

HOME holds `cache/sounds` (scripts/pocket_sounds.py). Every view is a second of a clip made different (another speed,
pitch, colour, loudness; half of them mixed with another clip), which teacher and tower hear alike: their number is
without end. No name, photo or text is seen here. Killed anywhere, it goes on where it was.
"""

from __future__ import annotations

import argparse
import queue
import threading
import time
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket_sound import FLOOR, centred
from bindsearch.encoders.pocket_towers import SoundTower
from numpy.typing import NDArray
from pocket_sounds import Gathered, gathered
from pocket_teachers import PATCH, SoundTeacher
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.evaluation.split import sound_held_out
from bindsearch.training import checkpoint, losses
from bindsearch.training.average import Average

Floats = NDArray[np.float32]
SHARES = {"esc50": 4.0, "named": 4.0, "urban": 1.0, "cries": 0.3, "instruments": 0.7, "hedgewars-data": 0.5}
OTHER = 1.5
"""How often a clip of a set is drawn, times the root of its length; and of the sets that are not named."""
SAME = 0.97
"""Cosine of the teacher's features from which two seconds may be of one recording."""
QUIET = -4.0
WARM = 30_000
"""Views in which the rate rises."""


def measured_by(clip: str, recording: str) -> bool:
    """ESC-50: a quarter of the recordings. UrbanSound8K: fold 10. Named sounds: two whole collections."""
    return sound_held_out(clip, recording)


def left_out(home: Path, teacher: SoundTeacher | None = None) -> NDArray[np.bool_]:
    """Which clips are not trained on: what is measured by, and what sounds to the teacher like a copy of it.

    Found once, and kept beside the clips.
    """
    kept = home / "cache" / "sounds" / "left_out.npy"
    if kept.exists():
        found: NDArray[np.bool_] = np.load(kept)
        return found
    assert teacher is not None, "teach the tower to hear first"
    clips = gathered(home)
    features = [F.normalize(teacher.features(clip.frames), dim=1).half() for clip in clips]
    found = np.array([measured_by(clip.name, clip.recording) for clip in clips])
    exam = [row for row, clip in enumerate(clips) if found[row] and "/fold10/" not in clip.name]
    bank = torch.cat([features[row] for row in exam]).float()
    held = int(found.sum())
    for row, rows in enumerate(features):
        found[row] |= bool((rows.float() @ bank.T).max() > SAME)
    print(f"{held} clips are measured by, {found.sum() - held} more may be copies of them", flush=True)
    np.save(kept, found)
    return found


class Ahead(threading.Thread):
    """Makes views while others are learnt."""

    def __init__(self, clips: list[Gathered], size: int, seed: list[int]) -> None:
        super().__init__(daemon=True)
        self.clips, self._size, self._chance = clips, size, np.random.default_rng(seed)
        shares = np.array([SHARES.get(clip.source, OTHER) * np.sqrt(len(clip.frames)) for clip in clips])
        self._shares = shares / shares.sum()
        self._ready: queue.Queue[Tensor] = queue.Queue(4)

    def run(self) -> None:
        """Keep a few batches ready."""
        while True:
            self._ready.put(self.views())

    def views(self) -> Tensor:
        """Make a batch. *Shape:* (size, 96, 64), log-mel."""
        drawn = self._chance.choice(len(self.clips), self._size, p=self._shares)
        views = np.stack([view(self.clips[clip].frames, self._chance) for clip in drawn])
        mixed = self._chance.random(self._size) < 0.5
        other = views[self._chance.permutation(self._size)]
        other += self._chance.uniform(-3, 0, (self._size, 1, 1)).astype(np.float32)
        views[mixed] = np.logaddexp(views[mixed], other[mixed])
        return torch.from_numpy(views)

    def next(self) -> Tensor:
        """Wait for a batch."""
        return self._ready.get()


def view(frames: NDArray[np.float16], chance: np.random.Generator) -> Floats:
    """A second of a clip, made different. *Shape:* (n, 64) to (96, 64)."""
    speed = chance.uniform(0.8, 1.25) if chance.random() < 0.5 else 1.0
    length = min(round(PATCH * speed), len(frames))
    for _ in range(4):
        start = chance.integers(0, len(frames) - length + 1)
        found = frames[start : start + length].astype(np.float32)
        if found.max() > QUIET:
            break
    found = _between(found, np.linspace(0, length - 1, PATCH))
    if chance.random() < 0.4:  # another pitch
        found = _between(found.T, np.arange(found.shape[1]) + chance.uniform(-4, 4)).T
    if chance.random() < 0.3:  # another room
        found = found + np.interp(np.arange(64), np.linspace(0, 63, 4), chance.normal(0, 0.6, 4)).astype(np.float32)
    if chance.random() < 0.6:  # another loudness
        found = found + np.float32(chance.uniform(-2.5, 1.2))
    return np.maximum(found, np.float32(np.log(FLOOR)))


def _between(rows: Floats, places: NDArray[np.float64]) -> Floats:
    """Rows at places that lie between rows."""
    places = places.clip(0, len(rows) - 1)
    before = places.astype(int)
    share = (places - before).astype(np.float32)[:, None]
    mixed: Floats = rows[before] * (1 - share) + rows[np.minimum(before + 1, len(rows) - 1)] * share
    return mixed


class Student(nn.Module):
    """The tower, and beside it what compares its places with the teacher's and is thrown away in the end."""

    def __init__(self, middle: Tensor, deep: Tensor) -> None:
        """Learn from a sample how the teacher's features are spread."""
        super().__init__()
        self.tower = SoundTower()
        self.middle = nn.Conv2d(self.tower.trunk.width_before, middle.shape[1], 1)
        self.deep = nn.Conv2d(self.tower.trunk.width, deep.shape[1], 1)
        for name, wanted in (("middle", middle), ("deep", deep), ("features", deep.mean(dim=(2, 3)))):
            over = [axis for axis in range(wanted.ndim) if axis != 1]
            self.register_buffer(f"{name}_mean", wanted.mean(dim=over, keepdim=True))
            self.register_buffer(f"{name}_spread", wanted.std(dim=over, keepdim=True) + 0.05 * wanted.std())

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """*Shape:* (n, 96, 64) of log-mel to (n, 512, 6, 4), (n, 1024, 3, 2), (n, 1024)."""
        spectra = centred(frames)[:, None].contiguous(memory_format=torch.channels_last)
        middle, deep = self.tower.trunk.places(spectra)
        return self.middle(middle), self.deep(deep), self.tower.widen(deep).mean(dim=(2, 3))

    def missed(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        """Which part of what varies in the teacher was not found, 0 to 1 and more."""
        mean, spread = getattr(self, f"{name}_mean"), getattr(self, f"{name}_spread")
        if name == "features":
            found = (found - mean) / spread
        return F.mse_loss(found, (wanted - mean) / spread)


class Run:
    """Everything that a checkpoint holds, and one step of training."""

    def __init__(self, home: Path, teacher: SoundTeacher, sample: Tensor, *, seed: int, rate: float) -> None:
        torch.manual_seed(seed)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.teacher = teacher.to(self.device)
        student = Student(*self.teacher(sample.to(self.device)))
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.average = Average(self.student, decay=0.998)
        self._classes = tuple(each.to(self.device) for each in teacher.classes)
        plain = [p for p in self.student.parameters() if p.ndim < 2]
        heavy = [p for p in self.student.parameters() if p.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate)
        self.rate, self.views, self.seed = rate, 0, seed
        self._path = home / "ckpt" / "hearing.pt"

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

    def step(self, frames: Tensor, share: float) -> tuple[float, float, float, float]:
        """Learn from one batch at a share of the full rate; what was missed half-way, deep, on the whole, by class."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        wanted_middle, wanted_deep = self.teacher(frames)
        wanted = wanted_deep.mean(dim=(2, 3))
        louder = 0.25 * torch.randn(len(frames), 1, 1).to(self.device)
        with torch.autocast(self.device, torch.bfloat16):
            middle, deep, features = self.student(frames + louder)
        features, (weight, bias) = features.float(), self._classes
        parts = (
            self.student.missed("middle", middle.float(), wanted_middle),
            self.student.missed("deep", deep.float(), wanted_deep),
            self.student.missed("features", features, wanted),
            losses.softened(F.linear(features, weight, bias), F.linear(wanted, weight, bias)),
        )
        loss = parts[0] + 2 * parts[1] + 2 * parts[2] + 0.2 * parts[3]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.student)
        self.views += len(frames)
        return tuple(part.item() for part in parts)  # type: ignore[return-value]

    @torch.no_grad()
    def measure(self, frames: Tensor) -> str:
        """How much of what the teacher hears in held-out seconds the running mean still misses."""
        frames, mean, (weight, bias) = frames.to(self.device), self.average.module, self._classes
        found, wanted = mean(frames)[2], self.teacher(frames)[1].mean(dim=(2, 3))
        first = [F.linear(each, weight, bias).argmax(dim=1) for each in (found, wanted)]
        same, alike = (first[0] == first[1]).float().mean(), F.cosine_similarity(found, wanted).mean()
        return (
            f"held-out misses {mean.missed('features', found, wanted):.3f}, cosine {alike:.3f}, same class {same:.3f}"
        )


def held_out_seconds(clips: list[Gathered]) -> Tensor:
    """Seconds of ESC-50's held-out recordings, to measure by. *Shape:* (n, 96, 64)."""
    mine = [clip.frames for clip in clips if clip.source == "esc50" and measured_by(clip.name, clip.recording)]
    seconds = [frames[start : start + PATCH] for frames in mine for start in (0, 150, 300)]
    loud = [each for each in seconds if len(each) == PATCH and each.max() > QUIET]
    return torch.from_numpy(np.stack(loud).astype(np.float32))


def train(run: Run, ahead: Ahead, held: Tensor, *, total: int, cool: int) -> None:
    """Train until `total` views."""
    saved = shown = measured = time.monotonic()
    views, recent = run.views, np.zeros(4)
    while run.views < total:
        share = max(0.0, min(1.0, (run.views + 1) / WARM, (total - run.views) / cool if cool else 1.0))
        parts = np.array(run.step(ahead.next().to(run.device), share))
        recent = parts if not recent.any() else 0.97 * recent + 0.03 * parts
        now = time.monotonic()
        if now - shown > 30:
            told = " ".join(f"{part:.3f}" for part in recent)
            rate = (run.views - views) / (now - shown)
            print(f"{time.strftime('%H:%M:%S')} views {run.views} missed {told} {rate:.0f}/s", flush=True)
            shown, views = now, run.views
        if now - saved > 120:
            run.save()
            saved = time.monotonic()
        if now - measured > 300:
            print(run.measure(held), flush=True)
            measured = time.monotonic()
    run.save()
    print(run.measure(held), flush=True)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="teach the sound tower to hear")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--views", type=int, default=1_000_000, help="when to stop, counting from the very first")
    parser.add_argument("--cool", type=int, default=250_000, help="the last views, in which the rate falls to nothing")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    (given.home / "ckpt").mkdir(exist_ok=True)
    teacher = SoundTeacher(given.data / "teachers" / "yamnet.tflite")
    left, clips = left_out(given.home, teacher), gathered(given.home)
    sample = Ahead([clip for clip, out in zip(clips, left, strict=True) if not out], 1024, [given.seed])
    run = Run(given.home, teacher, sample.views(), seed=given.seed, rate=given.rate)
    run.resume()
    ahead = Ahead(sample.clips, given.batch, [given.seed, run.views])
    ahead.start()
    print(f"{len(ahead.clips)} clips; from {run.views}", flush=True)
    train(run, ahead, held_out_seconds(clips), total=given.views, cool=given.cool)


if __name__ == "__main__":
    main()
