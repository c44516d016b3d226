"""Measure what `bindsearch eval` cannot: whether held-out sounds find photos of what makes them.

Which photos show what makes a sound is the table that training used (concept_photos.py). The sounds are ESC-50's
held-out recordings, the photos those that were not trained on. Prints precision at 10: over the concepts with at least
ten photos, over all concepts, and of each concept; and what ten of the sounds find.

    python scripts/pocket/eval_sound_to_photo.py DATA [--weights FOLDER] [--picture FILE] [--include-training-photos]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from anchor_space import held_out, read_split
from bindsearch.encoders.pocket.encoder import WEIGHTS, PocketEncoder
from concept_photos import photo_terms
from draw_neighbours import FoundPhoto, draw
from gather_sounds import Clip, decode_sound, esc50
from gather_texts import imagenet_names
from numpy.typing import NDArray
from PIL import Image

from bindsearch.core.vectors import unit
from bindsearch.evaluation.metrics import interval
from bindsearch.evaluation.readers_image import caltech_name
from bindsearch.evaluation.split import sound_held_out
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors

RATE = 16_000
MAX_PHOTOS = 40
"""Photos of one concept, so that no concept dominates the collection."""
K = 10
"""Precision is that of the first K photos."""
EXAMPLE_SOUNDS, EXAMPLE_PHOTOS = 10, 6
"""How many sounds are shown, each with how many photos."""
CAPTION_MARK = "caption:"
"""Prefix of words from captions, which are no class names."""


def photo_contents(data: Path) -> dict[str, set[str]]:
    """Return what each photo shows: its class, or the words that two of its captions share."""
    contents: dict[str, set[str]] = {}
    with tarfile.open(data / "caltech101" / "images.tar") as tar:
        contents |= {f"caltech101/{each.name}": {caltech_name(each.name.split("/")[0]).lower()} for each in tar}
    with tarfile.open(data / "imagenet_samples" / "images.tar") as tar:
        names = sorted(each.name for each in tar)
    synonyms = imagenet_names(data)[1:]
    contents |= {f"imagenet_samples/{name}": {synonyms[row][0].lower()} for row, name in enumerate(names)}
    captions: dict[str, Counter[str]] = defaultdict(Counter)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            captions[row["image"]].update(set(re.findall(r"[a-z]+", row["caption"].lower())))
    return contents | {
        f"flickr8k/{name}": {CAPTION_MARK + word for word, times in counts.items() if times > 1}
        for name, counts in captions.items()
    }


def relevant_photos(contents: dict[str, set[str]], concepts: list[str]) -> dict[str, set[int]]:
    """Return the photos that show what makes one of the sounds, with the numbers of their concepts."""
    photos: dict[str, set[int]] = defaultdict(set)
    order = np.random.default_rng(0).permutation(sorted(contents)).tolist()
    for number, concept in enumerate(concepts):
        terms = photo_terms(concept)
        tokens = {name.lower() for name in terms.classes} | {CAPTION_MARK + word for word in terms.words}
        for name in [name for name in order if contents[name] & tokens][:MAX_PHOTOS]:
            photos[name].add(number)
    return photos


def open_photos(data: Path, names: list[str]) -> Iterator[Piece]:
    """Decode photos from their tar files, in order."""
    tars = {name: tarfile.open(data / name / "images.tar") for name in {name.split("/")[0] for name in names}}
    for name in names:
        source, _, member = name.partition("/")
        file = tars[source].extractfile(member)
        assert file is not None
        yield Piece(Modality.IMAGE, Image.open(io.BytesIO(file.read())).convert("RGB"))


def embed_clip(space: Space, content: bytes) -> Vectors:
    """Return the mean vector of a clip's windows of two seconds."""
    samples = decode_sound(content)
    starts = range(0, max(1, len(samples) - RATE), 2 * RATE)
    pieces = [Piece(Modality.AUDIO, samples[start : start + 2 * RATE]) for start in starts]
    mean: Vectors = space.embed_pieces(pieces).mean(axis=0)
    return mean


@dataclass(frozen=True, slots=True)
class Ranking:
    """The nearest photos of every held-out clip, with what is relevant."""

    clips: list[Clip]
    concepts: list[str]
    truth: NDArray[np.intp]
    """The number of each clip's concept."""
    photos: list[str]
    photo_concepts: list[set[int]]
    nearest: NDArray[np.intp]
    """*Shape:* (clips, K)."""

    @property
    def photo_counts(self) -> Counter[int]:
        """How many photos each concept has."""
        return Counter(number for numbers in self.photo_concepts for number in numbers)

    def precision(self, truth: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return P@K of every clip, if `truth` were the concepts."""
        rows = zip(self.nearest, truth, strict=True)
        return np.array([np.mean([number in self.photo_concepts[photo] for photo in row]) for row, number in rows])


def rank(data: Path, space: Space, contents: dict[str, set[str]]) -> Ranking:
    """Embed the held-out clips and the photos that are relevant to any, and rank the photos for every clip."""
    clips = list(esc50(data))
    concepts = sorted({clip.concept for clip in clips})
    photos = relevant_photos(contents, concepts)
    vectors = space.embed_pieces(list(open_photos(data, list(photos))))
    shown = set().union(*photos.values())
    held = [
        clip for clip in clips if sound_held_out(clip.name, clip.recording) and concepts.index(clip.concept) in shown
    ]
    scores = unit(np.stack([embed_clip(space, clip.content) for clip in held])) @ vectors.T
    truth = np.array([concepts.index(clip.concept) for clip in held])
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :K]
    return Ranking(held, concepts, truth, list(photos), list(photos.values()), nearest)


def print_precision(ranking: Ranking) -> None:
    """Print P@K with its interval over recordings and its controls, and P@K of each concept."""
    truth, photo_counts = ranking.truth, ranking.photo_counts
    own = ranking.precision(truth)
    exchanged = ranking.precision(np.roll(np.unique(truth), 1)[np.searchsorted(np.unique(truth), truth)])
    counts = np.array([photo_counts[number] for number in truth])
    for rows, group in ((counts >= K, "with ten photos"), (counts > 0, "with any photo")):
        recordings = [clip.recording for clip, included in zip(ranking.clips, rows, strict=True) if included]
        low, high = interval(own[rows], np.unique(recordings, return_inverse=True)[1])
        maximum = np.minimum(counts[rows] / K, 1).mean()
        chance = float(np.mean(counts[rows])) / len(ranking.photos)
        print(
            f"{sum(rows)} clips of the {len(set(truth[rows]))} concepts {group}, at most {maximum:.3f}: "
            f"{own[rows].mean():.3f} ({low:.3f} to {high:.3f}), concepts exchanged {exchanged[rows].mean():.3f}, "
            f"chance {chance:.3f}"
        )
    for number in sorted(set(truth), key=lambda number: -own[truth == number].mean()):
        print(f"  {own[truth == number].mean():.2f} {ranking.concepts[number]}, {photo_counts[number]} photos")


def examples(ranking: Ranking, contents: dict[str, set[str]]) -> list[tuple[str, list[FoundPhoto]]]:
    """Draw ten sounds of different concepts, with what they find."""
    drawn = np.random.default_rng(1).permutation(len(ranking.clips))
    clips = list({ranking.clips[row].concept: row for row in drawn[::-1]}.values())[::-1][:EXAMPLE_SOUNDS]
    rows = []
    for clip in clips:
        concept, found = ranking.clips[clip].concept, []
        for photo in ranking.nearest[clip, :EXAMPLE_PHOTOS]:
            relevant = ranking.truth[clip] in ranking.photo_concepts[photo]
            found.append(FoundPhoto(concept if relevant else describe(contents[ranking.photos[photo]]), relevant))
        rows.append((concept, found))
    return rows


def describe(content: set[str]) -> str:
    """Return what a photo shows: its class, or the two longest words of its captions."""
    words = sorted((word.removeprefix(CAPTION_MARK) for word in content), key=lambda word: (-len(word), word))
    return " ".join(words[:2])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="Measure whether held-out sounds find photos of what makes them.")
    parser.add_argument("data", type=Path, help="folder with flickr8k, caltech101, imagenet_samples, esc50, teachers")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder with the weights (the shipped ones)")
    parser.add_argument("--picture", type=Path, help="PNG to write: what ten sounds find, each of another concept")
    parser.add_argument(
        "--include-training-photos", action="store_true", help="search all photos, most of which were trained on"
    )
    args = parser.parse_args()
    read_split(args.data)
    contents = {
        name: content
        for name, content in photo_contents(args.data).items()
        if args.include_training_photos or held_out(*name.split("/", 1))
    }
    ranking = rank(args.data, Space(PocketEncoder(args.weights)), contents)
    trained_on = "most" if args.include_training_photos else "none"
    print(f"sound->photo P@10 among {len(ranking.photos)} photos, {trained_on} of them trained on")
    print_precision(ranking)
    rows = examples(ranking, contents)
    for concept, found in rows:
        print(f"{concept}: {', '.join(photo.caption for photo in found)}")
    if args.picture:
        title = (
            f"What ten held-out sounds find among {len(ranking.photos):,} photos. Green: shows what makes the sound."
        )
        draw(rows, title, args.picture)


if __name__ == "__main__":
    main()
