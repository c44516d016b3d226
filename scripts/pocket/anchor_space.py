"""The anchor space of the pocket model, its texts, and which photos are held out.

The space consists of two heads, on the features of the frozen photo teacher and of the frozen text teacher
(train_space.py). The towers then learn to put photos and texts where these heads put them.
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

TEXT_FEATURES = 384
"""Dimension of MiniLM's vectors."""
TEXT_HIDDEN = 1024
"""Width of the text head's hidden layer."""


def held_out(source: str, name: str) -> bool:
    """Whether a photo is for evaluation only: Flickr8k's dev split, and every sixth photo of Caltech101."""
    if source == "flickr8k":
        if not _DEV_PHOTOS:
            raise RuntimeError("call `read_split` first")
        return name in _DEV_PHOTOS
    if source == "caltech101":
        return caltech_held_out(name)
    return False


_DEV_PHOTOS: set[str] = set()


def read_split(data: Path) -> None:
    """Read which of Flickr8k's photos are held out; `held_out` needs it."""
    _DEV_PHOTOS.update(flickr_dev(data / "flickr8k" / "captions.csv"))


@dataclass
class AnchorSpace:
    """The two heads, with vectors that training and evaluation need."""

    image_head: Head
    text_head: Head
    text_bank: Tensor
    """Vectors of training texts, which the text tower's distillation compares with."""
    dev_captions: dict[str, Tensor]
    """Vectors of the held-out captions, by photo."""

    @classmethod
    def load(cls, folder: Path) -> AnchorSpace | None:
        """Read a space that `save` wrote; None if there is none."""
        if not (folder / "done").exists():
            return None
        state = torch.load(folder / "anchor.pt", weights_only=True)
        image_head, text_head = Head(IMAGE_FEATURES).eval(), Head(TEXT_FEATURES, hidden=TEXT_HIDDEN).eval()
        image_head.load_state_dict(state["image"])
        text_head.load_state_dict(state["text"])
        return cls(image_head, text_head, state["bank"], state["dev"])

    def save(self, folder: Path) -> None:
        """Write the space to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {"image": self.image_head.state_dict(), "text": self.text_head.state_dict()}
        torch.save(state | {"bank": self.text_bank, "dev": self.dev_captions}, folder / "anchor.new")
        (folder / "anchor.new").replace(folder / "anchor.pt")
        (folder / "done").touch()

    @torch.no_grad()
    def embed_images(self, features: Tensor) -> Tensor:
        """Return the unit vectors of photos, given the features that the image head was trained on."""
        return F.normalize(self.image_head(features), dim=1)

    @torch.no_grad()
    def embed_texts(self, vectors: Tensor) -> Tensor:
        """Return the unit vectors of texts, given their teacher's vectors."""
        return F.normalize(self.text_head(vectors), dim=1)

    def captions_of(self, names: list[str]) -> tuple[Tensor, Tensor]:
        """Return the vectors of the held-out captions of photos, and the number of each one's photo."""
        vectors = torch.cat([self.dev_captions[name] for name in names])
        owners = torch.cat([torch.full((len(self.dev_captions[name]),), row) for row, name in enumerate(names)])
        return vectors, owners


def text_to_image(images: Tensor, captions: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Return R@1 and R@10 of photos by their captions."""
    texts, owners = captions
    scores = texts @ images.T
    rank = (scores > scores.gather(1, owners[:, None])).sum(dim=1)
    return float((rank < 1).float().mean()), float((rank < 10).float().mean())


class GatheredTexts:
    """All texts that gather_texts.py has embedded, with their teacher's vectors."""

    def __init__(self, folder: Path) -> None:
        vectors = np.fromfile(folder / "vectors.f16", np.float16)
        self.vectors = torch.from_numpy(vectors[: len(vectors) // 384 * 384].reshape(-1, 384)).float()
        lines = (folder / "texts.txt").read_text().splitlines()[: len(self.vectors)]
        self.vectors = self.vectors[: len(lines)]
        self.kinds_and_texts = [tuple(line.split("\t", 1)) for line in lines]
        self.row_of = {(kind, text): row for row, (kind, text) in enumerate(self.kinds_and_texts)}

    def row_of_name(self, name: str) -> int | None:
        """Return the row of a class name; None if it was not gathered."""
        return self.row_of.get(("name", name))


def captions_by_photo(data: Path, texts: GatheredTexts, split: str, kind: str) -> dict[str, list[int]]:
    """Return the rows of the captions of each of Flickr8k's photos."""
    captions: dict[str, list[int]] = {}
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            text_row = texts.row_of.get((kind, row["caption"].strip()))
            if row["split"] == split and text_row is not None:
                captions.setdefault(row["image"], []).append(text_row)
    return captions


def class_of_photo(source: str, name: str, wordnet_names: dict[str, str]) -> str | None:
    """Return the class that a photo's source gives it; `wordnet_names` maps ImageNet's identifiers to names."""
    if source == "caltech101":
        folder = name.split("/")[0]
        return None if folder == "BACKGROUND_Google" else caltech_name(folder)
    number = next((part for part in name.replace("_", "/").split("/") if part[:1] == "n" and part[1:9].isdigit()), None)
    return wordnet_names.get(number) if number else None
