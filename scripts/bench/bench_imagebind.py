"""Measure the audio path of ImageBind: ours against the original, in one run, on random weights.

Ours encodes all of a file in adjacent windows of two seconds, prepared by several threads as indexing does, and
batched over files. The original encodes three clips of two seconds of every file, one file at a time, in float32, with
the fbank of torchaudio if it is installed. The files are noise. Five seconds, the length of ESC-50's clips, make three
windows for ours and three clips for the original, so that is the default. Of two seconds ours makes one window, of ten
seconds five.

`--original FOLDER`, a clone of github.com/facebookresearch/ImageBind, runs its own model (einops, iopath, timm, ftfy
and regex must be installed). Without it our tower in float32 takes its place, which computes the same and is a little
faster. The variants take turns, so that a busy moment of the machine affects all of them; a ratio is the median of the
ratios of the rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from bindsearch.encoders.imagebind import fbank as fbank
from bindsearch.encoders.imagebind.audio_tower import PUBLISHED_CONFIG, AudioTower, build_tower, is_audio_entry
from bindsearch.encoders.imagebind.fast_audio_tower import prepare_tower
from numpy.typing import NDArray

Sounds = list[NDArray[np.float32]]
Rows = NDArray[np.float32]
Tower = Callable[[torch.Tensor], torch.Tensor]
BATCH = 32
"""Clips that go through the tower together, in our variants."""
ORIGINAL, OURS = "the original, float32, one by one", "ours, {}"
DTYPES = ("float32", "bfloat16", "int8")


class Variant:
    """One way to encode all files, and how long its rounds took."""

    def __init__(self, run: Callable[[], Rows], *, files: int, clips: int) -> None:
        self._run, self._files = run, files
        self.clips = clips
        """Clips of a file."""
        self.walls: list[float] = []
        """Seconds a file, by round."""
        self.cpus: list[float] = []
        """CPU seconds a file, by round."""
        self.vectors = run()

    def round(self) -> None:
        """Encode all files once more, and record the time."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._run()
        self.walls.append((time.perf_counter() - wall) / self._files)
        self.cpus.append((time.process_time() - cpu) / self._files)

    def times(self, other: Variant, *, cpu: bool = False) -> float:
        """Return how many times as fast this variant is as another."""
        pairs = zip(other.cpus, self.cpus, strict=True) if cpu else zip(other.walls, self.walls, strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    def cosine(self, other: Variant) -> float:
        """Return the smallest cosine between the vectors of the same file."""
        return float((self.vectors * other.vectors).sum(axis=1).min())


def random_tower(seed: int = 0) -> AudioTower:
    """Return a full-size tower with random weights of about the spread of the published ones."""
    tower = AudioTower(PUBLISHED_CONFIG)
    randomise(dict(tower.named_parameters()), seed)
    return tower.eval().requires_grad_(False)


def randomise(parameters: dict[str, torch.Tensor], seed: int = 0) -> None:
    """Fill parameters with random numbers. Weights of LayerNorms, which are those that are vectors, lie around 1."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, each in parameters.items():
            of_a_norm = name.endswith("weight") and each.ndim == 1
            each.normal_(1.0, 0.1) if of_a_norm else each.normal_(0.0, 0.02)


def original_model(folder: Path) -> Any:
    """Return the original model: the audio tower in full size, everything else as small as possible."""
    package = ModuleType("imagebind")  # its __init__ would load video readers, which are not needed here
    package.__path__ = [str(folder / "imagebind")]
    sys.modules["imagebind"] = package
    from imagebind.models.imagebind_model import ImageBindModel

    small = {"embed_dim": 32, "num_blocks": 1, "num_heads": 2}
    others = {
        f"{kind}_{word}": value
        for kind in ("vision", "text", "depth", "thermal", "imu")
        for word, value in small.items()
    }
    model = ImageBindModel(**others, out_embed_dim=PUBLISHED_CONFIG.dim)
    randomise({name: each for name, each in model.named_parameters() if is_audio_entry(name)})
    return model.eval().requires_grad_(False)


def noises(files: int, seconds: float) -> Sounds:
    """Return recordings that differ: noise of several colours."""
    rng = np.random.default_rng(0)
    length = round(seconds * fbank.RATE)
    white = [rng.normal(0, 0.1, length) for _ in range(files)]
    widths = [1 + at % 8 for at in range(files)]
    smooth = [np.convolve(each, np.ones(width) / width, "same") for each, width in zip(white, widths, strict=True)]
    return [each.astype(np.float32) for each in smooth]


def our_clips(sound: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the clips of a recording, cut as the windowing of the space does."""
    starts = [*range(0, len(sound) - fbank.CLIP_SAMPLES, fbank.CLIP_SAMPLES), max(0, len(sound) - fbank.CLIP_SAMPLES)]
    return [fbank.window_clip(sound[start : start + fbank.CLIP_SAMPLES]) for start in starts]


def encode_ours(tower: Tower, sounds: Sounds, device: torch.device) -> Rows:
    """Encode all files, windows of several files together. *Shape:* (files, dim), unit length"""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        parts = list(pool.map(our_clips, sounds))
    clips = torch.from_numpy(np.stack([clip for part in parts for clip in part]))
    with torch.inference_mode():
        blocks = [tower(block.to(device)).float().cpu() for block in clips.split(BATCH)]
    rows = torch.nn.functional.normalize(torch.cat(blocks), dim=-1).split([len(part) for part in parts])
    return np.stack([_unit(part.mean(dim=0)) for part in rows])


def encode_as_original(encode: Tower, sounds: Sounds, device: torch.device) -> Rows:
    """Encode one file after the other, as the original does. *Shape:* (files, dim), unit length"""
    found = []
    for sound in sounds:
        clips = torch.stack([_kaldi(sound[start:end]) for start, end in fbank.clip_samples(len(sound))])
        with torch.inference_mode():
            found.append(_unit(encode(clips[None].to(device))[0].cpu()))
    return np.stack(found)


def _kaldi(samples: NDArray[np.float32]) -> torch.Tensor:
    """Return a clip by torchaudio, which the original uses, else by our own features. *Shape:* (1, 128, 204)"""
    centred = samples - samples.mean()
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError):
        return torch.from_numpy(fbank.log_mel(centred))
    options: dict[str, Any] = {"htk_compat": True, "use_energy": False, "window_type": "hanning", "dither": 0.0}
    mel = kaldi.fbank(torch.from_numpy(centred)[None], sample_frequency=fbank.RATE, num_mel_bins=fbank.BANDS, **options)
    filled = torch.nn.functional.pad(mel, (0, 0, 0, fbank.FRAMES - len(mel)))
    return ((filled - fbank.MEAN) / fbank.SCALE).T[None]


def _unit(vector: torch.Tensor) -> Rows:
    row: Rows = torch.nn.functional.normalize(vector, dim=-1).numpy()
    return row


def main() -> None:
    """Measure all variants, and print a table and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0, help="length of a file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--original", type=Path, metavar="FOLDER", help="a clone of ImageBind's repository")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device, sounds = torch.device(args.device), noises(args.files, args.seconds)
    variants = _variants(args, sounds, device)
    for _ in range(args.rounds):
        for variant in variants.values():
            variant.round()
    source = "its own code" if args.original else "our tower in its place"
    print(f"{args.files} files of {args.seconds:g} s, {args.device}, {args.threads} threads, torch {torch.__version__}")
    print(f"the original: {source}; medians of {args.rounds} rounds")
    _print(variants)


def _variants(args: argparse.Namespace, sounds: Sounds, device: torch.device) -> dict[str, Variant]:
    """Return every variant, each with its own copy of the same weights."""
    if args.original:
        model = original_model(args.original).to(device)
        weights = {name: each.cpu() for name, each in model.state_dict().items() if is_audio_entry(name)}

        def encode(clips: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = model({"audio": clips})["audio"]
            return found

        def tower() -> AudioTower:
            return build_tower({name: each.clone() for name, each in weights.items()})
    else:
        tower, encode = random_tower, random_tower().to(device).embed_recordings
    clips = len(our_clips(sounds[0]))
    variants = {
        ORIGINAL: Variant(lambda: encode_as_original(encode, sounds, device), files=args.files, clips=fbank.CLIPS)
    }
    for name in DTYPES:
        run = prepare_tower(tower().to(device), getattr(torch, name))
        variants[OURS.format(name)] = Variant(
            lambda run=run: encode_ours(run, sounds, device), files=args.files, clips=clips
        )
    return variants


def _print(variants: dict[str, Variant]) -> None:
    original, exact = variants[ORIGINAL], variants[OURS.format("float32")]
    print(f"{'variant':34} {'clips':>5} {'files/s':>8} {'x':>6} {'CPU s a file':>13} {'x':>6} {'cosine':>8}")
    for name, variant in variants.items():
        wall, cpu = statistics.median(variant.walls), statistics.median(variant.cpus)
        alike = "" if variant is original else f"{variant.cosine(exact):.5f}"
        faster = f"{1 / wall:8.2f} {variant.times(original):6.2f} {cpu:13.3f} {variant.times(original, cpu=True):6.2f}"
        print(f"{name:34} {variant.clips:5} {faster} {alike:>8}")
    ratios = {
        name: {"x": [round(a / b, 2) for a, b in zip(original.walls, variant.walls, strict=True)]}
        for name, variant in variants.items()
    }
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
