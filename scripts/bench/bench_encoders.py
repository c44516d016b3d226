"""Measure images a second: openclip:ViT-B-32 through bindsearch, against the loop in open_clip's README.

    .venv/bin/python scripts/bench/bench_encoders.py --images 200 --rounds 5

The model has its full size and random weights, created here without the network; so are the JPEGs, which have the size
of photos from cameras and phones. All variants run in one process, in turns, `--rounds` times each. The output is the
median speeds, their ratios, and the lowest cosine of each variant's vectors to those of the plain loop in float32.

- `open_clip, one by one`: open the file, preprocess, encode one image: the README's example for every file.
- `open_clip, batches of 32`: the same, with 32 preprocessed images encoded together.
- `bindsearch, index`: `Library.index` into a fresh library: scanning, hashing, decoding, encoding, committing.
- `bindsearch, index, float32`: the same in float32.
- `bindsearch, embed`: `Space.embed` of the list of files, without decoding threads.
- `open_clip, towers only` and `bindsearch, towers only`: images prepared beforehand, in batches of 32.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MODEL = "ViT-B-32"
BATCH = 32
PLAIN = "open_clip, one by one"

Variant = Callable[[], Any]


def make_images(folder: Path, count: int, *, size: tuple[int, int]) -> list[Path]:
    """Write JPEGs of soft shapes with some grain: they take as long to decode as photos."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        grain = rng.normal(0, 6, (size[1], size[0], 1))
        pixels = np.clip(np.asarray(coarse, np.float32) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:05}.jpg", quality=90)
    return sorted(folder.iterdir())


def make_weights(folder: Path) -> Path:
    """Write a file of full-size random weights, as the hub has them."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    file = folder / "open_clip_model.safetensors"
    save_file(open_clip.create_model(MODEL).state_dict(), file)
    return file


class PlainOpenClip:
    """open_clip as its README uses it."""

    def __init__(self, weights: Path) -> None:
        import open_clip

        self.model, _, self.preprocess = open_clip.create_model_and_transforms(MODEL, pretrained=str(weights))
        self.model.eval()
        from bindsearch.encoders.shared.device import device

        self.device = device()
        self.model.to(self.device)

    def _encode(self, batch: Any) -> Any:
        import torch

        with torch.no_grad():
            features = self.model.encode_image(batch.to(self.device))
            features /= features.norm(dim=-1, keepdim=True)
        return features.cpu().numpy()

    def one_by_one(self, paths: list[Path]) -> Any:
        return np.concatenate([self._encode(self.preprocess(Image.open(path)).unsqueeze(0)) for path in paths])

    def in_batches(self, paths: list[Path]) -> Any:
        import torch

        starts = range(0, len(paths), BATCH)
        batches = (torch.stack([self.preprocess(Image.open(path)) for path in paths[s : s + BATCH]]) for s in starts)
        return np.concatenate([self._encode(batch) for batch in batches])

    def prepared(self, paths: list[Path]) -> Any:
        return [self.preprocess(Image.open(path)) for path in paths]

    def towers_only(self, prepared: Any) -> Any:
        import torch

        starts = range(0, len(prepared), BATCH)
        return np.concatenate([self._encode(torch.stack(prepared[s : s + BATCH])) for s in starts])


@contextmanager
def dtype(name: str) -> Any:
    """Set the dtype of spaces that are loaded in this context."""
    before = os.environ.pop("BINDSEARCH_DTYPE", None)
    if name:
        os.environ["BINDSEARCH_DTYPE"] = name
    yield
    os.environ.pop("BINDSEARCH_DTYPE", None)
    if before is not None:
        os.environ["BINDSEARCH_DTYPE"] = before


def loaded_space(name: str, path: Path, *, dtype_name: str = "") -> Any:
    """Return a space whose image tower is loaded."""
    import bindsearch

    with dtype(dtype_name):
        space = bindsearch.space(name)
        space.embed([path])
    return space


def indexed(space: Any, paths: list[Path], folder: Path) -> Any:
    """Index into a new library; return the vectors in the order of the paths."""
    import bindsearch

    with tempfile.TemporaryDirectory(dir=folder) as place, bindsearch.open(Path(place) / "l", space=space) as library:
        library.index(paths[0].parent)
        rows = {item.paths[0]: vectors[0] for item, vectors in library.items_with_vectors()}
    return np.stack([rows[path] for path in paths])


def variants(paths: list[Path], weights: Path, folder: Path) -> tuple[dict[str, Variant], str]:
    """Return what is measured, by name, and the dtype that bindsearch chose."""
    from bindsearch.types import Modality

    theirs = PlainOpenClip(weights)
    name = f"openclip:{MODEL}/local:{weights}"
    ours, exact = loaded_space(name, paths[0]), loaded_space(name, paths[0], dtype_name="float32")
    chosen = str(ours.encoder._towers["visual"].dtype).removeprefix("torch.")
    their_pixels = theirs.prepared(paths)
    our_pixels = [ours.encoder.prepare(next(ours.pieces(path))) for path in paths]
    return {
        PLAIN: lambda: theirs.one_by_one(paths),
        f"open_clip, batches of {BATCH}": lambda: theirs.in_batches(paths),
        "bindsearch, index": lambda: indexed(ours, paths, folder),
        "bindsearch, index, float32": lambda: indexed(exact, paths, folder),
        "bindsearch, embed": lambda: ours.embed(paths),
        "open_clip, towers only": lambda: theirs.towers_only(their_pixels),
        "bindsearch, towers only": lambda: ours.encode(Modality.IMAGE, our_pixels),
    }, chosen


def measure(compared: dict[str, Variant], rounds: int) -> tuple[dict[str, list[float]], dict[str, Any]]:
    """Run all variants in turns, so that other load on the machine affects all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    vectors = {}
    for _ in range(rounds):
        for name, variant in compared.items():
            began = time.perf_counter()
            vectors[name] = variant()
            seconds[name].append(time.perf_counter() - began)
    return seconds, vectors


def report(seconds: dict[str, list[float]], vectors: dict[str, Any], count: int) -> None:
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    print("| variant | images/s, median | slowest to fastest | x one by one | lowest cosine to float32 |")
    print("|---|---|---|---|---|")
    for name, each in seconds.items():
        cosine = float((vectors[name] * vectors[PLAIN]).sum(axis=1).min())
        slowest, fastest = count / max(each), count / min(each)
        ratio = medians[PLAIN] / medians[name]
        print(f"| {name} | {count / medians[name]:.1f} | {slowest:.1f} to {fastest:.1f} | {ratio:.2f} | {cosine:.5f} |")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--height", type=int, default=1200)
    args = parser.parse_args()
    import torch

    folder = Path(tempfile.mkdtemp(prefix="bench-encoders-"))
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")  # nothing of this should be kept
    try:
        paths = make_images(folder / "images", args.images, size=(args.width, args.height))
        compared, chosen = variants(paths, make_weights(folder), folder)
        seconds, vectors = measure(compared, args.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    place = "a GPU" if torch.cuda.is_available() else f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    print(f"{MODEL}, random weights, {args.images} JPEGs of {args.width} x {args.height}, {args.rounds} rounds;")
    print(f"{place}, torch {torch.__version__}; bindsearch chose {chosen}\n")
    report(seconds, vectors, args.images)
    return 0


if __name__ == "__main__":
    sys.exit(main())
