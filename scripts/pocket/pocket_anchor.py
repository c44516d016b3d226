"""The anchor space of the pocket model, and what is held out to measure by.

Frozen teachers of photos and texts, and one small head on each that brings them together (train_pocket_anchor.py).
Students then learn to land where these heads do.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket.towers import IMAGE_FEATURES, Head
from torch import Tensor
from torch.nn import functional as F

from bindsearch.evaluation.readers_image import caltech_name
from bindsearch.evaluation.split import caltech_held_out, flickr_dev

READ = 384
"""What MiniLM makes of a text."""
TEXT_HIDDEN = 1024


def held_out(source: str, name: str) -> bool:
    """Whether a photo is for measuring only: Flickr8k's dev split, and every sixth photo of Caltech101."""
    if source == "flickr8k":
        return name in _dev_photos()
    if source == "caltech101":
        return caltech_held_out(name)
    return False


_DEV: set[str] = set()


def _dev_photos() -> set[str]:
    if not _DEV:
        raise RuntimeError("call `read_split` first")
    return _DEV


def read_split(data: Path) -> None:
    """Learn which of Flickr8k's photos are for measuring."""
    _DEV.update(flickr_dev(data / "flickr8k" / "captions.csv"))


@dataclass
class Anchor:
    """The two heads, and what students and measurements need of the space."""

    image_head: Head
    text_head: Head
    bank: Tensor
    dev_captions: dict[str, Tensor]

    @classmethod
    def load(cls, folder: Path) -> Anchor | None:
        """Read what `main` wrote; None where it has not."""
        if not (folder / "done").exists():
            return None
        state = torch.load(folder / "anchor.pt", weights_only=True)
        image_head, text_head = Head(IMAGE_FEATURES).eval(), Head(READ, hidden=TEXT_HIDDEN).eval()
        image_head.load_state_dict(state["image"])
        text_head.load_state_dict(state["text"])
        return cls(image_head, text_head, state["bank"], state["dev"])

    def save(self, folder: Path) -> None:
        """Write for `load`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {"image": self.image_head.state_dict(), "text": self.text_head.state_dict()}
        torch.save(state | {"bank": self.bank, "dev": self.dev_captions}, folder / "anchor.new")
        (folder / "anchor.new").replace(folder / "anchor.pt")
        (folder / "done").touch()

    @torch.no_grad()
    def images(self, features: Tensor) -> Tensor:
        """Photos in the space, by their teacher's features."""
        return F.normalize(self.image_head(features), dim=1)

    @torch.no_grad()
    def texts(self, vectors: Tensor) -> Tensor:
        """Texts in the space, by their teacher's vectors."""
        return F.normalize(self.text_head(vectors), dim=1)

    def captions_of(self, names: list[str]) -> tuple[Tensor, Tensor]:
        """The development captions of photos, and which photo each belongs to."""
        vectors = torch.cat([self.dev_captions[name] for name in names])
        owners = torch.cat([torch.full((len(self.dev_captions[name]),), row) for row, name in enumerate(names)])
        return vectors, owners


def text_to_image(images: Tensor, captions: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """R@1 and R@10 of photos by their captions."""
    texts, owners = captions
    scores = texts @ images.T
    rank = (scores > scores.gather(1, owners[:, None])).sum(dim=1)
    return float((rank < 1).float().mean()), float((rank < 10).float().mean())


class Texts:
    """All texts with their teacher's vectors, as far as they have been embedded."""

    def __init__(self, folder: Path) -> None:
        vectors = np.fromfile(folder / "vectors.f16", np.float16)
        self.vectors = torch.from_numpy(vectors[: len(vectors) // 384 * 384].reshape(-1, 384)).float()
        lines = (folder / "texts.txt").read_text().splitlines()[: len(self.vectors)]
        self.vectors = self.vectors[: len(lines)]
        self.rows = [tuple(line.split("\t", 1)) for line in lines]
        self.place = {(kind, text): row for row, (kind, text) in enumerate(self.rows)}

    def name(self, name: str) -> int | None:
        """The row of a name, if it has one."""
        return self.place.get(("name", name))


def captions_by_photo(data: Path, texts: Texts, split: str, kind: str) -> dict[str, list[int]]:
    """Rows of the captions of each of Flickr8k's photos."""
    found: dict[str, list[int]] = {}
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            place = texts.place.get((kind, row["caption"].strip()))
            if row["split"] == split and place is not None:
                found.setdefault(row["image"], []).append(place)
    return found


def thing_in(source: str, name: str, words: dict[str, str]) -> str | None:
    """What a photo shows, where its source says so; `words` says what ImageNet's numbers mean."""
    if source == "caltech101":
        folder = name.split("/")[0]
        return None if folder == "BACKGROUND_Google" else caltech_name(folder)
    number = next((part for part in name.replace("_", "/").split("/") if part[:1] == "n" and part[1:9].isdigit()), None)
    return words.get(number) if number else None
