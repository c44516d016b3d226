"""Write the pocket model's weights as they are shipped: one safetensors file in float16, the words, and a card.

python scripts/pocket_export.py HOME OUT
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from bindsearch.encoders.pocket_towers import DIM
from safetensors.torch import save_file

LARGEST = 32 * 2**20


def kept(home: Path) -> dict[str, torch.Tensor]:
    """The running means of all three towers, by modality."""
    photo = torch.load(home / "ckpt" / "photo.pt", weights_only=True)["average"]
    text = torch.load(home / "ckpt" / "text.pt", weights_only=True)["average"]
    sound = torch.load(home / "ckpt" / "sound.pt", weights_only=True)["kept"]
    found = {
        f"image.{name.removeprefix('tower.')}": value for name, value in photo.items() if name.startswith("tower.")
    }
    found |= {f"text.{name}": value for name, value in text.items()}
    return found | {f"audio.{name}": value for name, value in sound.items()}


def main() -> None:
    """Write what is shipped. Fails where it would be too large."""
    parser = argparse.ArgumentParser(description="write the pocket model's weights")
    parser.add_argument("home", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half() if value.is_floating_point() else value for name, value in kept(given.home).items()}
    path = given.out / "pocket.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, path)
    if path.stat().st_size > LARGEST:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than may be shipped")
    shutil.copyfile(given.home / "cache" / "pocket_words.txt", given.out / "words.txt")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (given.out / "card.json").write_text(json.dumps({"dim": DIM, "weights": digest}, indent=2) + "\n")
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
