"""Measure ImageBind's audio path: ours against the way that the original works, in one run, on random weights.

Ours hears all of a file in windows that lie side by side, batched over files, in the dtype that pays here. The
original's way is three overlapping clips of every file, one file at a time, in float32, fbank by torchaudio where it is
installed. Files are noise of the length given; ten seconds are five windows of ours and three clips of the original's,
five seconds (the length of ESC-50's) three and three, so that is the default.

`--dtype` measures one dtype of ours; otherwise bfloat16. Speed is the median over `--rounds`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from bindsearch.encoders import imagebind_fbank as fbank
from bindsearch.encoders.imagebind_audio import PUBLISHED, AudioTower
from numpy.typing import NDArray

Sounds = list[NDArray[np.float32]]
BATCH = 32
"""Clips that go through the tower together, on our way."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one way took for all files, and what it gave."""

    wall: float
    """Seconds a file, the median of the rounds."""
    cpu: float
    """Seconds of processor a file."""
    clips: float
    """A file."""
    vectors: NDArray[np.float32]


def random_tower(seed: int = 0) -> AudioTower:
    """Build the full-size tower with weights of about the published one's spread."""
    torch.manual_seed(seed)
    tower = AudioTower(PUBLISHED)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    for module in tower.modules():
        if isinstance(module, torch.nn.LayerNorm):
            torch.nn.init.normal_(module.weight, 1.0, 0.1)
    return tower.eval().requires_grad_(False)


def noises(files: int, seconds: float) -> Sounds:
    """Make recordings that differ: noise of several colours."""
    rng = np.random.default_rng(0)
    length = round(seconds * fbank.RATE)
    white = [rng.normal(0, 0.1, length) for _ in range(files)]
    widths = [1 + at % 8 for at in range(files)]
    smooth = [np.convolve(each, np.ones(width) / width, "same") for each, width in zip(white, widths, strict=True)]
    return [each.astype(np.float32) for each in smooth]


def our_clips(sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Cut a recording as the space's windowing does."""
    starts = [*range(0, len(sound) - fbank.CLIP, fbank.CLIP), max(0, len(sound) - fbank.CLIP)]
    return [fbank.window_clip(sound[start : start + fbank.CLIP]) for start in starts]


def ours(tower: AudioTower, sounds: Sounds, dtype: torch.dtype, device: torch.device) -> NDArray[np.float32]:
    """Hear all files: windows of several files together. *Shape:* (files, dim), unit length"""
    parts = [our_clips(sound) for sound in sounds]
    clips = torch.from_numpy(np.stack([clip for part in parts for clip in part]))
    with torch.inference_mode():
        blocks = [tower(block.to(device=device, dtype=dtype)).float().cpu() for block in clips.split(BATCH)]
    rows = torch.nn.functional.normalize(torch.cat(blocks), dim=-1).split([len(part) for part in parts])
    return np.stack([_unit(part.mean(dim=0)) for part in rows])


def originals(tower: AudioTower, sounds: Sounds, device: torch.device) -> NDArray[np.float32]:
    """Hear one file after the other, as the original does. *Shape:* (files, dim), unit length"""
    found = []
    for sound in sounds:
        clips = torch.stack([_kaldi(sound[start:end]) for start, end in fbank.clip_samples(len(sound))])
        with torch.inference_mode():
            found.append(_unit(tower.recordings(clips[None].to(device))[0].cpu()))
    return np.stack(found)


def _kaldi(samples: NDArray[np.float32]) -> torch.Tensor:
    """Make a clip by torchaudio, which the original uses, else by our own features. *Shape:* (1, 128, 204)"""
    centred = samples - samples.mean()
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError):
        return torch.from_numpy(fbank.log_mel(centred))
    options: dict[str, Any] = {"htk_compat": True, "use_energy": False, "window_type": "hanning", "dither": 0.0}
    mel = kaldi.fbank(torch.from_numpy(centred)[None], sample_frequency=fbank.RATE, num_mel_bins=fbank.BANDS, **options)
    filled = torch.nn.functional.pad(mel, (0, 0, 0, fbank.FRAMES - len(mel)))
    return ((filled - fbank.MEAN) / fbank.SCALE).T[None]


def measured(way: Callable[[], NDArray[np.float32]], *, files: int, clips: float, rounds: int) -> Result:
    """Run a way once for nothing, then `rounds` times."""
    vectors = way()
    walls, cpus = [], []
    for _ in range(rounds):
        wall, cpu = time.perf_counter(), time.process_time()
        way()
        walls.append((time.perf_counter() - wall) / files)
        cpus.append((time.process_time() - cpu) / files)
    return Result(statistics.median(walls), statistics.median(cpus), clips, vectors)


def _unit(vector: torch.Tensor) -> NDArray[np.float32]:
    row: NDArray[np.float32] = torch.nn.functional.normalize(vector, dim=-1).numpy()
    return row


def _cosine(one: Result, other: Result) -> float:
    """Give the smallest cosine between the vectors of the same file."""
    return float((one.vectors * other.vectors).sum(axis=1).min())


def main() -> None:
    """Measure both ways, and print a table and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device, dtype = torch.device(args.device), getattr(torch, args.dtype)
    sounds = noises(args.files, args.seconds)
    tower = random_tower().to(device)
    mine = len(our_clips(sounds[0]))

    def run(way: Callable[[], NDArray[np.float32]], clips: int) -> Result:
        return measured(way, files=args.files, clips=clips, rounds=args.rounds)

    original = run(lambda: originals(tower, sounds, device), fbank.CLIPS)
    exact = run(lambda: ours(tower, sounds, torch.float32, device), mine)
    short_tower = random_tower().to(device=device, dtype=dtype)
    short = run(lambda: ours(short_tower, sounds, dtype, device), mine)

    print(f"{args.files} files of {args.seconds:g} s, {args.device}, {args.threads} threads, torch {torch.__version__}")
    print(f"{'way':34} {'clips':>5} {'files/s':>8} {'CPU s a file':>13}")
    rows = {"original's way, float32, one by one": original, "ours, float32": exact, f"ours, {args.dtype}": short}
    for name, result in rows.items():
        print(f"{name:34} {result.clips:5g} {1 / result.wall:8.2f} {result.cpu:13.3f}")
    told = {
        "speedup": round(original.wall / short.wall, 2),
        "speedup a clip": round(original.wall / original.clips / (short.wall / short.clips), 2),
        "cosine to float32": round(_cosine(exact, short), 5),
        "published CPU s a file of the original": "1.44-1.51 (one thread, 3 clips)",
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
