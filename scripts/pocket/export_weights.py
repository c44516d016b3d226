"""Export the pocket model for shipping: one safetensors file in float16, vocabulary, model card, and ONNX graphs.

python scripts/pocket/export_weights.py HOME OUT
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import export_onnx
import torch
from bindsearch.encoders.pocket.towers import DIM
from safetensors.torch import save_file

MAX_BYTES = 32 * 2**20
CHECKPOINT_WITH_VIEWS = {"photos": "photo", "texts": "text", "sounds": "hearing"}
"""The checkpoint that counts the views of each tower's training."""
TEACHERS = {
    "photos": "MobileNetV2, trained on ImageNet's photos and labels",
    "texts": "all-MiniLM-L6-v2, trained on a billion pairs of sentences",
    "sounds": "YAMNet, trained on AudioSet's sounds and labels",
    "names": "CLIP ViT-B/32's vectors of 2,068 names and of photos of Caltech101",
}

Checkpoints = dict[str, dict[str, Any]]


def read_checkpoints(home: Path) -> Checkpoints:
    """Read the checkpoints of all towers."""
    names = ("photo", "text", "hearing", "sound")
    return {name: torch.load(home / "ckpt" / f"{name}.pt", weights_only=True) for name in names}


def collect_weights(home: Path, checkpoints: Checkpoints) -> dict[str, torch.Tensor]:
    """Return the averaged weights of all three towers, with the heads for images and sounds that were trained last."""
    image_head = torch.load(home / "tower" / "anchor.pt", weights_only=True)["image"]
    weights = {}
    for modality, name in (("image", "photo"), ("audio", "hearing")):
        average = checkpoints[name]["average"].items()
        weights |= {key.replace("tower.", f"{modality}.", 1): value for key, value in average if key[:6] == "tower."}
    weights |= {f"image.head.{key}": value for key, value in image_head.items()}
    weights |= {f"text.{key}": value for key, value in checkpoints["text"]["average"].items()}
    return weights | {f"audio.listening.{key}": value for key, value in checkpoints["sound"]["kept"].items()}


def model_card(home: Path, checkpoints: Checkpoints, weights: dict[str, torch.Tensor], digest: str) -> dict[str, Any]:
    """Describe the weights and the data that they were trained on."""
    sizes: Counter[str] = Counter()
    for name, value in weights.items():
        sizes[name.split(".")[0]] += value.numel()
    photos = _line_counts(home, "cache/photos/*/names.txt")
    return {
        "dim": DIM,
        "weights": digest,
        "numbers": dict(sizes),  # parameters and batch norm statistics
        "photos": {name: count for name, count in photos.items() if "." not in name},
        "views": sum(photos.values()),
        "texts": len((home / "cache/texts/texts.txt").read_text().splitlines()),
        "sounds": _line_counts(home, "cache/sounds/*/clips.txt"),
        "training views": {name: checkpoints[part]["views"] for name, part in CHECKPOINT_WITH_VIEWS.items()},
        "sound recipe": checkpoints["sound"]["recipe"],
        "teachers": TEACHERS,
    }


def _line_counts(home: Path, pattern: str) -> dict[str, int]:
    return {path.parent.name: len(path.read_text().splitlines()) for path in sorted(home.glob(pattern))}


def main() -> None:
    """Export the weights; fail if they are too large to ship."""
    parser = argparse.ArgumentParser(description="Export the pocket model's weights.")
    parser.add_argument("home", type=Path, help="folder with the checkpoints")
    parser.add_argument("out", type=Path, help="folder to write")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    checkpoints = read_checkpoints(args.home)
    collected = collect_weights(args.home, checkpoints)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in collected.items()}
    path = args.out / "pocket.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    if path.stat().st_size > MAX_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; at most {MAX_BYTES} may be shipped")
    shutil.copyfile(args.home / "cache" / "pocket_words.txt", args.out / "words.txt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    card = model_card(args.home, checkpoints, weights, digest)
    (args.out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    export_onnx.export(args.out)
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
