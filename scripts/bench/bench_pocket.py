"""Measure the pocket space: its size, how fast it indexes photos and sounds, and how long a query takes.

Photos, 640 x 480 JPEGs with detail at all scales, and the sound are synthetic. Every figure is the median of five
turns. Photos and sounds are measured from files to library, with the towers in memory.

With `--torch`, compares the towers in ONNX Runtime with those in torch instead, on prepared batches: first as the
machine is, then with a loop on every core. Both take turns, so that other work hits both. Needs torch.

    python scripts/bench/bench_pocket.py [--torch]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import product
from pathlib import Path

import numpy as np
from bindsearch.encoders.pocket.encoder import IMAGE_SIDE, MAX_TOKENS, WEIGHTS, PocketEncoder
from bindsearch.encoders.pocket.spectrogram import BANDS, FRAMES, RATE, WINDOW_SAMPLES
from bindsearch.encoders.shared.cores import usable_cores
from PIL import Image

import bindsearch
from bindsearch.types import Modality

TURNS = 5
MIN_TURN_SECONDS = 0.25
BATCH_SIZES = (1, 32)
PHOTOS, TEXTS, SECONDS = 128, 512, 300
QUERY_CODE = "import bindsearch; bindsearch.space('pocket').embed(['rain'], modality='text')"
IMAGE_CODE = "import bindsearch; bindsearch.space('pocket').embed(['{}'])"


def photo(path: Path, rng: np.random.Generator) -> None:
    """Write an image of coloured noise at all scales."""
    picture = np.zeros((480, 640, 3))
    for side in (4, 16, 64, 160):
        rough = Image.fromarray(rng.integers(0, 255, (side, side, 3), np.uint8))
        picture += np.asarray(rough.resize((640, 480), Image.Resampling.BICUBIC), float) / 4
    Image.fromarray(picture.astype(np.uint8)).save(path, quality=88)


def sound(path: Path, rng: np.random.Generator) -> None:
    """Write noise that swells and fades."""
    swell = np.sin(np.linspace(0, 60, SECONDS * 16_000)) * 0.4
    samples = (rng.normal(size=len(swell)) * swell * 8_000).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())


def median(action: Callable[[int], object]) -> float:
    """Return the median seconds of an action, which is called with the number of the turn."""
    times = []
    for turn in range(TURNS):
        start = time.perf_counter()
        action(turn)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def indexing(folder: Path, space: bindsearch.Space) -> Callable[[int], object]:
    """Return an action that indexes a folder into a new library."""

    def index(turn: int) -> None:
        with bindsearch.open(folder.with_name(f"{folder.name}{turn}.library"), space=space) as library:
            assert library.index(folder).added

    return index


def new_process(code: str) -> Callable[[int], object]:
    """Return an action that runs a line of Python in a process of its own."""
    return lambda _: subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core busy with a loop."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(usable_cores())]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def batches(size: int) -> dict[Modality, list[np.ndarray]]:
    """Return random prepared pieces; the texts have 4 to 14 tokens, as captions do."""
    rng = np.random.default_rng(0)
    texts = np.zeros((size, MAX_TOKENS), np.int64)
    for row, length in zip(texts, rng.integers(4, 15, size), strict=True):
        row[:length] = rng.integers(1, 20_000, length)
    return {
        Modality.IMAGE: list(rng.normal(size=(size, 3, IMAGE_SIDE, IMAGE_SIDE)).astype(np.float32)),
        Modality.TEXT: list(texts),
        Modality.AUDIO: list(rng.normal(size=(size, FRAMES, BANDS)).astype(np.float32)),
    }


def torch_towers() -> Callable[[Modality, list[np.ndarray]], np.ndarray]:
    """Return what encodes a batch with the torch towers, prepared for inference."""
    import torch
    from bindsearch.encoders.pocket.torch_weights import read_tower
    from bindsearch.encoders.pocket.towers import fuse_batch_norms

    torch.set_num_threads(usable_cores())
    towers = {modality: fuse_batch_norms(read_tower(modality)) for modality in batches(1)}

    def encode(modality: Modality, batch: list[np.ndarray]) -> np.ndarray:
        rows = np.stack(batch)
        if modality == Modality.TEXT:
            rows = rows[:, : int((rows != 0).sum(axis=1).max())]
        with torch.inference_mode():
            return towers[modality](torch.from_numpy(rows)).numpy()

    return encode


def rates(encode: Callable[[Modality, list[np.ndarray]], object], modality: Modality, batch: list) -> np.ndarray:
    """Return the pieces per second and per second of CPU, over a quarter of a second or more."""
    done, start, cpu_start = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < MIN_TURN_SECONDS:
        encode(modality, batch)
        done += len(batch)
    return done / np.array([time.perf_counter() - start, time.process_time() - cpu_start])


def compare_with_torch() -> None:
    """Print medians in torch and in ONNX Runtime, and how many times as fast the second is."""
    in_torch, in_onnx = torch_towers(), PocketEncoder().encode
    units = {Modality.IMAGE: "photos", Modality.TEXT: "texts", Modality.AUDIO: "seconds of sound"}
    print("| machine | batch | per | torch | ONNX Runtime | ratio | lowest, highest |\n|---|---|---|---|---|---|---|")
    for machine in ("as it is", "loops on all cores"):
        with busy_cores() if machine != "as it is" else nullcontext():
            for size, modality in product(BATCH_SIZES, units):
                batch, scale = batches(size)[modality], WINDOW_SAMPLES / RATE if modality == Modality.AUDIO else 1
                turns = [(rates(in_torch, modality, batch), rates(in_onnx, modality, batch)) for _ in range(7)]
                for place, per in enumerate(("second", "second of CPU")):
                    before, after = (np.array([side[place] for side in sides]) for sides in zip(*turns, strict=True))
                    ratios = after / before
                    print(
                        f"| {machine} | {size} | {units[modality]} a {per} | {np.median(before) * scale:.0f} "
                        f"| {np.median(after) * scale:.0f} | {np.median(ratios):.2f} "
                        f"| {ratios.min():.2f}, {ratios.max():.2f} |",
                        flush=True,
                    )


def main() -> None:
    """Create the media, measure, and print a table."""
    parser = argparse.ArgumentParser(description="measure the pocket space")
    parser.add_argument("--torch", action="store_true", help="compare with the towers in torch instead")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch is imported
    if parser.parse_args().torch:
        compare_with_torch()
        return
    rng = np.random.default_rng(0)
    space = bindsearch.space("pocket")
    with tempfile.TemporaryDirectory() as home:
        photos, sounds = Path(home) / "photos", Path(home) / "sounds"
        photos.mkdir()
        sounds.mkdir()
        for number in range(PHOTOS):
            photo(photos / f"{number}.jpg", rng)
        sound(sounds / "long.wav", rng)
        space.embed([str(photos / "0.jpg"), str(sounds / "long.wav")])
        words = ["dog", "sea", "rain", "a man on a bicycle", "street at night", "church", "two children playing"]
        texts = [" and ".join(rng.choice(words, 2)) + f" {number}" for number in range(TURNS * TEXTS)]
        text_seconds = median(lambda turn: space.embed(texts[turn * TEXTS : (turn + 1) * TEXTS], modality="text"))
        rows = [
            ("photos a second, from files to library", PHOTOS / median(indexing(photos, space))),
            ("sound, times real time, from file to library", SECONDS / median(indexing(sounds, space))),
            ("texts a second", TEXTS / text_seconds),
            ("weights, MiB", (WEIGHTS / "pocket.safetensors").stat().st_size / 2**20),
            ("python -c pass, ms", 1000 * median(new_process("pass"))),
            ("import bindsearch, ms", 1000 * median(new_process("import bindsearch"))),
            ("a text query embedded in a new process, ms", 1000 * median(new_process(QUERY_CODE))),
            ("an image embedded in a new process, ms", 1000 * median(new_process(IMAGE_CODE.format(photos / "0.jpg")))),
        ]
    for name, figure in rows:
        print(f"{name:<46}{figure:10.1f}")


if __name__ == "__main__":
    main()
