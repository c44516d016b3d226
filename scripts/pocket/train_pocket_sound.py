"""Bind what the sound tower hears to photos: the last step, in which sounds find their places in the space.

    python scripts/pocket/train_pocket_sound.py HOME DATA

The tower has learnt to hear (train_pocket_hearing.py), and photos have their places (train_pocket_anchor.py --tower).
Every sound is put beside photos of what makes it (scripts/pocket/pocket_concepts.py), as the photo tower sees them,
and no
text: `bindsearch.training.trainer` is the loop, and is tested for that. What is trained is small: minutes. Two more are
trained to measure by: the control, beside the wrong photos, and one that never met the photos of twelve concepts.
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
from bindsearch.encoders.pocket.spectrogram import FRAMES, normalise
from bindsearch.encoders.pocket.towers import AttentionPoolingHead, AudioTower, ImageTower
from numpy.typing import NDArray
from pocket_anchor import Anchor, Texts, held_out, read_split, thing_in
from pocket_concepts import own_words, shown_by
from pocket_photos import stored
from pocket_sounds import gathered
from pocket_teachers import PhotoTeacher
from pocket_texts import SOUNDS, imagenet_names
from torch.nn import functional as F
from train_pocket_hearing import left_out
from train_pocket_photo import seen

from bindsearch.core.vectors import unit
from bindsearch.evaluation.split import sound_held_out
from bindsearch.training.config import TrainingConfig
from bindsearch.training.held_out_evaluation import embed_windows
from bindsearch.training.trainer import Trainer, train
from bindsearch.training.training_data import TrainingData

QUIET = -4.0
"""A window that is nowhere louder has nothing to learn from."""
FEWEST, ENOUGH, MOST = 3, 20, 200
"""Photos that a concept needs to be learnt, that it is filled up to, and that it is given."""
LIKELY = 60
"""Photos of a source that the photo teacher may take for one class."""
ESC = re.compile(r"\d-\d+-[A-Z]-\d+\.\w+")
"""How ESC-50 calls its clips."""


class Photos:
    """All training photos, found by class, by caption, and by what the photo teacher takes them for."""

    def __init__(self, home: Path, data: Path, anchor: Anchor) -> None:
        read_split(data)
        teacher = PhotoTeacher(data / "teachers" / "mobilenet_v2_imagenet.tflite")
        synonyms = imagenet_names(data)
        samples = sorted((home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines())
        words = {name[:9]: synonyms[place + 1][0] for place, name in enumerate(samples)}
        captions = _captions(data)
        self.by_class: dict[str, list[int]] = defaultdict(list)
        self.by_word: dict[str, list[int]] = defaultdict(list)
        self._where: list[tuple[Path, int]] = []
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
            self._where += [(folder, row) for row in kept]
            count += len(kept)
        for _, place, photo in sorted(likely, reverse=True):
            for name in synonyms[place]:
                self.by_class[name.lower()].append(photo)
        self._taught = np.concatenate(blocks)

    def of(self, concept: str) -> list[int]:
        """Photos of what makes a sound; few or none where nothing is known of it.

        Where they are few, the photos that look most like all of them are put beside them.
        """
        shown = shown_by().get(concept) or own_words(concept)
        rows = [row for name in shown.classes for row in self.by_class.get(name.lower(), ())][:MOST]
        said = [row for word in shown.words for row in self.by_word.get(word, ())]
        rows = list(dict.fromkeys(rows + said[: MOST - len(rows)]))
        if 0 < len(rows) < ENOUGH:
            alike = self._taught @ self._taught[rows].mean(axis=0)
            rows = list(dict.fromkeys(rows + np.argsort(-alike)[:ENOUGH].tolist()))[:ENOUGH]
        return rows

    def seen(self, rows: list[int], tower: ImageTower, anchor: Anchor) -> NDArray[np.float32]:
        """Vectors of photos as the photo tower sees them. *Shape:* (len(rows), dim)."""
        found = np.empty((len(rows), self._taught.shape[1]), np.float32)
        by_folder: dict[Path, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            by_folder[self._where[row][0]].append(place)
        for folder, places in by_folder.items():
            pixels = stored(folder, "pixels.u8")[[self._where[rows[place]][1] for place in places]]
            found[places] = anchor.images(seen(tower, pixels)).numpy()
        return found


def _captions(data: Path) -> dict[str, set[str]]:
    """Words that at least two captions of a training photo have in common."""
    said: dict[str, list[str]] = defaultdict(list)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                said[row["image"]] += set(re.findall(r"[a-z]+", row["caption"].lower()))
    return {image: {word for word in words if words.count(word) > 1} for image, words in said.items()}


RECIPE = TrainingConfig(
    batch=256,
    chunk=256,
    learning_rate=2e-3,
    temperature=0.1,
    positives=1,
    max_mask_share=0.0,
    mixed_share=0.0,
    average_decay=0.99,
    bfloat16=False,
)
"""Moments of sound are bound, not spectrograms: what is hidden of these, and mixed, was so while hearing was learnt."""


@dataclass(frozen=True, slots=True)
class Heard:
    """All windows of clips that have names, and what the tower hears in them."""

    moments: NDArray[np.float32]
    """*Shape:* (n, moments, features)."""
    clips: list[str]
    recordings: list[str]
    concepts: list[str]


@torch.no_grad()
def heard(home: Path) -> Heard:
    """Listen to every clip that may be used, with the tower that learnt to hear."""
    state = torch.load(home / "ckpt" / "hearing.pt", weights_only=True)["average"]
    tower = AudioTower()
    kept = {name.removeprefix("tower."): value for name, value in state.items() if name.startswith("tower.")}
    tower.load_state_dict(kept)
    tower.eval().to(memory_format=torch.channels_last)
    found, rows = [], []
    for clip, left in zip(gathered(home), left_out(home), strict=True):
        copied = left and not sound_held_out(clip.name, clip.recording)
        starts = range(0, max(1, len(clip.frames) - FRAMES + 1), FRAMES // 2)
        windows = [np.resize(clip.frames[start : start + FRAMES], (FRAMES, clip.frames.shape[1])) for start in starts]
        windows = [window for window in windows if window.max() > QUIET]
        if not clip.concept or copied or not windows:
            continue
        found.append(tower.frame_features(torch.from_numpy(normalise(np.stack(windows).astype(np.float32)))).numpy())
        rows += [(clip.name, clip.recording, clip.concept)] * len(windows)
    clips, recordings, concepts = (list(column) for column in zip(*rows, strict=True))
    return Heard(np.concatenate(found), clips, recordings, concepts)


def unheard(heard: Heard) -> set[str]:
    """Twelve of ESC-50's concepts, drawn by their names' hashes, and whatever else shares their photos."""
    known = {what for clip, what in zip(heard.clips, heard.concepts, strict=True) if ESC.fullmatch(clip)}
    drawn = sorted(known, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:12]
    table = shown_by()
    lines = [table[name] for name in drawn if name in table]
    return set(drawn) | {name for name, line in table.items() if line in lines}


def paired(heard: Heard, photos: Photos, tower: ImageTower, anchor: Anchor) -> tuple[TrainingData, NDArray[np.intp]]:
    """Put sounds beside photos; which windows found any."""
    names = sorted(set(heard.concepts))
    shown = {name: photos.of(name) for name in names}
    known = [name for name in names if len(shown[name]) >= FEWEST]
    used = sorted({row for name in known for row in shown[name]})
    vectors, place = photos.seen(used, tower, anchor), {row: number for number, row in enumerate(used)}
    kept = np.array([row for row, name in enumerate(heard.concepts) if name in set(known)])
    clips = {clip: number for number, clip in enumerate(dict.fromkeys(heard.clips))}
    sounds = TrainingData(
        spectra=heard.moments[kept],
        owners=np.array([known.index(heard.concepts[row]) for row in kept]),
        clips=np.array([clips[heard.clips[row]] for row in kept]),
        dev=np.array([sound_held_out(heard.clips[row], heard.recordings[row]) for row in kept]),
        pictures=tuple(vectors[[place[row] for row in shown[name]]] for name in known),
        concepts=tuple(known),
        hashes=(),
    )
    print(f"{len(known)} of {len(names)} concepts have photos, {len(used)} in all; ", end="")
    print(f"{len(kept)} of {len(heard.clips)} windows", flush=True)
    return sounds, kept


class HeldOutEvaluator:
    """ESC-50's held-out recordings: by text, text to sound, and sound to photo. Nothing here reaches the training."""

    def __init__(
        self,
        sounds: TrainingData,
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

    def evaluate(self, tower: torch.nn.Module) -> str:
        """Measure a tower."""
        rows = embed_windows(tower, self._spectra)
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


def started(sounds: TrainingData, drop: float = 0.3) -> AttentionPoolingHead:
    """Build what is trained: it begins at the mean and the spread of what is heard."""
    features = torch.from_numpy(sounds.spectra[sounds.rows(dev=False)]).mean(dim=1)
    listening = AttentionPoolingHead(features.shape[1], drop=drop)
    listening.head.mean.copy_(features.mean(dim=0))
    listening.head.scale.copy_(features.std(dim=0) + 0.05 * features.std())
    return listening


def main() -> None:
    """Read the command line and train: what is shipped, its control, and one that never met twelve concepts."""
    parser = argparse.ArgumentParser(description="bind the sound tower to photos")
    parser.add_argument("home", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    anchor, seeing = Anchor.load(given.home / "anchor"), Anchor.load(given.home / "tower")
    assert anchor is not None, "train the anchor space first"
    assert seeing is not None, "train the photo tower and its head first"
    texts, windows = Texts(given.home / "cache" / "texts"), heard(given.home)
    sounds, kept = paired(windows, Photos(given.home, given.data, anchor), photo_tower(given.home), seeing)
    among = unheard(windows)
    hidden = np.array([sounds.concepts[owner] in among for owner in sounds.owners])
    examined = HeldOutEvaluator(sounds, windows, kept, anchor=anchor, texts=texts)
    strictly = HeldOutEvaluator(sounds, windows, kept, anchor=anchor, texts=texts, among=among)
    plain = replace(RECIPE, steps=given.steps, seed=given.seed)
    for name, config, data, evaluator in (
        ("sound", plain, sounds, examined),
        ("sound-permuted", replace(plain, permuted=True), sounds, examined),
        ("sound-unheard", plain, replace(sounds, dev=sounds.dev | hidden), strictly),
    ):
        torch.manual_seed(given.seed)
        trainer = Trainer(data, config, tower=started(data))

        def report(
            step: int, loss: float, at: Trainer, evaluator: HeldOutEvaluator = evaluator, name: str = name
        ) -> None:
            print(f"{name} step {step} loss {loss:.3f} {evaluator.evaluate(at.averaged_tower)}", flush=True)

        train(trainer, given.home / "ckpt" / f"{name}.pt", on_progress=report, every=200)


def photo_tower(home: Path) -> ImageTower:
    """Read the photo tower as it is shipped."""
    state = torch.load(home / "ckpt" / "photo.pt", weights_only=True)["average"]
    tower = ImageTower()
    kept = {name.removeprefix("tower."): value for name, value in state.items() if name.startswith("tower.")}
    tower.load_state_dict(kept)
    return tower.eval().to(memory_format=torch.channels_last)


if __name__ == "__main__":
    main()
