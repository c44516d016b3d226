"""Train the heads of the pocket model's anchor space: minutes, from cached features alone.

They learn from photos with captions, photos with names, and from how two teachers spread photos over names.

    python scripts/train_pocket_anchor.py HOME DATA
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pocket_anchor import Anchor, Head, Texts, captions_by_photo, held_out, read_split, text_to_image, thing_in
from pocket_teachers import PhotoTeacher
from pocket_texts import caltech_name, imagenet_names
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.training import losses
from bindsearch.training.average import Average
from bindsearch.training.schedule import cosine

CAPTIONED, NAMED, SPREAD = 384, 384, 256
"""Photos of each kind in a step."""
RATE = 1e-3
TEMPERATURE = 0.05


class Pairs:
    """Photos' features with what is said of them: captions, a name, CLIP's spread over its names, or nothing."""

    def __init__(self, home: Path, data: Path, texts: Texts) -> None:
        read_split(data)
        synonyms = imagenet_names(data)
        features, owner_text, captioned, self.clip_rows, self.clip_targets = [], [], [], [], []
        captions = captions_by_photo(data, texts, "train", "caption")
        samples = (home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines()
        words = {name[:9]: synonyms[i + 1][0] for i, name in enumerate(sorted(samples))}
        clip = _clip_targets(data, texts)
        for folder in sorted(path.parent for path in home.glob("cache/photos/*/names.txt")):
            names = (folder / "names.txt").read_text().splitlines()
            rows = np.fromfile(folder / "features.f16", np.float16, count=1280 * len(names)).reshape(-1, 1280)
            for name, row in zip(names, rows, strict=True):
                if held_out(folder.name, name):
                    continue
                thing = thing_in(folder.name, name, words)
                if folder.name == "caltech101" and name in clip:
                    self.clip_rows.append(len(features))
                    self.clip_targets.append(clip[name])
                place = texts.name(thing) if thing else None
                captioned.append(captions.get(name, []) if folder.name == "flickr8k" else [])
                owner_text.append(-1 if place is None else place)
                features.append(row)
        self.features = torch.from_numpy(np.stack(features)).float()
        self.named = torch.tensor(owner_text)
        self.captioned = [(row, places) for row, places in enumerate(captioned) if places]
        self.clip_things = _clip_names(data, texts)
        self.imagenet = torch.tensor([texts.name(s[0]) for s in synonyms[1:]])


def _clip_names(data: Path, texts: Texts) -> Tensor:
    with np.load(data / "teachers" / "clip_vitb32_text_names.npz") as clip:
        return torch.tensor([texts.name(str(name)) for name in clip["names"]])


def _clip_targets(data: Path, texts: Texts) -> dict[str, NDArray[np.float32]]:
    """How CLIP spreads each of Caltech101's photos over its names, by file name."""
    with np.load(data / "teachers" / "clip_vitb32_text_names.npz") as clip:
        names = F.normalize(torch.from_numpy(clip["features"]).float(), dim=1)
    with np.load(data / "teachers" / "clip_vitb32_caltech101_images.npz") as clip:
        photos = F.normalize(torch.from_numpy(clip["features"]).float(), dim=1)
        spread = (photos @ names.T * 60).softmax(dim=1).numpy()
        return dict(zip(map(str, clip["names"]), spread, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of photos and texts of one step: first those with captions, then those with names, then the spread ones."""

    photos: NDArray[np.intp]
    texts: Tensor
    bank: Tensor
    """Names that the last photos are spread over..."""
    spread: Tensor
    """...and how."""


class Learning:
    """Both heads on their way."""

    def __init__(self, pairs: Pairs, texts: Texts, logits: NDArray[np.float32], *, seed: int) -> None:
        """`logits` are the photo teacher's, of all photos."""
        torch.manual_seed(seed)
        self._pairs, self._texts = pairs, texts
        self._chance = np.random.default_rng(seed)
        self._sure = torch.from_numpy(logits)
        self._clip = torch.from_numpy(np.stack(pairs.clip_targets))
        self._named = np.flatnonzero((pairs.named >= 0).numpy())
        # A name weighs by the root of how many photos it has.
        weight = 1 / np.bincount(pairs.named[self._named])[pairs.named[self._named]] ** 0.5
        self._weight = weight / weight.sum()
        self.heads = nn.ModuleList([Head(1280), Head(384, drop=0.2)])
        _standardise(self.heads[0], pairs.features.mean(dim=0), pairs.features.std(dim=0) + 0.05)
        _standardise(self.heads[1], texts.vectors.mean(dim=0), texts.vectors.std(dim=0).mean())
        self.average = Average(self.heads, decay=0.997)
        self._optimiser = torch.optim.AdamW(self.heads.parameters(), lr=RATE, weight_decay=0.2)

    def learn(self, step: int, steps: int) -> float:
        """Take one step; the loss."""
        self._optimiser.param_groups[0]["lr"] = RATE * cosine(step / steps)
        self._optimiser.zero_grad()
        loss = self._loss(self._drawn(by_clip=step % 2 == 0))
        loss.backward()
        self._optimiser.step()
        self.average.update(self.heads)
        return float(loss.item())

    def _drawn(self, *, by_clip: bool) -> Batch:
        """The teachers that spread photos over names take turns."""
        pairs, chance = self._pairs, self._chance
        chosen = [pairs.captioned[i] for i in chance.choice(len(pairs.captioned), CAPTIONED, replace=False)]
        named = chance.choice(self._named, NAMED, p=self._weight)
        some = chance.integers(len(pairs.clip_rows) if by_clip else len(pairs.features), size=SPREAD)
        spread = np.array(pairs.clip_rows)[some] if by_clip else some
        said = torch.tensor([places[chance.integers(len(places))] for _, places in chosen])
        return Batch(
            photos=np.concatenate([[row for row, _ in chosen], named, spread]),
            texts=torch.cat([said, pairs.named[named]]),
            bank=pairs.clip_things if by_clip else pairs.imagenet,
            spread=self._clip[some] if by_clip else (self._sure[some] / 1.5).softmax(dim=1),
        )

    def _loss(self, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            images = self.heads[0](self._pairs.features[batch.photos])
            read = self.heads[1](self._texts.vectors[torch.cat([batch.texts, batch.bank])])
        images, said, bank = images.float(), read[: len(batch.texts)].float(), read[len(batch.texts) :].float()
        owners = batch.texts.clone()
        owners[:CAPTIONED] = -torch.arange(CAPTIONED) - 1  # a caption is its photo's alone
        parts = slice(0, CAPTIONED), slice(CAPTIONED, CAPTIONED + NAMED)
        captions, names = (
            losses.contrast(images[part], said[part], owners[part], temperature=TEMPERATURE) for part in parts
        )
        spread = (images[CAPTIONED + NAMED :] @ bank.T / TEMPERATURE).log_softmax(dim=1)
        return captions + 0.7 * names + F.kl_div(spread, batch.spread, reduction="batchmean")


def _standardise(head: nn.Module, mean: Tensor, scale: Tensor) -> None:
    head.mean.copy_(mean)
    head.scale.copy_(scale.expand_as(head.scale))


def anchored(heads: nn.ModuleList, texts: Texts, data: Path) -> Anchor:
    """The finished space, with a bank of training texts and the development captions."""
    image_head, text_head = (head.eval() for head in heads)
    with torch.no_grad():
        everything = text_head(texts.vectors)
    kinds = [kind for kind, _ in texts.rows]
    captions = [row for row, kind in enumerate(kinds) if kind == "caption"][::12]
    names = [row for row, kind in enumerate(kinds) if kind == "name"][::2]
    dev = captions_by_photo(data, texts, "dev", "dev")
    spoken = {name: everything[places].clone() for name, places in dev.items()}
    return Anchor(image_head, text_head, everything[captions + names].clone(), spoken)


def features_of(home: Path, source: str) -> tuple[list[str], Tensor]:
    """Names and features of a gathered source."""
    folder = home / "cache" / "photos" / source
    names = (folder / "names.txt").read_text().splitlines()
    features = np.fromfile(folder / "features.f16", np.float16, count=1280 * len(names)).reshape(-1, 1280)
    return names, torch.from_numpy(features).float()


def measured(anchor: Anchor, texts: Texts, home: Path) -> str:
    """Text to image on Flickr8k's development photos; zero-shot on Caltech101's held-out ones."""
    names, features = features_of(home, "flickr8k")
    dev = [row for row, name in enumerate(names) if name in anchor.dev_captions]
    first, ten = text_to_image(anchor.images(features[dev]), anchor.captions_of([names[row] for row in dev]))
    names, features = features_of(home, "caltech101")
    held = [row for row, name in enumerate(names) if held_out("caltech101", name) and not name.startswith("BACK")]
    truth = [caltech_name(names[row].split("/")[0]) for row in held]
    things = sorted(set(truth))
    bank = anchor.texts(texts.vectors[[texts.place["name", thing] for thing in things]])
    guess = (anchor.images(features[held]) @ bank.T).argmax(dim=1).tolist()
    right = np.mean([things[place] == thing for place, thing in zip(guess, truth, strict=True)])
    return f"dev R@1 {first:.3f} R@10 {ten:.3f}; Caltech101 held-out photos, {len(things)} names: {right:.3f}"


def main() -> None:
    """Train the heads, measure them, and write them."""
    parser = argparse.ArgumentParser(description="train the heads of the anchor space")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    texts = Texts(given.home / "cache" / "texts")
    pairs = Pairs(given.home, given.data, texts)
    print(f"{len(pairs.features)} photos, {len(pairs.captioned)} with captions, {len(pairs.clip_rows)} seen by CLIP")
    teacher = PhotoTeacher(given.data / "teachers" / "mobilenet_v2_imagenet.tflite")
    learning = Learning(pairs, texts, teacher.logits(pairs.features.numpy())[:, 1:], seed=given.seed)
    for step in range(given.steps):
        loss = learning.learn(step, given.steps)
        if step % 100 == 0:
            print(f"step {step} loss {loss:.3f}", flush=True)
    anchor = anchored(learning.average.module, texts, given.data)
    anchor.save(given.home / "anchor")
    print(measured(anchor, texts, given.home))


if __name__ == "__main__":
    main()
