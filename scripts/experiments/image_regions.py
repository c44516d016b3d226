"""Try the region that `--why-image` shows: is it where the thing is?

DATA has caltech101 and flickr8k. Things are pasted at random places into photos in which they do not belong, of the
parts that the built-in space was trained on, and asked for by name. `pointed` is the share of pictures in which the
hottest place lies in the thing, beside the share of the picture that the thing covers; `rank` the chance that a place
in the thing is hotter than one outside (a half where heat says nothing).

    python scripts/experiments/image_regions.py DATA [--space NAME] [--pictures N] [--seed N]
"""

from __future__ import annotations

import argparse
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

import bindsearch
from bindsearch.evaluation.dataset import Media
from bindsearch.evaluation.readers_image import caltech101, flickr
from bindsearch.explain.image_regions import relevance_map
from bindsearch.indexing.recall_queries import RECALL_QUERIES

SIZE = (320, 240)
SHARE = (0.35, 0.55)
"""Of the photo's height: how large a thing is."""


def opened(media: Media) -> Image.Image:
    return Image.open(io.BytesIO(media.read())).convert("RGB")


def pasted(thing: Image.Image, photo: Image.Image, chance: random.Random) -> tuple[Image.Image, np.ndarray]:
    """Return the photo with the thing in it, and a mask of where it is."""
    scene = photo.resize(SIZE)
    scale = chance.uniform(*SHARE) * SIZE[1] / max(thing.size)
    small = thing.resize((max(1, round(thing.width * scale)), max(1, round(thing.height * scale))))
    x, y = chance.randint(0, SIZE[0] - small.width), chance.randint(0, SIZE[1] - small.height)
    scene.paste(small, (x, y))
    mask = np.zeros(SIZE[::-1], dtype=bool)
    mask[y : y + small.height, x : x + small.width] = True
    return scene, mask


def ranked(heat: np.ndarray, mask: np.ndarray) -> float:
    """Return the chance that a place inside is hotter than one outside."""
    ranks = np.argsort(np.argsort(heat.ravel()))
    inside = mask.ravel()
    count, rest = int(inside.sum()), int((~inside).sum())
    return float((ranks[inside].sum() - count * (count - 1) / 2) / (count * rest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance, space = random.Random(options.seed), bindsearch.space(options.space)
    things = [each for each in caltech101(options.data / "caltech101")[0].examples if not each.held_out]
    photos = [each for each in flickr(options.data / "flickr8k")[0].examples if not each.held_out]
    others = space.embed(RECALL_QUERIES, modality="text")
    told: dict[str, list[tuple[float, float]]] = {"as shown": [], "not centred": []}
    covered = []
    for _ in range(options.pictures):
        thing = chance.choice(things)
        scene, mask = pasted(opened(thing.media), opened(chance.choice(photos).media), chance)
        vector = space.embed([f"a photo of a {thing.words[0]}"], modality="text")[0]
        covered.append(mask.mean())
        for name, bank in (("as shown", others), ("not centred", others[:0])):
            heat = relevance_map(scene, vector, space.embed_pieces, others=bank)
            told[name].append((float(mask.ravel()[heat.argmax()]), ranked(heat, mask)))
    print(f"{options.pictures} pictures; the things cover {np.mean(covered):.2f} of them")
    for name, rows in told.items():
        pointed, rank = np.mean(rows, axis=0)
        error = np.std([row[0] for row in rows]) / np.sqrt(len(rows))
        print(f"{name:<14}pointed {pointed:.2f} ± {1.96 * error:.2f}   rank {rank:.2f}")


if __name__ == "__main__":
    main()
