"""Write the pocket model's weights as they are shipped: one safetensors file in float16, the words, and a card.

python scripts/pocket/pocket_export.py HOME OUT
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from bindsearch.encoders.pocket.towers import DIM
from safetensors.torch import save_file

LARGEST = 32 * 2**20
SEEN = {"photos": "photo", "texts": "text", "sounds": "hearing"}
"""Which checkpoint says how often a tower has looked, read or listened."""
TEACHERS = {
    "photos": "MobileNetV2, which had seen ImageNet's photos and labels",
    "texts": "all-MiniLM-L6-v2, which had seen a billion pairs of sentences",
    "sounds": "YAMNet, which had heard AudioSet's sounds and labels",
    "names": "CLIP ViT-B/32's vectors of 2,068 names and of photos of Caltech101",
}


def trained(home: Path) -> dict[str, dict[str, Any]]:
    """All checkpoints."""
    names = ("photo", "text", "hearing", "sound")
    return {name: torch.load(home / "ckpt" / f"{name}.pt", weights_only=True) for name in names}


def kept(home: Path, towers: dict[str, dict[str, Any]]) -> dict[str, torch.Tensor]:
    """The running means of all three towers, by modality; pictures and sounds have the heads that were fitted last."""
    head = torch.load(home / "tower" / "anchor.pt", weights_only=True)["image"]
    found = {}
    for modality, part in (("image", "photo"), ("audio", "hearing")):
        mean = towers[part]["average"].items()
        found |= {name.replace("tower.", f"{modality}.", 1): value for name, value in mean if name.startswith("tower.")}
    found |= {f"image.head.{name}": value for name, value in head.items()}
    found |= {f"text.{name}": value for name, value in towers["text"]["average"].items()}
    return found | {f"audio.listening.{name}": value for name, value in towers["sound"]["kept"].items()}


def card(
    home: Path, towers: dict[str, dict[str, Any]], weights: dict[str, torch.Tensor], digest: str
) -> dict[str, Any]:
    """What the weights are, and what they were made from."""
    sizes: Counter[str] = Counter()
    for name, value in weights.items():
        sizes[name.split(".")[0]] += value.numel()
    lists = sorted(home.glob("cache/photos/*/names.txt"))
    photos = {path.parent.name: len(path.read_text().splitlines()) for path in lists}
    lists = sorted(home.glob("cache/sounds/*/clips.txt"))
    sounds = {path.parent.name: len(path.read_text().splitlines()) for path in lists}
    return {
        "dim": DIM,
        "weights": digest,
        "numbers": dict(sizes),  # parameters, and what batch norm has counted
        "photos": {name: count for name, count in photos.items() if "." not in name},
        "views": sum(photos.values()),
        "texts": len((home / "cache/texts/texts.txt").read_text().splitlines()),
        "sounds": sounds,
        "seen": {name: towers[part]["views"] for name, part in SEEN.items()},
        "sound recipe": towers["sound"]["recipe"],
        "teachers": TEACHERS,
    }


def main() -> None:
    """Write what is shipped. Fails where it would be too large."""
    parser = argparse.ArgumentParser(description="write the pocket model's weights")
    parser.add_argument("home", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    towers = trained(given.home)
    found = kept(given.home, towers)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in found.items()}
    path = given.out / "pocket.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than may be shipped")
    shutil.copyfile(given.home / "cache" / "pocket_words.txt", given.out / "words.txt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (given.out / "card.json").write_text(json.dumps(card(given.home, towers, weights, digest), indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
