"""Measure exported pocket weights on what was held out: whole files in, through `prepare` and `encode`, figures out.

python scripts/pocket_eval.py DATA WEIGHTS
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from bindsearch.encoders.pocket import PocketEncoder
from PIL import Image
from pocket_anchor import held_out, read_split
from pocket_sounds import decoded, esc50
from pocket_texts import caltech_name
from train_pocket_sound import measured_by

from bindsearch.records import unit
from bindsearch.spaces import Space
from bindsearch.templates import TEMPLATES
from bindsearch.types import Modality, Piece, Vectors

RATE = 16_000


def photos(tar: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, Piece]]:
    """The wanted members of a tar file."""
    with tarfile.open(tar) as file:
        for member in file:
            opened = file.extractfile(member) if wanted(member.name) else None
            if opened:
                yield member.name, Piece(Modality.IMAGE, Image.open(io.BytesIO(opened.read())).convert("RGB"))


def labels(space: Space, names: list[str], modality: Modality) -> Vectors:
    """Vectors of names, as the product makes them. *Shape:* (len(names), dim)"""
    templates = TEMPLATES[modality]
    prompts = [template.replace("{}", name) for name in names for template in templates]
    rows = space.embed(prompts, modality="text")
    return unit(rows.reshape(len(names), len(templates), -1).mean(axis=1))


def flickr(space: Space, data: Path) -> str:
    """Text to image over the development photos."""
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "dev"]
    dev = {row["image"] for row in rows}
    names, pieces = zip(*photos(data / "flickr8k" / "images.tar", dev.__contains__), strict=True)
    images = space.embed_pieces(pieces)
    texts = space.embed([row["caption"] for row in rows], modality="text")
    truth = np.array([names.index(row["image"]) for row in rows])
    scores = texts @ images.T
    rank = (scores > scores[np.arange(len(rows)), truth][:, None]).sum(axis=1)
    return (
        f"Flickr8k dev, text to image, {len(names)} photos: R@1 {(rank < 1).mean():.3f} R@10 {(rank < 10).mean():.3f}"
    )


def caltech(space: Space, data: Path) -> str:
    """Zero-shot over Caltech101's names, held-out photos."""

    def wanted(name: str) -> bool:
        return held_out("caltech101", name) and not name.startswith("BACKGROUND")

    names, pieces = zip(*photos(data / "caltech101" / "images.tar", wanted), strict=True)
    truth = [caltech_name(name.split("/")[0]) for name in names]
    things = sorted(set(truth))
    guess = (space.embed_pieces(pieces) @ labels(space, things, Modality.IMAGE).T).argmax(axis=1)
    right = np.mean([things[i] == name for i, name in zip(guess, truth, strict=True)])
    return f"Caltech101, {len(names)} held-out photos, {len(things)} names: {right:.3f}"


def esc(space: Space, data: Path) -> str:
    """Zero-shot and retrieval over ESC-50's held-out recordings."""
    clips = list(esc50(data))
    things = sorted({clip.concept for clip in clips})
    held = [clip for clip in clips if measured_by(clip.name, clip.recording)]
    heard = unit(np.stack([_clip(space, clip.content) for clip in held]))
    scores = heard @ labels(space, things, Modality.AUDIO).T
    truth = np.array([things.index(clip.concept) for clip in held])
    right = (scores.argmax(axis=1) == truth).mean()
    precise, found = [], []
    for thing in set(truth.tolist()):
        order = np.argsort(-scores[:, thing], kind="stable")
        own = truth[order] == thing
        precise.append((own.cumsum() / np.arange(1, len(own) + 1))[own].mean())
        found.append(own[:10].sum() / min(10, own.sum()))
    return (
        f"ESC-50, {len(held)} held-out clips, {len(things)} names: zero-shot {right:.3f}; "
        f"text to sound R@10 {np.mean(found):.3f} mAP {np.mean(precise):.3f}"
    )


def _clip(space: Space, content: bytes) -> Vectors:
    samples = decoded(content)
    starts = range(0, max(1, len(samples) - RATE), 2 * RATE)
    pieces = [Piece(Modality.AUDIO, samples[start : start + 2 * RATE]) for start in starts]
    mean: Vectors = space.embed_pieces(pieces).mean(axis=0)
    return mean


def speed(space: Space) -> str:
    """Pieces a second through `prepare` and `encode`."""
    chance = np.random.default_rng(0)
    picture = Image.fromarray(chance.integers(0, 255, (320, 400, 3), dtype=np.uint8))
    trials = {
        "photos/s": (Piece(Modality.IMAGE, picture), 1.0),
        "texts/s": (Piece(Modality.TEXT, "a dog runs along the beach with a ball"), 1.0),
        "x real time of sound": (Piece(Modality.AUDIO, chance.normal(size=2 * RATE).astype(np.float32)), 2.0),
    }
    told = []
    for name, (piece, worth) in trials.items():
        space.embed_pieces([piece] * 32)
        began = time.perf_counter()
        space.embed_pieces([piece] * 128)
        told.append(f"{128 * worth / (time.perf_counter() - began):.0f} {name}")
    return ", ".join(told)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="measure exported pocket weights")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    given = parser.parse_args()
    read_split(given.data)
    space = Space(PocketEncoder(given.weights))
    for measure in (flickr, caltech, esc):
        print(measure(space, given.data), flush=True)
    print(speed(space))


if __name__ == "__main__":
    main()
