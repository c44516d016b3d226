"""Try shorter numbers in ImageBind's audio tower: how far do they move a sound, against how far apart sounds are?

Sixteen sounds of two seconds are synthesised: tones, chords, sweeps, noises, clicks, beats, a pulse and near silence.
Reported are, of every dtype, the least cosine to float32, the largest move, the same over the least and over the median
distance between two of the sounds, and of how many sounds the nearest other one stays the nearest.

A cosine says little by itself: sounds of one kind may lie close together. `--weights FILE` takes the
published checkpoint, or the slice of it for sounds. `--outliers X` makes some channels of what the products look at X
times as large, as is found in trained transformers, and with `--made-up-for` the weights that meet them as much
smaller, which leaves the function in float32 as it is.

    python scripts/experiments/imagebind_int8.py [--weights FILE] [--outliers X [--made-up-for]] [--seed N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from bench_imagebind import random_tower
from bindsearch.encoders.imagebind import fbank as fbank
from bindsearch.encoders.imagebind.audio_tower import AudioTower, build_tower, is_audio_entry
from bindsearch.encoders.imagebind.fast_audio_tower import prepare_tower
from bindsearch.encoders.shared.weight_files import open_tensors
from numpy.typing import NDArray

DTYPES = ("float32", "bfloat16", "int8")
EVERY = 250
"""One channel in so many is an outlier, where there are to be any."""
Sound = NDArray[np.floating]


def sounds() -> dict[str, Sound]:
    """Synthesise the sounds."""
    t = np.arange(fbank.CLIP_SAMPLES) / fbank.RATE
    chance = np.random.default_rng(0)
    white = chance.normal(0, 0.1, fbank.CLIP_SAMPLES)
    tones = {f"tone of {hertz} Hz": 0.3 * np.sin(2 * np.pi * hertz * t) for hertz in (110, 440, 3000)}
    chord = sum(np.sin(2 * np.pi * hertz * t) for hertz in (220, 277, 330))
    voice = sum(np.sin(2 * np.pi * 130 * n * t + 3 * np.sin(2 * np.pi * 5 * t)) / n for n in range(1, 20))
    sweep = np.sin(2 * np.pi * (100 * t + 1500 * t**2))
    click = (np.arange(fbank.CLIP_SAMPLES) % 4000 < 20).astype(float)
    beat = np.exp(-12 * (t % 0.5))
    return tones | {
        "chord": 0.1 * chord,
        "voice": 0.1 * voice,
        "sweep up": 0.3 * sweep,
        "sweep down": 0.3 * sweep[::-1],
        "white noise": white,
        "dark noise": np.convolve(white, np.ones(16) / 16, "same"),
        "bright noise": np.diff(white, append=0.0),
        "noise that swells": white * t / 2,
        "gusts": white * (1 + np.sin(2 * np.pi * 3 * t)),
        "clicks": click,
        "drum": beat * (np.sin(2 * np.pi * 60 * t) + white),
        "pulse": (np.arange(fbank.CLIP_SAMPLES) == fbank.CLIP_SAMPLES // 2).astype(float),
        "near silence": 1e-4 * white,
    }


def read_tower(path: Path) -> AudioTower:
    """Read the published tower."""
    with open_tensors(path) as weights:
        return build_tower({name: weights[name] for name in weights if is_audio_entry(name)})


def with_outliers(made: AudioTower, times: float, *, made_up_for: bool) -> AudioTower:
    """Make some channels behind the norms larger, and perhaps the weights that meet them smaller."""
    for block in made.blocks:
        for norm, layer in ((block.norm_1, block.attention.query_key_value), (block.norm_2, block.widen)):
            norm.weight[::EVERY] *= times
            norm.bias[::EVERY] *= times
            if made_up_for:
                layer.weight[:, ::EVERY] /= times
    return made


def told(exact: torch.Tensor, rough: torch.Tensor) -> str:
    """Say how far unit vectors moved."""
    moved = (exact - rough).norm(dim=1).max().item()
    apart = torch.cdist(exact, exact).fill_diagonal_(torch.inf)
    least, median = apart.min().item(), apart[apart.isfinite()].median().item()
    same = (torch.cdist(rough, rough).fill_diagonal_(torch.inf).argmin(dim=1) == apart.argmin(dim=1)).sum().item()
    cosine = (exact * rough).sum(dim=1).min().item()
    return f"{cosine:8.5f} {moved:7.4f} {moved / least:10.2f} {moved / median:11.2f} {same:5} of {len(exact)}"


@torch.inference_mode()
def main() -> None:
    """Run the trial and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--outliers", type=float, default=1.0, metavar="X")
    parser.add_argument("--made-up-for", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    heard = sounds()
    clips = torch.from_numpy(np.stack([fbank.window_clip(sound.astype(np.float32)) for sound in heard.values()]))
    vectors = {}
    for name in DTYPES:
        made = read_tower(args.weights) if args.weights else random_tower(args.seed)
        run = prepare_tower(with_outliers(made, args.outliers, made_up_for=args.made_up_for), getattr(torch, name))
        vectors[name] = torch.nn.functional.normalize(run(clips).float(), dim=1)
    apart = torch.pdist(vectors["float32"])
    print(f"{len(heard)} sounds, {apart.min():.3f} to {apart.max():.3f} apart, median {apart.median():.3f}")
    print(f"{'dtype':9} {'cosine':>8} {'moved':>7} {'of the least':>10} {'of the median':>11} {'nearest kept':>12}")
    for name in DTYPES[1:]:
        print(f"{name:9} {told(vectors['float32'], vectors[name])}")


if __name__ == "__main__":
    main()
