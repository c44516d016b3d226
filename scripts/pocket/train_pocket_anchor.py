"""Train the heads that make the pocket model's space: minutes, from cached features alone.

They learn from photos with captions, photos with names, and from how two teachers spread photos over names. First on
the teachers' features: that makes the space, in which texts and sounds find their places. Then, `--tower`, the texts
stay where they are, and a head is made for what the photo tower sees (scripts/pocket/train_pocket_photo.py --see).

    python scripts/pocket/train_pocket_anchor.py HOME DATA
    python scripts/pocket/train_pocket_anchor.py HOME DATA --tower
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket.towers import IMAGE_FEATURES, Head
from numpy.typing import NDArray
from pocket_anchor import (
    READ,
    TEXT_HIDDEN,
    Anchor,
    Texts,
    captions_by_photo,
    held_out,
    read_split,
    text_to_image,
    thing_in,
)
from pocket_photos import stored
from pocket_teachers import PhotoTeacher
from pocket_texts import imagenet_names
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.evaluation.readers_image import caltech_name
from bindsearch.training import losses
from bindsearch.training.schedule import cosine
from bindsearch.training.weight_average import WeightAverage

CAPTIONED, NAMED, SPREAD = 384, 384, 256
"""Photos of each kind in a step."""
RATE = 1e-3
TEMPERATURE = 0.05


class Pairs:
    """Photos, several views of each, with what is said of them: captions, a name, CLIP's spread over names, nothing."""

    def __init__(self, home: Path, data: Path, texts: Texts, file: str) -> None:
        """Read the features in `file` of every view that has them."""
        read_split(data)
        synonyms = imagenet_names(data)
        captions = captions_by_photo(data, texts, "train", "caption")
        samples = (home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines()
        words = {name[:9]: synonyms[i + 1][0] for i, name in enumerate(sorted(samples))}
        clip = _clip_targets(data, texts)
        blocks, taught, views, owners, count = [], [], defaultdict[tuple[str, str], list[int]](list), [], 0
        for folder in sorted(path.parent for path in home.glob(f"cache/photos/*/{file}")):
            source, names = folder.name.split(".")[0], (folder / "names.txt").read_text().splitlines()
            rows = np.fromfile(folder / file, np.float16).reshape(-1, IMAGE_FEATURES)[: len(names)]
            kept = [row for row, name in enumerate(names[: len(rows)]) if not held_out(source, name)]
            for place, row in enumerate(kept):
                views[source, names[row]].append(count + place)
            blocks.append(rows[kept])
            taught.append(np.asarray(stored(folder, "features.f16")[kept]))
            count += len(kept)
        self.features = torch.from_numpy(np.concatenate(blocks))
        self.taught = torch.from_numpy(np.concatenate(taught))
        """What the teacher makes of the same views."""
        self.views = [np.array(rows) for rows in views.values()]
        self.captioned: list[tuple[int, list[int]]] = []
        self.clip_rows: list[int] = []
        self.clip_targets: list[NDArray[np.float32]] = []
        for photo, (source, name) in enumerate(views):
            thing = thing_in(source, name, words)
            place = texts.name(thing) if thing else None
            owners.append(-1 if place is None else place)
            if source == "caltech101" and name in clip:
                self.clip_rows.append(photo)
                self.clip_targets.append(clip[name])
            if source == "flickr8k" and captions.get(name):
                self.captioned.append((photo, captions[name]))
        self.named = torch.tensor(owners)
        self.clip_things = _clip_names(data, texts)
        self.imagenet = torch.tensor([texts.name(s[0]) for s in synonyms[1:]])

    def drawn(self, photos: NDArray[np.intp], chance: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Features of one view of each, and what the teacher makes of it."""
        rows = np.array([self.views[photo][chance.integers(len(self.views[photo]))] for photo in photos])
        return self.features[rows].float(), self.taught[rows].float()


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
    """Photos and texts of one step: first those with captions, then those with names, then the spread ones."""

    features: Tensor
    taught: Tensor
    texts: Tensor
    bank: Tensor
    """Names that the last photos are spread over..."""
    spread: Tensor
    """...and how."""


class Learning:
    """Both heads on their way."""

    def __init__(
        self, pairs: Pairs, texts: Texts, classes: tuple[Tensor, Tensor], *, anchor: Anchor | None, seed: int
    ) -> None:
        """`classes` is the photo teacher's last layer. Where the space stands already, only photos are moved."""
        torch.manual_seed(seed)
        self._pairs, self._texts, self._classes = pairs, texts, classes
        self._chance = np.random.default_rng(seed)
        self._clip = torch.from_numpy(np.stack(pairs.clip_targets))
        self._named = np.flatnonzero((pairs.named >= 0).numpy())
        # A name weighs by the root of how many photos it has.
        weight = 1 / np.bincount(pairs.named[self._named])[pairs.named[self._named]] ** 0.5
        self._weight = weight / weight.sum()
        self.heads = nn.ModuleList([Head(IMAGE_FEATURES, drop=0.2), Head(READ, hidden=TEXT_HIDDEN, drop=0.2)])
        some = pairs.features[:: len(pairs.features) // 20_000 + 1].float()
        _standardise(self.heads[0], some.mean(dim=0), some.std(dim=0) + 0.05)
        _standardise(self.heads[1], texts.vectors.mean(dim=0), texts.vectors.std(dim=0).mean())
        self._anchor = anchor
        if anchor:
            self.heads[0].load_state_dict(anchor.image_head.state_dict())
            self.heads[1] = anchor.text_head.requires_grad_(False)
            _standardise(self.heads[0], some.mean(dim=0), some.std(dim=0) + 0.05)
        self.average = WeightAverage(self.heads, decay=0.997)
        moving = [parameter for parameter in self.heads.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(moving, lr=RATE, weight_decay=0.2)

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
        few = len(pairs.captioned) < CAPTIONED  # as in a rehearsal
        chosen = [pairs.captioned[i] for i in chance.choice(len(pairs.captioned), CAPTIONED, replace=few)]
        named = chance.choice(self._named, NAMED, p=self._weight)
        some = chance.integers(len(pairs.clip_rows) if by_clip else len(pairs.views), size=SPREAD)
        spread = np.array(pairs.clip_rows)[some] if by_clip else some
        said = torch.tensor([places[chance.integers(len(places))] for _, places in chosen])
        photos = np.concatenate([[photo for photo, _ in chosen], named, spread])
        features, taught = pairs.drawn(photos, chance)
        weight, bias = self._classes
        sure = F.linear(taught[-SPREAD:], weight, bias)[:, 1:]
        return Batch(
            features=features,
            taught=taught,
            texts=torch.cat([said, pairs.named[named]]),
            bank=pairs.clip_things if by_clip else pairs.imagenet,
            spread=self._clip[some] if by_clip else (sure / 1.5).softmax(dim=1),
        )

    def _loss(self, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            images = self.heads[0](batch.features)
            read = self.heads[1](self._texts.vectors[torch.cat([batch.texts, batch.bank])])
        images, read = F.normalize(images.float(), dim=1), F.normalize(read.float(), dim=1)
        said, bank = read[: len(batch.texts)], read[len(batch.texts) :]
        owners = batch.texts.clone()
        owners[:CAPTIONED] = -torch.arange(CAPTIONED) - 1  # a caption is its photo's alone
        parts = slice(0, CAPTIONED), slice(CAPTIONED, CAPTIONED + NAMED)
        captions, names = (
            losses.contrastive(images[part], said[part], owners[part], temperature=TEMPERATURE) for part in parts
        )
        spread = (images[CAPTIONED + NAMED :] @ bank.T / TEMPERATURE).log_softmax(dim=1)
        loss = captions + 0.7 * names + F.kl_div(spread, batch.spread, reduction="batchmean")
        return loss + 4 * losses.regression(images, self._anchor.images(batch.taught)) if self._anchor else loss


def _standardise(head: nn.Module, mean: Tensor, scale: Tensor) -> None:
    head.mean.copy_(mean)
    head.scale.copy_(scale.expand_as(head.scale))


def anchored(heads: nn.ModuleList, texts: Texts, data: Path) -> Anchor:
    """The finished space, with a bank of training texts and the development captions."""
    image_head, text_head = (head.eval() for head in heads)
    with torch.no_grad():
        everything = F.normalize(text_head(texts.vectors), dim=1)
    kinds = [kind for kind, _ in texts.rows]
    captions = [row for row, kind in enumerate(kinds) if kind == "caption"][::12]
    names = [row for row, kind in enumerate(kinds) if kind == "name"][::2]
    dev = captions_by_photo(data, texts, "dev", "dev")
    spoken = {name: everything[places].clone() for name, places in dev.items()}
    return Anchor(image_head, text_head, everything[captions + names].clone(), spoken)


def features_of(home: Path, source: str, file: str) -> tuple[list[str], Tensor]:
    """Names and features of a gathered source, whole pictures."""
    folder = home / "cache" / "photos" / source
    rows = np.fromfile(folder / file, np.float16).reshape(-1, IMAGE_FEATURES)
    return (folder / "names.txt").read_text().splitlines()[: len(rows)], torch.from_numpy(rows).float()


def measured(anchor: Anchor, texts: Texts, home: Path, file: str) -> str:
    """Text to image on Flickr8k's development photos; zero-shot on Caltech101's held-out ones."""
    names, features = features_of(home, "flickr8k", file)
    dev = [row for row, name in enumerate(names) if name in anchor.dev_captions]
    first, ten = text_to_image(anchor.images(features[dev]), anchor.captions_of([names[row] for row in dev]))
    names, features = features_of(home, "caltech101", file)
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
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower", action="store_true", help="a head for what the photo tower sees")
    given = parser.parse_args()
    file = "seen.f16" if given.tower else "features.f16"
    texts = Texts(given.home / "cache" / "texts")
    pairs = Pairs(given.home, given.data, texts, file)
    print(f"{len(pairs.views)} photos, {len(pairs.captioned)} with captions, {len(pairs.clip_rows)} seen by CLIP")
    weight, bias = PhotoTeacher(given.data / "teachers" / "mobilenet_v2_imagenet.tflite").classes
    classes = torch.from_numpy(weight), torch.from_numpy(bias)
    anchor = Anchor.load(given.home / "anchor") if given.tower else None
    learning = Learning(pairs, texts, classes, anchor=anchor, seed=given.seed)
    for step in range(given.steps):
        loss = learning.learn(step, given.steps)
        if step % 100 == 0:
            print(f"step {step} loss {loss:.3f}", flush=True)
    found = anchored(learning.average.module, texts, given.data)
    found.save(given.home / ("tower" if given.tower else "anchor"))
    print(measured(found, texts, given.home, file))


if __name__ == "__main__":
    main()
