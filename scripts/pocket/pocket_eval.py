"""What `bindsearch eval` cannot ask of the pocket space: do held-out sounds find photos of what makes them?

Which photos show what is the table that the training used (scripts/pocket/pocket_concepts.py). The sounds are ESC-50's
held-out recordings, which it did not hear, the photos those that it did not see. Prints precision at 10: of the
concepts that can fill ten places, of all, and of each; and what ten sounds find.

    python scripts/pocket/pocket_eval.py DATA [--weights FOLDER] [--picture FILE] [--seen]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from bindsearch.encoders.pocket.encoder import WEIGHTS, PocketEncoder
from numpy.typing import NDArray
from PIL import Image
from pocket_anchor import held_out, read_split
from pocket_concepts import own_words, shown_by
from pocket_neighbours import ScannedFile, draw
from pocket_sounds import decoded, esc50
from pocket_texts import imagenet_names

from bindsearch.core.vectors import unit
from bindsearch.evaluation.metrics import interval
from bindsearch.evaluation.readers_image import caltech_name
from bindsearch.evaluation.split import sound_held_out
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, Vectors

RATE = 16_000
MOST = 40
"""Photos of one concept: no concept fills the gallery."""
PLACES = 10
"""Of the nearest photos, so many are looked at."""


def tokens(data: Path) -> dict[str, set[str]]:
    """What each photo shows: its class, or the words that two of its captions share."""
    found: dict[str, set[str]] = {}
    with tarfile.open(data / "caltech101" / "images.tar") as tar:
        found |= {f"caltech101/{each.name}": {caltech_name(each.name.split("/")[0]).lower()} for each in tar}
    with tarfile.open(data / "imagenet_samples" / "images.tar") as tar:
        names = sorted(each.name for each in tar)
    synonyms = imagenet_names(data)[1:]
    found |= {f"imagenet_samples/{name}": {synonyms[row][0].lower()} for row, name in enumerate(names)}
    said: dict[str, Counter[str]] = defaultdict(Counter)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            said[row["image"]].update(set(re.findall(r"[a-z]+", row["caption"].lower())))
    return found | {
        f"flickr8k/{name}": {f"said {word}" for word, times in counts.items() if times > 1}
        for name, counts in said.items()
    }


def gallery(shown: dict[str, set[str]], concepts: list[str]) -> dict[str, set[int]]:
    """Photos that show what makes one of the sounds, and the numbers of the concepts that they show."""
    photos: dict[str, set[int]] = defaultdict(set)
    order = np.random.default_rng(0).permutation(sorted(shown)).tolist()
    for number, concept in enumerate(concepts):
        line = shown_by().get(concept) or own_words(concept)
        wanted = {name.lower() for name in line.classes} | {f"said {word}" for word in line.words}
        for name in [name for name in order if shown[name] & wanted][:MOST]:
            photos[name].add(number)
    return photos


def opened(data: Path, names: list[str]) -> Iterator[Piece]:
    """Photos out of their tar files, in order."""
    tars = {name: tarfile.open(data / name / "images.tar") for name in {name.split("/")[0] for name in names}}
    for name in names:
        source, _, member = name.partition("/")
        file = tars[source].extractfile(member)
        assert file is not None
        yield Piece(Modality.IMAGE, Image.open(io.BytesIO(file.read())).convert("RGB"))


def heard(space: Space, content: bytes) -> Vectors:
    """A clip's mean over its windows."""
    samples = decoded(content)
    starts = range(0, max(1, len(samples) - RATE), 2 * RATE)
    mean: Vectors = space.embed_pieces([Piece(Modality.AUDIO, samples[at : at + 2 * RATE]) for at in starts]).mean(
        axis=0
    )
    return mean


def precision(near: NDArray[np.intp], shows: list[set[int]], truth: NDArray[np.intp]) -> NDArray[np.float64]:
    """Share of the nearest photos that show what is heard, of every sound. *Shape:* (n, k) to (n,)."""
    return np.array([np.mean([t in shows[row] for row in rows]) for rows, t in zip(near, truth, strict=True)])


def in_words(said: set[str], heard: str, *, right: bool) -> str:
    """What a photo shows: what is heard, or its own class, or the two longest words of its captions."""
    words = sorted((word.removeprefix("said ") for word in said), key=lambda word: (-len(word), word))
    return heard if right else " ".join(words[:2])


def told(share: NDArray[np.float64], recordings: list[str], exchanged: NDArray[np.float64], chance: float) -> str:
    """Say a precision, its interval over recordings, and its controls."""
    _, groups = np.unique(recordings, return_inverse=True)
    low, high = interval(share, groups)
    return (
        f"{share.mean():.3f} ({low:.3f} to {high:.3f}), concepts exchanged {exchanged.mean():.3f}, chance {chance:.3f}"
    )


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="measure sounds to photos")
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--picture", type=Path, help="draw what ten sounds find, each of another concept")
    parser.add_argument("--seen", action="store_true", help="among all photos, most of which were trained on")
    given = parser.parse_args()
    read_split(given.data)
    space = Space(PocketEncoder(given.weights))
    clips = list(esc50(given.data))
    concepts = sorted({clip.concept for clip in clips})
    said = {name: shown for name, shown in tokens(given.data).items() if given.seen or held_out(*name.split("/", 1))}
    photos = gallery(said, concepts)
    names, shows = list(photos), list(photos.values())
    seen = space.embed_pieces(list(opened(given.data, names)))
    many = Counter(number for numbers in shows for number in numbers)
    held = [clip for clip in clips if sound_held_out(clip.name, clip.recording) and many[concepts.index(clip.concept)]]
    truth = np.array([concepts.index(clip.concept) for clip in held])
    scores = unit(np.stack([heard(space, clip.content) for clip in held])) @ seen.T
    near = np.argsort(-scores, axis=1, kind="stable")[:, :PLACES]
    share = precision(near, shows, truth)
    turned = np.roll(np.unique(truth), 1)[np.searchsorted(np.unique(truth), truth)]
    exchanged = precision(near, shows, turned)
    counts = np.array([many[number] for number in truth])
    print(f"sound->photo P@10 among {len(names)} photos, {'most' if given.seen else 'none'} of them trained on")
    for which, said_of in ((counts >= PLACES, "with ten photos"), (counts > 0, "with any photo")):
        recordings = [clip.recording for clip, kept in zip(held, which, strict=True) if kept]
        figures = told(share[which], recordings, exchanged[which], float(np.mean(counts[which])) / len(names))
        most = np.minimum(counts[which] / PLACES, 1).mean()
        print(f"{sum(which)} clips of the {len(set(truth[which]))} concepts {said_of}, at most {most:.3f}: {figures}")
    for number in sorted(set(truth), key=lambda number: -share[truth == number].mean()):
        print(f"  {share[truth == number].mean():.2f} {concepts[number]}, {many[number]} photos")
    drawn = np.random.default_rng(1).permutation(len(held))
    ten = list({held[row].concept: row for row in drawn[::-1]}.values())[::-1][:10]
    rows = []
    for row in ten:
        heard_is, right = held[row].concept, [truth[row] in shows[place] for place in near[row, :6]]
        words = [said[names[place]] for place in near[row, :6]]
        found = [ScannedFile(in_words(each, heard_is, right=yes), yes) for each, yes in zip(words, right, strict=True)]
        rows.append((heard_is, found))
    for heard_is, found in rows:
        print(f"{heard_is}: {', '.join(photo.shows for photo in found)}")
    if given.picture:
        draw(
            rows,
            f"What ten held-out sounds find among {len(names):,} photos. Green: it shows what is heard.",
            given.picture,
        )


if __name__ == "__main__":
    main()
