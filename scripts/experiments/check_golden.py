"""Compare ImageBind's audio tower and log-mel clips with golden files: the original code's outputs on random inputs.

    python scripts/experiments/check_golden.py --tower imagebind_audio_tiny.npz --fbank imagebind_fbank.npz

Exits with status 0 only if every check passes. Dimensions, weights and cases are read from the files.
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

MAX_TOWER_DIFFERENCES = {"out_head": 2e-5, "out_scaled": 5e-5, "out_mean": 5e-5, "mid_tokens": 1e-6, "mid_trunk": 1e-6}
"""Array of the golden file -> largest allowed difference."""
MAX_LOG_MEL_DIFFERENCE, MAX_MEAN_LOG_MEL_DIFFERENCE = 1e-3, 1e-5
MAX_RESAMPLED_LOG_MEL_DIFFERENCE = 2e-3
"""Of a recording that is not at 16 kHz."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison: a difference and the largest that is allowed."""

    name: str
    difference: float
    allowed: float

    @property
    def passed(self) -> bool:
        """Whether the difference is allowed; NaN is not."""
        return self.difference <= self.allowed

    def __str__(self) -> str:
        return f"{'ok  ' if self.passed else 'FAIL'}  {self.difference:9.2e}  {self.allowed:9.2e}  {self.name}"


def read(path: Path) -> Arrays:
    """Read a golden file."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


# The tower --------------------------------------------------------------------------------------------------------


def tower_checks(golden: Arrays) -> Iterator[Check]:
    """Compare the outputs in a golden file with those of our tower."""
    import torch

    clips = torch.from_numpy(golden["input_clips"])
    tower = _tower(golden)
    with torch.inference_mode():
        vectors = tower(clips.flatten(0, 1)).unflatten(0, clips.shape[:2])
        tokens = tower.tokens(clips[0, :1])
        ours = {
            "out_head": vectors,
            "out_scaled": tower.normalise_and_scale(vectors),
            "out_mean": tower.embed_recordings(clips),
            "mid_tokens": tokens[0],
            "mid_trunk": tower.blocks(tokens)[0],
        }
    for name, allowed in MAX_TOWER_DIFFERENCES.items():
        if name in golden or name.startswith("out_"):
            yield Check(
                f"tower {name} {list(golden[name].shape)}", difference(ours[name].numpy(), golden[name]), allowed
            )


def _tower(golden: Arrays) -> Any:
    import torch
    from bindsearch.encoders.imagebind.audio_tower import AudioTowerConfig, build_tower

    config = json.loads(str(golden["config_json"]))
    state = {name: torch.from_numpy(array) for name, array in golden.items() if name.startswith("modality_")}
    tower_config = AudioTowerConfig(
        width=config["embed_dim"],
        blocks=config["num_blocks"],
        heads=config["num_heads"],
        dim=config["out_dim"],
        bands=config["mel_bins"],
        frames=config["target_len"],
        kernel=config["kernel"],
        stride=config["stride"],
        ratio=config["mlp_ratio"],
        stem_eps=config["stem_norm_eps"],
        eps=config["block_norm_eps"],
    )
    if config["head_norm_eps"] != tower_config.eps:
        raise SystemExit("the golden file's head has another LayerNorm epsilon than its blocks, which is unsupported")
    return build_tower(state, tower_config)


# Sound to log-mel clips -------------------------------------------------------------------------------------------


def fbank_checks(golden: Arrays) -> Iterator[Check]:
    """Compare the clips of every case, with their times and samples, and the table of clip positions by length."""
    config = json.loads(str(golden["config_json"]))
    seconds = config.get("clip_duration_s", fbank.CLIP_SECONDS)
    for case in config["cases"]:
        arrays = {name.removeprefix(f"{case}."): golden[name] for name in golden if name.startswith(f"{case}.")}
        yield from _case_checks(case, arrays, seconds=seconds)
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
    allowed = MAX_LOG_MEL_DIFFERENCE if rate == fbank.RATE else MAX_RESAMPLED_LOG_MEL_DIFFERENCE
    yield Check(f"{case}: log-mel, largest", difference(ours, golden["fbank"]), allowed)
    yield Check(f"{case}: log-mel, mean", difference(ours, golden["fbank"], mean=True), MAX_MEAN_LOG_MEL_DIFFERENCE)


def difference(ours: NDArray[Any], theirs: NDArray[Any], *, mean: bool = False) -> float:
    """Return the largest or the mean absolute difference; infinity if the shapes differ or a value is not finite."""
    if ours.shape != theirs.shape:
        return float("inf")
    differences = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    result = float(differences.mean() if mean else differences.max(initial=0))
    return result if np.isfinite(result) else float("inf")


def main() -> int:
    """Run the checks, print a table, and return 0 if all pass, else 1."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tower", type=Path, metavar="FILE", help="golden outputs of the tower, .npz")
    parser.add_argument("--fbank", type=Path, metavar="FILE", help="golden log-mel clips, .npz")
    args = parser.parse_args()
    if not (args.tower or args.fbank):
        parser.error("--tower FILE, --fbank FILE or both are required")
    checks = [
        *(tower_checks(read(args.tower)) if args.tower else ()),
        *(fbank_checks(read(args.fbank)) if args.fbank else ()),
    ]
    print("      differs    allowed    check")
    for check in checks:
        print(check)
    failed = sum(not check.passed for check in checks)
    print(f"{len(checks) - failed} of {len(checks)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
