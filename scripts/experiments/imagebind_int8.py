"""Measure how far bfloat16 and int8 move sounds in ImageBind's audio tower, relative to the distances between sounds.

    python scripts/experiments/imagebind_int8.py [--weights FILE] [--outliers X [--compensate]] [--seed N]

Embeds sixteen synthesised sounds of two seconds (tones, chords, sweeps, noises, clicks, beats, a pulse, near silence).
For each dtype, it prints the smallest cosine to float32, the largest move, that move relative to the smallest and to
the median distance between two sounds, and how many sounds keep their nearest neighbour. A cosine alone says little,
because sounds of one kind may lie close together.

`--weights FILE` takes the published checkpoint or the audio tower extracted from it; without it, weights are random.
`--outliers X` multiplies some input channels of the matrix products by X, as found in trained transformers; with
`--compensate`, the weights of these channels are divided by X, so that the function in float32 stays the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.imagebind import fbank as fbank
from bindsearch.encoders.imagebind.audio_tower import AudioTower, build_tower, is_audio_entry
from bindsearch.encoders.imagebind.fast_audio_tower import prepare_tower
from bindsearch.encoders.shared.weight_files import open_tensors
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))

from bench_imagebind import random_tower

DTYPES = ("float32", "bfloat16", "int8")
OUTLIER_INTERVAL = 250
"""With `--outliers`, every channel whose index is a multiple of this is an outlier."""
Sound = NDArray[np.floating]


def synthesise_sounds() -> dict[str, Sound]:
    """Return the sounds by name."""
    t = np.arange(fbank.CLIP_SAMPLES) / fbank.RATE
    rng = np.random.default_rng(0)
    white = rng.normal(0, 0.1, fbank.CLIP_SAMPLES)
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
        "rising noise": white * t / 2,
        "gusts": white * (1 + np.sin(2 * np.pi * 3 * t)),
        "clicks": click,
        "drum": beat * (np.sin(2 * np.pi * 60 * t) + white),
        "pulse": (np.arange(fbank.CLIP_SAMPLES) == fbank.CLIP_SAMPLES // 2).astype(float),
        "near silence": 1e-4 * white,
    }


def read_tower(path: Path) -> AudioTower:
    """Load the published tower."""
    with open_tensors(path) as weights:
        return build_tower({name: weights[name] for name in weights if is_audio_entry(name)})


def with_outliers(tower: AudioTower, factor: float, *, compensate: bool) -> AudioTower:
    """Multiply some output channels of the norms; to compensate, divide the weights of these channels."""
    for block in tower.blocks:
        for norm, layer in ((block.norm_1, block.attention.query_key_value), (block.norm_2, block.widen)):
            norm.weight[::OUTLIER_INTERVAL] *= factor
            norm.bias[::OUTLIER_INTERVAL] *= factor
            if compensate:
                layer.weight[:, ::OUTLIER_INTERVAL] /= factor
    return tower


def table_row(exact: torch.Tensor, rough: torch.Tensor) -> str:
    """Return the figures of unit vectors in a shorter dtype beside those in float32."""
    move = (exact - rough).norm(dim=1).max().item()
    distances = torch.cdist(exact, exact).fill_diagonal_(torch.inf)
    smallest, median = distances.min().item(), distances[distances.isfinite()].median().item()
    rough_distances = torch.cdist(rough, rough).fill_diagonal_(torch.inf)
    unchanged = (rough_distances.argmin(dim=1) == distances.argmin(dim=1)).sum().item()
    cosine = (exact * rough).sum(dim=1).min().item()
    return f"{cosine:8.5f} {move:7.4f} {move / smallest:13.2f} {move / median:11.2f} {unchanged:7} of {len(exact)}"


@torch.inference_mode()
def main() -> None:
    """Embed the sounds in each dtype and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--outliers", type=float, default=1.0, metavar="X")
    parser.add_argument("--compensate", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sounds = synthesise_sounds()
    clips = torch.from_numpy(np.stack([fbank.window_clip(sound.astype(np.float32)) for sound in sounds.values()]))
    vectors = {}
    for name in DTYPES:
        tower = read_tower(args.weights) if args.weights else random_tower(args.seed)
        run = prepare_tower(with_outliers(tower, args.outliers, compensate=args.compensate), getattr(torch, name))
        vectors[name] = torch.nn.functional.normalize(run(clips).float(), dim=1)
    distances = torch.pdist(vectors["float32"])
    print(f"{len(sounds)} sounds; distances between them:")
    print(f"smallest {distances.min():.3f}, median {distances.median():.3f}, largest {distances.max():.3f}")
    print(f"{'dtype':9} {'cosine':>8} {'move':>7} {'/ smallest':>13} {'/ median':>11} {'same nearest':>13}")
    for name in DTYPES[1:]:
        print(f"{name:9} {table_row(vectors['float32'], vectors[name])}")


if __name__ == "__main__":
    main()
