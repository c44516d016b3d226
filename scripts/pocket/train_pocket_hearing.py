"""Teach the sound tower of the pocket model to hear: what YAMNet hears, at each place of a second of sound.

    python scripts/pocket/train_pocket_hearing.py HOME DATA --views 1000000 --cool 250000

HOME holds `cache/sounds` (scripts/pocket/pocket_sounds.py). Every view is a second of a clip made different (another
speed,
pitch, colour, loudness; half of them mixed with another clip), which teacher and tower hear alike: their number is
without end. No name, photo or text is seen here. Killed anywhere, it goes on where it was.
"""

from __future__ import annotations

import argparse
import queue
import threading
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket.spectrogram import LOG_OFFSET, normalise
from bindsearch.encoders.pocket.towers import AudioTower
from numpy.typing import NDArray
from pocket_distilling import Run, Student
from pocket_sounds import GAME_OF_VOICES, Gathered, gathered
from pocket_teachers import PATCH, SoundTeacher
from torch import Tensor
from torch.nn import functional as F

from bindsearch.evaluation.split import sound_held_out

Floats = NDArray[np.float32]
SHARES = {"esc50": 4.0, "named": 4.0, "urban": 1.0, "cries": 0.3, "instruments": 0.7, GAME_OF_VOICES: 0.5}
OTHER = 1.5
"""How often a clip of a set is drawn, times the root of its length; and of the sets that are not named."""
SAME = 0.97
"""Cosine of the teacher's features from which two seconds may be of one recording."""
QUIET = -4.0


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
    found = np.array([sound_held_out(clip.name, clip.recording) for clip in clips])
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
    return np.maximum(found, np.float32(np.log(LOG_OFFSET)))


def _between(rows: Floats, places: NDArray[np.float64]) -> Floats:
    """Rows at places that lie between rows."""
    places = places.clip(0, len(rows) - 1)
    before = places.astype(int)
    share = (places - before).astype(np.float32)[:, None]
    mixed: Floats = rows[before] * (1 - share) + rows[np.minimum(before + 1, len(rows) - 1)] * share
    return mixed


class Hearing:
    """A run, and its teacher, who hears what the tower hears."""

    def __init__(self, home: Path, teacher: SoundTeacher, sample: Tensor, *, seed: int, rate: float) -> None:
        """Begin anew, or where the last checkpoint was."""
        torch.manual_seed(seed)
        middle, deep = teacher(sample)
        student = Student(AudioTower(), middle, deep, deep.mean(dim=(2, 3)))
        self.run = Run(home / "ckpt" / "hearing.pt", student, teacher.classes, seed=seed, rate=rate)
        self.run.resume()
        self.teacher = teacher.to(self.run.device)

    def step(self, frames: Tensor, share: float) -> tuple[float, ...]:
        """Learn from one batch, which the tower hears at another loudness than the teacher."""
        middle, deep = self.teacher(frames)
        louder = 0.25 * torch.randn(len(frames), 1, 1).to(frames.device)
        return self.run.learn(_pictured(frames + louder), (middle, deep, deep.mean(dim=(2, 3))), share)

    @torch.no_grad()
    def measure(self, frames: Tensor) -> str:
        """How much of what the teacher hears in held-out seconds the running mean still misses."""
        frames, mean, (weight, bias) = frames.to(self.run.device), self.run.average.module, self.run.classes
        found, wanted = mean(_pictured(frames))[2], self.teacher(frames)[1].mean(dim=(2, 3))
        first = [F.linear(each, weight, bias).argmax(dim=1) for each in (found, wanted)]
        same, alike = (first[0] == first[1]).float().mean(), F.cosine_similarity(found, wanted).mean()
        missed = mean.missed("features", found, wanted)
        return f"held-out misses {missed:.3f}, cosine {alike:.3f}, same class {same:.3f}"


def _pictured(frames: Tensor) -> Tensor:
    """What the tower takes. *Shape:* (n, 96, 64) of log-mel to (n, 1, 96, 64)."""
    spectra: Tensor = normalise(frames)
    return spectra[:, None].contiguous(memory_format=torch.channels_last)


def held_out_seconds(clips: list[Gathered]) -> Tensor:
    """Seconds of ESC-50's held-out recordings, to measure by. *Shape:* (n, 96, 64)."""
    mine = [clip.frames for clip in clips if clip.source == "esc50" and sound_held_out(clip.name, clip.recording)]
    seconds = [frames[start : start + PATCH] for frames in mine for start in (0, 150, 300)]
    loud = [each for each in seconds if len(each) == PATCH and each.max() > QUIET]
    return torch.from_numpy(np.stack(loud).astype(np.float32))


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
    hearing = Hearing(given.home, teacher, sample.views(), seed=given.seed, rate=given.rate)
    ahead = Ahead(sample.clips, given.batch, [given.seed, hearing.run.views])
    ahead.start()
    print(f"{len(ahead.clips)} clips; from {hearing.run.views}", flush=True)
    held = held_out_seconds(clips)
    hearing.run.train(
        lambda share: hearing.step(ahead.next().to(hearing.run.device), share),
        lambda: hearing.measure(held),
        total=given.views,
        cool=given.cool,
    )


if __name__ == "__main__":
    main()
