"""Pretrain the sound tower of the pocket model: distil YAMNet's features and feature maps of a second of sound.

    python scripts/pocket/train_sound_tower.py HOME DATA --views 1000000 --cooldown 250000

HOME holds `cache/sounds` (gather_sounds.py). Every view is a randomly augmented second of a clip (speed, pitch,
equalisation, loudness; half of the views are mixed with another clip). Teacher and tower get the same view, so the
number of views is unlimited. No names, photos or texts are used here. A killed run resumes from its last checkpoint.
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
from distillation import DistillationRun, Student
from gather_sounds import SPEECH_SOURCE, GatheredClip, read_clips
from numpy.typing import NDArray
from teachers import PATCH_FRAMES, SoundTeacher
from torch import Tensor
from torch.nn import functional as F

from bindsearch.evaluation.split import sound_held_out

Floats = NDArray[np.float32]
SOURCE_WEIGHTS = {"esc50": 4.0, "named": 4.0, "urban": 1.0, "cries": 0.3, "instruments": 0.7, SPEECH_SOURCE: 0.5}
"""How often a clip of a source is drawn, times the square root of its length..."""
DEFAULT_WEIGHT = 1.5
"""...and a clip of any other source."""
COPY_COSINE = 0.97
"""Cosine of the teacher's features from which two seconds may come from one recording."""
SILENCE = -4.0
"""Log-mel value that no frame of a silent second exceeds."""


def excluded_clips(home: Path, teacher: SoundTeacher | None = None) -> NDArray[np.bool_]:
    """Return a mask of the clips that are not trained on: held-out clips and possible copies of them.

    Copies are found by the teacher's features. The mask is computed once, and cached beside the clips.
    """
    cache = home / "cache" / "sounds" / "left_out.npy"
    if cache.exists():
        cached: NDArray[np.bool_] = np.load(cache)
        return cached
    assert teacher is not None, "run train_sound_tower.py first"
    clips = read_clips(home)
    features = [F.normalize(teacher.features(clip.frames), dim=1).half() for clip in clips]
    excluded = np.array([sound_held_out(clip.name, clip.recording) for clip in clips])
    held_out = [row for row, clip in enumerate(clips) if excluded[row] and "/fold10/" not in clip.name]
    bank = torch.cat([features[row] for row in held_out]).float()
    count = int(excluded.sum())
    for row, rows in enumerate(features):
        excluded[row] |= bool((rows.float() @ bank.T).max() > COPY_COSINE)
    print(f"{count} clips are held out, {excluded.sum() - count} more may be copies of them", flush=True)
    np.save(cache, excluded)
    return excluded


class ViewPrefetcher(threading.Thread):
    """Augments batches of views in the background."""

    def __init__(self, clips: list[GatheredClip], size: int, seed: list[int]) -> None:
        super().__init__(daemon=True)
        self.clips, self._size, self._rng = clips, size, np.random.default_rng(seed)
        weights = [SOURCE_WEIGHTS.get(clip.source, DEFAULT_WEIGHT) * np.sqrt(len(clip.frames)) for clip in clips]
        self._shares = np.array(weights) / np.sum(weights)
        self._ready: queue.Queue[Tensor] = queue.Queue(4)

    def run(self) -> None:
        """Keep a few batches ready."""
        while True:
            self._ready.put(self.make_batch())

    def make_batch(self) -> Tensor:
        """Return a batch of views. *Shape:* (size, 96, 64), log-mel."""
        drawn = self._rng.choice(len(self.clips), self._size, p=self._shares)
        views = np.stack([augment(self.clips[clip].frames, self._rng) for clip in drawn])
        mixed = self._rng.random(self._size) < 0.5
        other = views[self._rng.permutation(self._size)]
        other += self._rng.uniform(-3, 0, (self._size, 1, 1)).astype(np.float32)
        views[mixed] = np.logaddexp(views[mixed], other[mixed])
        return torch.from_numpy(views)

    def next(self) -> Tensor:
        """Return the next batch; wait until it is ready."""
        return self._ready.get()


def augment(frames: NDArray[np.float16], rng: np.random.Generator) -> Floats:
    """Return a randomly augmented second of a clip. *Shape:* (n, 64) to (96, 64)."""
    speed = rng.uniform(0.8, 1.25) if rng.random() < 0.5 else 1.0
    length = min(round(PATCH_FRAMES * speed), len(frames))
    for _ in range(4):  # attempts to find a second that is not silent
        start = rng.integers(0, len(frames) - length + 1)
        second = frames[start : start + length].astype(np.float32)
        if second.max() > SILENCE:
            break
    second = _interpolate(second, np.linspace(0, length - 1, PATCH_FRAMES))
    if rng.random() < 0.4:  # pitch
        second = _interpolate(second.T, np.arange(second.shape[1]) + rng.uniform(-4, 4)).T
    if rng.random() < 0.3:  # equalisation
        second = second + np.interp(np.arange(64), np.linspace(0, 63, 4), rng.normal(0, 0.6, 4)).astype(np.float32)
    if rng.random() < 0.6:  # loudness
        second = second + np.float32(rng.uniform(-2.5, 1.2))
    return np.maximum(second, np.float32(np.log(LOG_OFFSET)))


def _interpolate(rows: Floats, positions: NDArray[np.float64]) -> Floats:
    """Interpolate linearly between rows, at fractional positions."""
    positions = positions.clip(0, len(rows) - 1)
    before = positions.astype(int)
    share = (positions - before).astype(np.float32)[:, None]
    mixed: Floats = rows[before] * (1 - share) + rows[np.minimum(before + 1, len(rows) - 1)] * share
    return mixed


class SoundDistillation:
    """A distillation run with its teacher, which computes the targets of every view."""

    def __init__(self, home: Path, teacher: SoundTeacher, sample: Tensor, *, seed: int, rate: float) -> None:
        """Start from random weights, or from the last checkpoint."""
        torch.manual_seed(seed)
        middle, deep = teacher(sample)
        student = Student(AudioTower(), middle, deep, deep.mean(dim=(2, 3)))
        self.run = DistillationRun(home / "ckpt" / "hearing.pt", student, teacher.classifier, seed=seed, rate=rate)
        self.run.resume()
        self.teacher = teacher.to(self.run.device)

    def step(self, frames: Tensor, rate_share: float) -> tuple[float, ...]:
        """Train on one batch; the tower gets it at another loudness than the teacher."""
        middle, deep = self.teacher(frames)
        gain = 0.25 * torch.randn(len(frames), 1, 1).to(frames.device)
        return self.run.update(_tower_input(frames + gain), (middle, deep, deep.mean(dim=(2, 3))), rate_share)

    @torch.no_grad()
    def measure(self, frames: Tensor) -> str:
        """Compare the averaged tower with the teacher on held-out seconds."""
        frames, averaged = frames.to(self.run.device), self.run.average.module
        output, target = averaged(_tower_input(frames))[2], self.teacher(frames)[1].mean(dim=(2, 3))
        same = (self.run.logits(output).argmax(dim=1) == self.run.logits(target).argmax(dim=1)).float().mean()
        cosine = F.cosine_similarity(output, target).mean()
        unexplained = averaged.unexplained_variance("features", output, target)
        return f"held-out unexplained variance {unexplained:.3f}, cosine {cosine:.3f}, same class {same:.3f}"


def _tower_input(frames: Tensor) -> Tensor:
    """Normalise log-mel frames. *Shape:* (n, 96, 64) to (n, 1, 96, 64)."""
    spectra: Tensor = normalise(frames)
    return spectra[:, None].contiguous(memory_format=torch.channels_last)


def held_out_seconds(clips: list[GatheredClip]) -> Tensor:
    """Return seconds of ESC-50's held-out recordings. *Shape:* (n, 96, 64)."""
    held = [clip.frames for clip in clips if clip.source == "esc50" and sound_held_out(clip.name, clip.recording)]
    seconds = [frames[start : start + PATCH_FRAMES] for frames in held for start in (0, 150, 300)]
    audible = [each for each in seconds if len(each) == PATCH_FRAMES and each.max() > SILENCE]
    return torch.from_numpy(np.stack(audible).astype(np.float32))


def main() -> None:
    """Pretrain the sound tower."""
    parser = argparse.ArgumentParser(description="Pretrain the sound tower by distillation.")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("data", type=Path, help="folder with teachers")
    parser.add_argument("--views", type=int, default=1_000_000, help="total seconds to train on, all runs together")
    parser.add_argument("--cooldown", type=int, default=250_000, help="last views, in which the rate falls to zero")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    (args.home / "ckpt").mkdir(exist_ok=True)
    teacher = SoundTeacher(args.data / "teachers" / "yamnet.tflite")
    excluded, clips = excluded_clips(args.home, teacher), read_clips(args.home)
    training_clips = [clip for clip, out in zip(clips, excluded, strict=True) if not out]
    sample = ViewPrefetcher(training_clips, 1024, [args.seed]).make_batch()
    distillation = SoundDistillation(args.home, teacher, sample, seed=args.seed, rate=args.rate)
    prefetcher = ViewPrefetcher(training_clips, args.batch, [args.seed, distillation.run.views])
    prefetcher.start()
    print(f"{len(training_clips)} clips; from {distillation.run.views} views", flush=True)
    held_out = held_out_seconds(clips)
    distillation.run.train(
        lambda rate_share: distillation.step(prefetcher.next().to(distillation.run.device), rate_share),
        lambda: distillation.measure(held_out),
        total=args.views,
        cooldown=args.cooldown,
    )


if __name__ == "__main__":
    main()
