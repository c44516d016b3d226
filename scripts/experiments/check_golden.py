"""Compare our ImageBind audio path with golden files that the original code made on random inputs and weights.

    python scripts/experiments/check_golden.py --tower imagebind_audio_tiny.npz --fbank imagebind_fbank.npz

Ends with status 0 only if everything holds. Dimensions, cases and clips are read from the files.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bindsearch.encoders.imagebind import fbank as fbank
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

TOWER = {"out_head": 2e-5, "out_scaled": 5e-5, "out_mean": 5e-5, "mid_tokens": 1e-6, "mid_trunk": 1e-6}
"""Largest difference allowed, by array."""
LARGEST, MEAN = 1e-3, 1e-5
"""Of a log-mel value, and of all on average."""
LARGEST_RESAMPLED = 2e-3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing compared."""

    what: str
    found: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether it is near enough; a value that is no number is not."""
        return self.found <= self.allowed

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'}  {self.found:9.2e}  {self.allowed:9.2e}  {self.what}"


def read(path: Path) -> Arrays:
    """Read a golden file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# The tower --------------------------------------------------------------------------------------------------------


def tower_checks(golden: Arrays) -> Iterator[Check]:
    """Compare every array that the file has."""
    import torch

    clips = torch.from_numpy(golden["input_clips"])
    tower = _tower(golden)
    with torch.inference_mode():
        places = tower(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        tokens = tower.tokens(clips[0, :1])
        ours = {
            "out_head": places,
            "out_scaled": tower.normalise_and_scale(places),
            "out_mean": tower.embed_recordings(clips),
            "mid_tokens": tokens[0],
            "mid_trunk": tower.blocks(tokens)[0],
        }
    for name, allowed in TOWER.items():
        if name in golden or name.startswith("out_"):
            yield Check(
                f"tower {name} {list(golden[name].shape)}", difference(ours[name].numpy(), golden[name]), allowed
            )


def _tower(golden: Arrays) -> Any:
    import torch
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    told = json.loads(str(golden["config_json"]))
    state = {name: torch.from_numpy(array) for name, array in golden.items() if name.startswith("modality_")}
    shape = AudioTowerConfig(
        width=told["embed_dim"],
        blocks=told["num_blocks"],
        heads=told["num_heads"],
        dim=told["out_dim"],
        bands=told["mel_bins"],
        frames=told["target_len"],
        kernel=told["kernel"],
        stride=told["stride"],
        ratio=told["mlp_ratio"],
        stem_eps=told["stem_norm_eps"],
        eps=told["block_norm_eps"],
    )
    if told["head_norm_eps"] != shape.eps:
        raise SystemExit("the file's head has another LayerNorm epsilon than its blocks")
    return build_tower(state, shape)


# Sound to log-mel clips -------------------------------------------------------------------------------------------


def fbank_checks(golden: Arrays) -> Iterator[Check]:
    """Compare clips, times and samples of every case, and the table of lengths."""
    told = json.loads(str(golden["config_json"]))
    seconds = told.get("clip_duration_s", fbank.CLIP_SECONDS)
    for case in told["cases"]:
        mine = {name.removeprefix(f"{case}."): golden[name] for name in golden if name.startswith(f"{case}.")}
        yield from _case_checks(case, mine, seconds=seconds)
    if "index_table.num_samples_16k" in golden:
        lengths, slices = golden["index_table.num_samples_16k"], golden["index_table.clip_samples_16k"]
        ours = [fbank.clip_samples(int(length), clips=slices.shape[1], seconds=seconds) for length in lengths]
        yield Check(f"clip samples of {len(lengths)} lengths", difference(np.array(ours), slices), 0)


def _case_checks(case: str, golden: Arrays, *, seconds: int) -> Iterator[Check]:
    rate, samples, slices = int(golden["sample_rate"]), int(golden["num_samples_16k"]), golden["clip_samples_16k"]
    sound = fbank.resample(golden["waveform"], rate)
    yield Check(f"{case}: samples at 16 kHz", abs(sound.shape[1] - samples), 0)
    if "resampled_16k_ch0" in golden:
        yield Check(f"{case}: resampled channel 0", difference(sound[0], golden["resampled_16k_ch0"]), 1e-5)
    times = np.array(fbank.clip_times(samples, clips=len(slices), seconds=seconds), np.float64)
    yield Check(f"{case}: clip times", difference(times, golden["clip_times_s"]), 1e-12)
    yield Check(
        f"{case}: clip samples",
        difference(np.array(fbank.clip_samples(samples, clips=len(slices), seconds=seconds)), slices),
        0,
    )
    clips, _, bands, frames = golden["fbank"].shape
    ours = fbank.reference_clips(golden["waveform"], rate, clips=clips, seconds=seconds, bands=bands, frames=frames)
    allowed = LARGEST if rate == fbank.RATE else LARGEST_RESAMPLED
    yield Check(f"{case}: log-mel, largest", difference(ours, golden["fbank"]), allowed)
    yield Check(f"{case}: log-mel, mean", difference(ours, golden["fbank"], mean=True), MEAN)


def difference(ours: NDArray[Any], theirs: NDArray[Any], *, mean: bool = False) -> float:
    """Return the largest difference, or the mean one; infinite where the shapes differ or something is no number."""
    if ours.shape != theirs.shape:
        return float("inf")
    apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    told = float(apart.mean() if mean else apart.max(initial=0))
    return told if np.isfinite(told) else float("inf")


def main() -> int:
    """Check what is given, print a table, and give 0 only if all of it holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tower", type=Path, metavar="FILE", help="golden outputs of the tower, .npz")
    parser.add_argument("--fbank", type=Path, metavar="FILE", help="golden log-mel clips, .npz")
    args = parser.parse_args()
    if not (args.tower or args.fbank):
        parser.error("give --tower FILE, --fbank FILE or both")
    checks = [
        *(tower_checks(read(args.tower)) if args.tower else ()),
        *(fbank_checks(read(args.fbank)) if args.fbank else ()),
    ]
    print("      found      allowed    what")
    for check in checks:
        print(check)
    failed = sum(not check.holds for check in checks)
    print(f"{len(checks) - failed} of {len(checks)} hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
