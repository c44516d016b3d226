"""Bind sounds to photos: the last training step, which gives sounds their vectors in the space.

    python scripts/pocket/bind_sounds.py HOME DATA

The pretrained sound tower (train_sound_tower.py) stays frozen. Only attention over its frames and a head are trained,
in minutes: every sound is paired with photos of what makes it (concept_photos.py), embedded by the photo tower. No text
takes part; `bindsearch.training.trainer` is the loop, and its tests show that.

Two more heads are trained for evaluation: a control, bound to the wrong photos, and one without the photos of twelve
concepts.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anchor_space import AnchorSpace, GatheredTexts, class_of_photo, held_out, read_split
from bindsearch.encoders.pocket.spectrogram import FRAMES, normalise
from bindsearch.encoders.pocket.towers import AttentionPoolingHead, AudioTower, ImageTower
from concept_photos import photo_terms, terms_by_concept
from gather_photos import map_array
from gather_sounds import read_clips
from gather_texts import SOUND_PROMPTS, imagenet_names
from numpy.typing import NDArray
from teachers import PhotoTeacher
from torch.nn import functional as F
from train_photo_tower import tower_features
from train_sound_tower import excluded_clips

from bindsearch.core.vectors import unit
from bindsearch.evaluation.split import sound_held_out
from bindsearch.training.config import TrainingConfig
from bindsearch.training.held_out_evaluation import embed_windows
from bindsearch.training.trainer import Trainer, train
from bindsearch.training.training_data import TrainingData

SILENCE = -4.0
"""Log-mel value that no frame of a silent window exceeds; silent windows are not used."""
MIN_PHOTOS = 3
"""A concept with fewer photos is not trained on."""
FILL_PHOTOS = 20
"""A concept with fewer photos gets those most similar to them as well."""
MAX_PHOTOS = 200
"""Photos of one concept."""
MAX_PER_CLASS = 60
"""Photos of a source that the photo teacher may add to one class..."""
MIN_PROBABILITY = 0.15
"""...if it gives the class a higher probability than this."""
UNPAIRED_CONCEPTS = 12
ESC50_NAME = re.compile(r"\d-\d+-[A-Z]-\d+\.\w+")
"""File names of ESC-50's clips."""


class ConceptPhotos:
    """All training photos, found by class, by caption word, and by the photo teacher's class probabilities."""

    def __init__(self, home: Path, data: Path, space: AnchorSpace) -> None:
        read_split(data)
        self._teacher = PhotoTeacher(data / "teachers" / "mobilenet_v2_imagenet.tflite")
        self._synonyms = imagenet_names(data)
        samples = sorted((home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines())
        self._wordnet_names = {name[:9]: self._synonyms[row + 1][0] for row, name in enumerate(samples)}
        self._caption_words = _caption_words(data)
        self.by_class: dict[str, list[int]] = defaultdict(list)
        self.by_word: dict[str, list[int]] = defaultdict(list)
        self._files: list[tuple[Path, int]] = []
        """The folder and row of each photo."""
        blocks = []
        recognised: list[tuple[float, int, int]] = []
        for folder in sorted(path.parent for path in home.glob("cache/photos/*/names.txt")):
            if "." in folder.name:
                continue  # a crop need not show what makes the sound
            names = (folder / "names.txt").read_text().splitlines()
            features = map_array(folder, "features.f16").astype(np.float32)
            rows = [row for row, name in enumerate(names) if not held_out(folder.name, name)]
            recognised += self._recognise(features[rows], first=len(self._files))
            for number, row in enumerate(rows, len(self._files)):
                self._add(number, folder.name, names[row])
            blocks.append(space.embed_images(torch.from_numpy(features[rows])).numpy())
            self._files += [(folder, row) for row in rows]
        for _, label, number in sorted(recognised, reverse=True):
            for name in self._synonyms[label]:
                self.by_class[name.lower()].append(number)
        self._teacher_vectors = np.concatenate(blocks)

    def _recognise(self, features: NDArray[np.float32], *, first: int) -> list[tuple[float, int, int]]:
        """Return the photos that the teacher recognises: probability, class, and number counted from `first`."""
        probabilities = torch.from_numpy(self._teacher.logits(features)).softmax(dim=1)
        best, photos = probabilities.topk(min(MAX_PER_CLASS, len(features)), dim=0)
        return [
            (float(probability), label, first + int(photo))
            for label in range(1, len(self._synonyms))
            for probability, photo in zip(best[:, label].tolist(), photos[:, label].tolist(), strict=True)
            if probability > MIN_PROBABILITY
        ]

    def _add(self, number: int, source: str, name: str) -> None:
        """File a photo under its class and the words of its captions."""
        label = class_of_photo(source, name, self._wordnet_names)
        if label:
            self.by_class[label.lower()].append(number)
        if source.startswith("pairs_"):
            self.by_class[Path(name).stem.replace("_", " ").lower()].append(number)
        if source == "flickr8k":
            for word in self._caption_words.get(name, ()):
                self.by_word[word].append(number)

    def of(self, concept: str) -> list[int]:
        """Return photos of what makes a sound; few or none if nothing is known of it.

        A concept with few photos gets the photos most similar to their mean as well.
        """
        terms = photo_terms(concept)
        photos = [photo for name in terms.classes for photo in self.by_class.get(name.lower(), ())][:MAX_PHOTOS]
        captioned = [photo for word in terms.words for photo in self.by_word.get(word, ())]
        photos = list(dict.fromkeys(photos + captioned[: MAX_PHOTOS - len(photos)]))
        if 0 < len(photos) < FILL_PHOTOS:
            similarity = self._teacher_vectors @ self._teacher_vectors[photos].mean(axis=0)
            photos = list(dict.fromkeys(photos + np.argsort(-similarity)[:FILL_PHOTOS].tolist()))[:FILL_PHOTOS]
        return photos

    def embed(self, photos: list[int], tower: ImageTower, space: AnchorSpace) -> NDArray[np.float32]:
        """Return vectors of photos by the photo tower. *Shape:* (photos, dim)."""
        vectors = np.empty((len(photos), self._teacher_vectors.shape[1]), np.float32)
        by_folder: dict[Path, list[int]] = defaultdict(list)
        for position, photo in enumerate(photos):
            by_folder[self._files[photo][0]].append(position)
        for folder, positions in by_folder.items():
            pixels = map_array(folder, "pixels.u8")[[self._files[photos[position]][1] for position in positions]]
            vectors[positions] = space.embed_images(tower_features(tower, pixels)).numpy()
        return vectors


def _caption_words(data: Path) -> dict[str, set[str]]:
    """Return the words that at least two captions of a training photo have in common."""
    words_by_photo: dict[str, list[str]] = defaultdict(list)
    with (data / "flickr8k" / "captions.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] == "train":
                words_by_photo[row["image"]] += set(re.findall(r"[a-z]+", row["caption"].lower()))
    return {photo: {word for word in words if words.count(word) > 1} for photo, words in words_by_photo.items()}


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
"""Without masking and mixing: the inputs are features, whose training had both already."""


@dataclass(frozen=True, slots=True)
class SoundWindows:
    """All windows of named clips, with the pretrained tower's frame features."""

    features: NDArray[np.float32]
    """*Shape:* (n, frames, features)."""
    clips: list[str]
    recordings: list[str]
    concepts: list[str]


@torch.no_grad()
def read_windows(home: Path) -> SoundWindows:
    """Encode every named clip that is not a copy of a held-out one, with the pretrained tower."""
    tower = AudioTower()
    tower.load_state_dict(_tower_state(home / "ckpt" / "hearing.pt"))
    tower.eval().to(memory_format=torch.channels_last)
    features, rows = [], []
    for clip, excluded in zip(read_clips(home), excluded_clips(home), strict=True):
        copied = excluded and not sound_held_out(clip.name, clip.recording)
        starts = range(0, max(1, len(clip.frames) - FRAMES + 1), FRAMES // 2)
        windows = [np.resize(clip.frames[start : start + FRAMES], (FRAMES, clip.frames.shape[1])) for start in starts]
        windows = [window for window in windows if window.max() > SILENCE]
        if not clip.concept or copied or not windows:
            continue
        spectra = torch.from_numpy(normalise(np.stack(windows).astype(np.float32)))
        features.append(tower.frame_features(spectra).numpy())
        rows += [(clip.name, clip.recording, clip.concept)] * len(windows)
    clips, recordings, concepts = (list(column) for column in zip(*rows, strict=True))
    return SoundWindows(np.concatenate(features), clips, recordings, concepts)


def unpaired_concepts(windows: SoundWindows) -> set[str]:
    """Return twelve of ESC-50's concepts, drawn by the hashes of their names, and all that share their photos."""
    concepts = {what for clip, what in zip(windows.clips, windows.concepts, strict=True) if ESC50_NAME.fullmatch(clip)}
    drawn = sorted(concepts, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:UNPAIRED_CONCEPTS]
    table = terms_by_concept()
    terms = [table[name] for name in drawn if name in table]
    return set(drawn) | {name for name, each in table.items() if each in terms}


def pair(
    windows: SoundWindows, photos: ConceptPhotos, tower: ImageTower, space: AnchorSpace
) -> tuple[TrainingData, NDArray[np.intp]]:
    """Pair sounds with photos; return the training data, and the rows of the windows that have photos."""
    names = sorted(set(windows.concepts))
    photos_of = {name: photos.of(name) for name in names}
    concepts = [name for name in names if len(photos_of[name]) >= MIN_PHOTOS]
    used = sorted({photo for name in concepts for photo in photos_of[name]})
    vectors, position = photos.embed(used, tower, space), {photo: number for number, photo in enumerate(used)}
    rows = np.array([row for row, name in enumerate(windows.concepts) if name in set(concepts)])
    clips = {clip: number for number, clip in enumerate(dict.fromkeys(windows.clips))}
    data = TrainingData(
        spectra=windows.features[rows],
        owners=np.array([concepts.index(windows.concepts[row]) for row in rows]),
        clips=np.array([clips[windows.clips[row]] for row in rows]),
        dev=np.array([sound_held_out(windows.clips[row], windows.recordings[row]) for row in rows]),
        pictures=tuple(vectors[[position[photo] for photo in photos_of[name]]] for name in concepts),
        concepts=tuple(concepts),
        hashes=(),
    )
    print(f"{len(concepts)} of {len(names)} concepts have photos, {len(used)} in all; ", end="")
    print(f"{len(rows)} of {len(windows.clips)} windows", flush=True)
    return data, rows


class HeldOutEvaluator:
    """Measures ESC-50's held-out recordings: by text, text to sound, and sound to photo. Training uses none of it."""

    def __init__(
        self,
        data: TrainingData,
        windows: SoundWindows,
        window_rows: NDArray[np.intp],
        *,
        space: AnchorSpace,
        texts: GatheredTexts,
        only: set[str] | None = None,
    ) -> None:
        """`window_rows` are the rows of `windows` that `data` has; `only` restricts concepts and labels."""
        names = [windows.clips[row] for row in window_rows]
        rows = [
            row
            for row, name in enumerate(names)
            if data.dev[row] and ESC50_NAME.fullmatch(name) and (not only or data.concepts[data.owners[row]] in only)
        ]
        self._features = data.spectra[rows]
        _, first, self._clip_of_window = np.unique(data.clips[rows], return_index=True, return_inverse=True)
        self._truth = np.array(data.concepts)[data.owners[rows][first]]
        labels = {
            concept for name, concept in zip(windows.clips, windows.concepts, strict=True) if ESC50_NAME.fullmatch(name)
        }
        self._labels = np.array(sorted(labels & only if only else labels))
        self._text_vectors = _label_vectors([str(label) for label in self._labels], space, texts)
        concepts_by_photo: dict[bytes, set[str]] = defaultdict(set)
        for concept, vectors in zip(data.concepts, data.pictures, strict=True):
            for vector in vectors if concept in self._labels else ():
                concepts_by_photo[vector.tobytes()].add(concept)
        self._photo_vectors = np.stack([np.frombuffer(vector, np.float32) for vector in concepts_by_photo])
        self._relevant = np.array(
            [[truth in concepts for concepts in concepts_by_photo.values()] for truth in self._truth]
        )

    def evaluate(self, tower: torch.nn.Module) -> str:
        """Return a line of figures."""
        rows = embed_windows(tower, self._features)
        clips = np.zeros((len(self._truth), rows.shape[1]), np.float32)
        np.add.at(clips, self._clip_of_window, rows)
        clips = unit(clips)
        scores = clips @ self._text_vectors.T
        accuracy = (self._labels[scores.argmax(axis=1)] == self._truth).mean()
        nearest = (clips @ self._photo_vectors.T).argsort(axis=1)[:, ::-1][:, :10]
        p10 = np.take_along_axis(self._relevant, nearest, axis=1).mean()
        r10, mean_ap = _text_to_sound(scores, self._truth[:, None] == self._labels[None, :])
        figures = f"zero-shot {accuracy:.3f} text->sound R@10 {r10:.3f} mAP {mean_ap:.3f} sound->photo P@10 {p10:.3f}"
        return f"ESC-50 dev {len(clips)} clips {figures}"


def _text_to_sound(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> tuple[float, float]:
    """Return R@10 and mAP, averaged over labels. *Shape of both:* (clips, labels)."""
    order = np.argsort(-scores, axis=0, kind="stable")
    relevant = np.take_along_axis(relevant, order, axis=0)[:, relevant.any(axis=0)]
    recall = relevant[:10].sum(axis=0) / np.minimum(10, relevant.sum(axis=0))
    precision = relevant.cumsum(axis=0) / np.arange(1, len(relevant) + 1)[:, None]
    average_precision = (precision * relevant).sum(axis=0) / relevant.sum(axis=0)
    return float(recall.mean()), float(average_precision.mean())


def _label_vectors(labels: list[str], space: AnchorSpace, texts: GatheredTexts) -> NDArray[np.float32]:
    """Return the unit mean vector of each label's gathered prompts."""
    means = [space.embed_texts(texts.vectors[_prompt_rows(label, texts)]).mean(dim=0) for label in labels]
    vectors: NDArray[np.float32] = F.normalize(torch.stack(means), dim=1).numpy()
    return vectors


def _prompt_rows(name: str, texts: GatheredTexts) -> list[int]:
    keys = [*(("sound", prompt.format(name)) for prompt in SOUND_PROMPTS), ("name", name)]
    return [texts.row_of[key] for key in keys if key in texts.row_of]


def start_head(data: TrainingData, drop: float = 0.3) -> AttentionPoolingHead:
    """Return a new head that standardises the features of the training windows."""
    features = torch.from_numpy(data.spectra[data.rows(dev=False)]).mean(dim=1)
    pooling = AttentionPoolingHead(features.shape[1], drop=drop)
    pooling.head.mean.copy_(features.mean(dim=0))
    pooling.head.scale.copy_(features.std(dim=0) + 0.05 * features.std())
    return pooling


def read_photo_tower(home: Path) -> ImageTower:
    """Read the averaged photo tower."""
    tower = ImageTower()
    tower.load_state_dict(_tower_state(home / "ckpt" / "photo.pt"))
    return tower.eval().to(memory_format=torch.channels_last)


def _tower_state(path: Path) -> dict[str, Any]:
    """Read the averaged weights of the tower in a distillation checkpoint."""
    state = torch.load(path, weights_only=True)["average"]
    return {name.removeprefix("tower."): value for name, value in state.items() if name.startswith("tower.")}


def main() -> None:
    """Train the shipped head, the control with wrong photos, and the one without twelve concepts."""
    parser = argparse.ArgumentParser(description="Bind the sound tower to photos.")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("data", type=Path, help="folder with flickr8k and teachers")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    space, tower_space = AnchorSpace.load(args.home / "anchor"), AnchorSpace.load(args.home / "tower")
    assert space is not None, "run train_space.py first"
    assert tower_space is not None, "run train_photo_tower.py and train_space.py --tower first"
    texts, windows = GatheredTexts(args.home / "cache" / "texts"), read_windows(args.home)
    photos = ConceptPhotos(args.home, args.data, space)
    data, rows = pair(windows, photos, read_photo_tower(args.home), tower_space)
    unpaired = unpaired_concepts(windows)
    withheld = np.array([data.concepts[owner] in unpaired for owner in data.owners])
    evaluator = HeldOutEvaluator(data, windows, rows, space=space, texts=texts)
    unpaired_evaluator = HeldOutEvaluator(data, windows, rows, space=space, texts=texts, only=unpaired)
    config = replace(RECIPE, steps=args.steps, seed=args.seed)
    for name, run_config, run_data, run_evaluator in (
        ("sound", config, data, evaluator),
        ("sound-permuted", replace(config, permuted=True), data, evaluator),
        ("sound-unpaired", config, replace(data, dev=data.dev | withheld), unpaired_evaluator),
    ):
        torch.manual_seed(args.seed)
        bind(args.home / "ckpt" / f"{name}.pt", run_config, run_data, run_evaluator)


def bind(checkpoint: Path, config: TrainingConfig, data: TrainingData, evaluator: HeldOutEvaluator) -> None:
    """Train one head, and print its figures."""

    def report(step: int, loss: float, trainer: Trainer) -> None:
        figures = evaluator.evaluate(trainer.averaged_tower)
        print(f"{checkpoint.stem} step {step} loss {loss:.3f} {figures}", flush=True)

    train(Trainer(data, config, tower=start_head(data)), checkpoint, on_progress=report, every=200)


if __name__ == "__main__":
    main()
