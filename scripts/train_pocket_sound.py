"""Train the sound tower of the pocket model against photos in the anchor space. Goes on where it was.

    python scripts/train_pocket_sound.py HOME DATA --steps 4000 [--permuted | --unheard]

Every sound is put beside photos of what makes it (scripts/pocket_concepts.py); the tower sees these photos' vectors and
YAMNet's features of the same sound, and no text: `bindsearch.training.binding` is the loop, and is tested for that.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pocket_anchor import Anchor, Texts, held_out, read_split, thing_in
from pocket_concepts import own_words, shown_by
from pocket_photos import stored
from pocket_teachers import PhotoTeacher
from pocket_texts import SOUNDS, imagenet_names
from torch.nn import functional as F

from bindsearch.evaluation.split import sound_held_out
from bindsearch.records import unit
from bindsearch.training.binding import Binding, train
from bindsearch.training.emergent import embedded
from bindsearch.training.gathering import Sounds
from bindsearch.training.recipe import Recipe

SAME = 0.97
"""Cosine of YAMNet's features from which two windows may be of one recording."""
FEWEST, ENOUGH, MOST = 3, 20, 200
"""Photos that a concept needs to be learnt, that it is filled up to, and that it is given."""
LIKELY = 60
"""Photos of a source that the photo teacher may take for one class."""
ESC = re.compile(r"\d-\d+-[A-Z]-\d+\.\w+")
"""How ESC-50 calls its clips."""


class Photos:
    """Vectors of all training photos, found by class, by caption, and by what the photo teacher takes them for."""

    def __init__(self, home: Path, data: Path, anchor: Anchor) -> None:
        read_split(data)
        teacher = PhotoTeacher(data / "teachers" / "mobilenet_v2_imagenet.tflite")
        synonyms = imagenet_names(data)
        samples = sorted((home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines())
        words = {name[:9]: synonyms[place + 1][0] for place, name in enumerate(samples)}
        captions = _captions(data)
        self.by_class: dict[str, list[int]] = defaultdict(list)
        self.by_word: dict[str, list[int]] = defaultdict(list)
        blocks, count = [], 0
        likely: list[tuple[float, int, int]] = []
        for folder in sorted(path.parent for path in home.glob("cache/photos/*/names.txt")):
            if "." in folder.name:
                continue  # a part of a photo need not show what is heard
            names = (folder / "names.txt").read_text().splitlines()
            features = stored(folder, "features.f16").astype(np.float32)
            kept = [row for row, name in enumerate(names) if not held_out(folder.name, name)]
            shares = torch.from_numpy(teacher.logits(features[kept])).softmax(dim=1)
            best, places = shares.topk(min(LIKELY, len(kept)), dim=0)
            likely += [
                (float(share), place, count + int(photo))
                for place in range(1, len(synonyms))
                for share, photo in zip(best[:, place].tolist(), places[:, place].tolist(), strict=True)
                if share > 0.15
            ]
            for place, row in enumerate(kept):
                thing = thing_in(folder.name, names[row], words)
                if thing:
                    self.by_class[thing.lower()].append(count + place)
                if folder.name.startswith("pairs_"):
                    self.by_class[Path(names[row]).stem.replace("_", " ").lower()].append(count + place)
                if folder.name == "flickr8k":
                    for word in captions.get(names[row], ()):
                        self.by_word[word].append(count + place)
            blocks.append(anchor.images(torch.from_numpy(features[kept])).numpy())
            count += len(kept)
        self.vectors = np.concatenate(blocks)

    def of(self, concept: str) -> NDArray[np.float32]:
        """Vectors of photos of what makes a sound; few or none where nothing is known of it.

        Where they are few, the photos that look most like all of them are put beside them.
        """
        shown = shown_by().get(concept) or own_words(concept)
        rows = [row for name in shown.classes for row in self.by_class.get(name.lower(), ())][:MOST]
        said = [row for word in shown.words for row in self.by_word.get(word, ())]
        rows = list(dict.fromkeys(rows + said[: MOST - len(rows)]))
        if 0 < len(rows) < ENOUGH:
            alike = self.vectors @ self.vectors[rows].mean(axis=0)
            rows = list(dict.fromkeys(rows + np.argsort(-alike)[:ENOUGH].tolist()))[:ENOUGH]
        return self.vectors[rows]


def _captions(data: Path) -> dict[str, set[str]]:
    """Words that at least two captions of a training photo have in common."""
    said: dict[str, list[str]] = defaultdict(list)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                said[row["image"]] += set(re.findall(r"[a-z]+", row["caption"].lower()))
    return {image: {word for word in words if words.count(word) > 1} for image, words in said.items()}


@dataclass(frozen=True, slots=True)
class Heard:
    """All windows that were gathered."""

    spectra: NDArray[np.float16]
    features: NDArray[np.float16]
    clips: list[str]
    recordings: list[str]
    concepts: list[str]


def gathered(home: Path) -> Heard:
    """Read `cache/sounds`."""
    spectra, features, rows = [], [], []
    for folder in sorted(path.parent for path in home.glob("cache/sounds/*/windows.txt")):
        lines = [line.split("\t") for line in (folder / "windows.txt").read_text().splitlines()]
        spectra.append(np.fromfile(folder / "spectra.f16", np.float16).reshape(-1, 200, 64)[: len(lines)])
        features.append(np.fromfile(folder / "features.f16", np.float16).reshape(-1, 1024)[: len(lines)])
        rows += lines
    clips, recordings, concepts = (list(column) for column in zip(*rows, strict=True))
    return Heard(np.concatenate(spectra), np.concatenate(features), clips, recordings, concepts)


def measured_by(clip: str, recording: str) -> bool:
    """ESC-50: a quarter of the recordings. UrbanSound8K: fold 10. Named sounds: two whole collections."""
    return sound_held_out(clip, recording)


def without_copies(heard: Heard) -> Heard:
    """Leave out every training clip that sounds to the teacher like one that is measured by, under whatever name."""
    rows = torch.from_numpy(heard.features.astype(np.float32))
    rows = F.normalize(rows, dim=1)
    dev = np.array([measured_by(*each) for each in zip(heard.clips, heard.recordings, strict=True)])
    exam = dev & np.array(["/fold10/" not in clip for clip in heard.clips])
    nearest = torch.cat([(part @ rows[exam].T).amax(dim=1) for part in rows.split(2048)]).numpy()
    copies = {clip for clip, near, out in zip(heard.clips, nearest, dev, strict=True) if near > SAME and not out}
    kept = np.array([clip not in copies for clip in heard.clips])
    print(f"{len(copies)} clips left out that may be copies of what is measured by", flush=True)
    lists = [[each for each, keep in zip(column, kept, strict=True) if keep] for column in _columns(heard)]
    return Heard(heard.spectra[kept], heard.features[kept], *lists)


def _columns(heard: Heard) -> tuple[list[str], list[str], list[str]]:
    return heard.clips, heard.recordings, heard.concepts


def unheard(heard: Heard) -> set[str]:
    """Twelve of ESC-50's concepts, drawn by their names' hashes, and whatever else shares their photos."""
    known = {what for clip, what in zip(heard.clips, heard.concepts, strict=True) if ESC.fullmatch(clip)}
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:12]
    table = shown_by()
    lines = [table[name] for name in drawn if name in table]
    return set(drawn) | {name for name, line in table.items() if line in lines}


def paired(heard: Heard, photos: Photos) -> tuple[Sounds, NDArray[np.intp]]:
    """Put sounds beside photos; which windows found any."""
    names = sorted(set(heard.concepts))
    pictures = {name: photos.of(name) for name in names}
    known = [name for name in names if len(pictures[name]) >= FEWEST]
    kept = np.array([row for row, name in enumerate(heard.concepts) if name in set(known)])
    clips = {clip: number for number, clip in enumerate(dict.fromkeys(heard.clips))}
    sounds = Sounds(
        spectra=heard.spectra[kept].astype(np.float32),
        owners=np.array([known.index(heard.concepts[row]) for row in kept]),
        clips=np.array([clips[heard.clips[row]] for row in kept]),
        dev=np.array([measured_by(heard.clips[row], heard.recordings[row]) for row in kept]),
        pictures=tuple(pictures[name] for name in known),
        concepts=tuple(known),
        hashes=(),
    )
    print(f"{len(known)} of {len(names)} concepts have photos; {len(kept)} of {len(heard.clips)} windows", flush=True)
    return sounds, kept


class Examiner:
    """ESC-50's held-out recordings: by text, text to sound, and sound to photo. Nothing here reaches the training."""

    def __init__(
        self,
        sounds: Sounds,
        heard: Heard,
        kept: NDArray[np.intp],
        *,
        anchor: Anchor,
        texts: Texts,
        among: set[str] | None = None,
    ) -> None:
        """`among`: of these concepts alone."""
        names = [heard.clips[row] for row in kept]
        rows = [
            row
            for row, name in enumerate(names)
            if sounds.dev[row] and ESC.fullmatch(name) and (not among or sounds.concepts[sounds.owners[row]] in among)
        ]
        self._spectra, self._sounds = sounds.spectra[rows], sounds
        _, first, self._whose = np.unique(sounds.clips[rows], return_index=True, return_inverse=True)
        concepts = np.array(sounds.concepts)
        self._truth = concepts[sounds.owners[rows][first]]
        labels = {what for name, what in zip(heard.clips, heard.concepts, strict=True) if ESC.fullmatch(name)}
        self._labels = np.array(sorted(labels & among if among else labels))
        asked = [anchor.texts(texts.vectors[_prompts(str(label), texts)]).mean(dim=0) for label in self._labels]
        self._texts = F.normalize(torch.stack(asked), dim=1).numpy()
        shows: dict[bytes, set[str]] = defaultdict(set)
        for concept, rows in zip(sounds.concepts, sounds.pictures, strict=True):
            for row in rows if concept in self._labels else ():
                shows[row.tobytes()].add(concept)
        self._pictures = np.stack([np.frombuffer(row, np.float32) for row in shows])
        self._shown = np.array([[truth in what for what in shows.values()] for truth in self._truth])

    def examine(self, tower: torch.nn.Module) -> str:
        """Measure a tower."""
        rows = embedded(tower, self._spectra)
        clips = np.zeros((len(self._truth), rows.shape[1]), np.float32)
        np.add.at(clips, self._whose, rows)
        clips = unit(clips)
        alike = clips @ self._texts.T
        right = (self._labels[alike.argmax(axis=1)] == self._truth).mean()
        near = (clips @ self._pictures.T).argsort(axis=1)[:, ::-1][:, :10]
        precise = np.take_along_axis(self._shown, near, axis=1).mean()
        found, mean = _retrieved(alike, self._truth[:, None] == self._labels[None, :])
        figures = f"zero-shot {right:.3f} text->sound R@10 {found:.3f} mAP {mean:.3f} sound->photo P@10 {precise:.3f}"
        return f"ESC-50 dev {len(clips)} clips {figures}"


def _retrieved(alike: NDArray[np.float32], own: NDArray[np.bool_]) -> tuple[float, float]:
    """Mean over labels of the share of their clips among the first ten, and of their average precision."""
    own = np.take_along_axis(own, np.argsort(-alike, axis=0, kind="stable"), axis=0)[:, own.any(axis=0)]
    found = own[:10].sum(axis=0) / np.minimum(10, own.sum(axis=0))
    precision = own.cumsum(axis=0) / np.arange(1, len(own) + 1)[:, None]
    return float(found.mean()), float(((precision * own).sum(axis=0) / own.sum(axis=0)).mean())


def _prompts(name: str, texts: Texts) -> list[int]:
    rows = [texts.place.get(("sound", prompt.format(name))) for prompt in SOUNDS] + [texts.place.get(("name", name))]
    return [row for row in rows if row is not None]


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="train the sound tower")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--permuted", action="store_true", help="the control: every sound beside the wrong photos")
    parser.add_argument("--unheard", action="store_true", help="leave twelve concepts out, and measure by them")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    anchor, texts = Anchor.load(given.home / "anchor"), Texts(given.home / "cache" / "texts")
    assert anchor is not None, "train the anchor space first"
    heard = without_copies(gathered(given.home))
    sounds, kept = paired(heard, Photos(given.home, given.data, anchor))
    among = unheard(heard) if given.unheard else None
    examiner = Examiner(sounds, heard, kept, anchor=anchor, texts=texts, among=among)
    if among:
        hidden = np.array([sounds.concepts[owner] in among for owner in sounds.owners])
        sounds = replace(sounds, dev=sounds.dev | hidden)
    recipe = Recipe(
        steps=given.steps,
        batch=given.batch,
        chunk=given.batch,
        seed=given.seed,
        permuted=given.permuted,
    )
    binding = Binding(sounds, recipe, teacher=heard.features[kept].astype(np.float32))
    name = "sound-permuted" if given.permuted else "sound-unheard" if given.unheard else "sound"

    def watch(step: int, loss: float, at: Binding) -> None:
        print(f"step {step} loss {loss:.3f} {examiner.examine(at.kept)}", flush=True)

    train(binding, given.home / "ckpt" / f"{name}.pt", watch=watch, every=100)


if __name__ == "__main__":
    main()
