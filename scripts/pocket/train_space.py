"""Train the two heads that define the pocket model's space: minutes, from cached features.

They learn from photos with captions, photos with class names, and the class probabilities of two teachers. The first
run uses the photo teacher's features and defines the space. After the photo tower is trained, `--tower` trains a new
image head on the tower's features (train_photo_tower.py --write-features) while the texts stay where they are.

    python scripts/pocket/train_space.py HOME DATA
    python scripts/pocket/train_space.py HOME DATA --tower
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from anchor_space import (
    TEXT_FEATURES,
    TEXT_HIDDEN,
    AnchorSpace,
    GatheredTexts,
    captions_by_photo,
    class_of_photo,
    held_out,
    read_split,
    text_to_image,
)
from bindsearch.encoders.pocket.towers import IMAGE_FEATURES, Head
from gather_photos import map_array
from gather_texts import imagenet_names
from numpy.typing import NDArray
from teachers import PhotoTeacher
from torch import Tensor, nn
from torch.nn import functional as F
from train_photo_tower import TOWER_FEATURES_FILE

from bindsearch.evaluation.readers_image import caltech_name
from bindsearch.training import losses
from bindsearch.training.schedule import cosine
from bindsearch.training.weight_average import WeightAverage

CAPTIONED_PER_STEP, NAMED_PER_STEP, DISTILLED_PER_STEP = 384, 384, 256
"""Photos in a step with a caption, with a class name, and with a teacher's class probabilities."""
LEARNING_RATE = 1e-3
TEMPERATURE = 0.05
CLIP_SCALE, IMAGENET_TEMPERATURE = 60, 1.5
"""What CLIP's cosines are multiplied by, and MobileNetV2's logits divided by, before the softmax."""
STANDARDISATION_SAMPLE = 20_000


class TrainingPhotos:
    """Photos with several views each, and the captions, class names and CLIP probabilities that exist for them."""

    def __init__(self, home: Path, data: Path, texts: GatheredTexts, file: str) -> None:
        """Read the features in `file` of every view folder that has it."""
        read_split(data)
        synonyms = imagenet_names(data)
        samples = (home / "cache/photos/imagenet_samples/names.txt").read_text().splitlines()
        wordnet_names = {name[:9]: synonyms[i + 1][0] for i, name in enumerate(sorted(samples))}
        rows_by_photo = self._read_features(home, file)
        self.views = [np.array(rows) for rows in rows_by_photo.values()]
        """Rows of the views of each photo."""
        classes = [class_of_photo(source, name, wordnet_names) for source, name in rows_by_photo]
        class_rows = [texts.row_of_name(each) if each else None for each in classes]
        self.class_rows = torch.tensor([-1 if row is None else row for row in class_rows])
        """The row of each photo's class name, or -1."""
        captions = captions_by_photo(data, texts, "train", "caption")
        self.captioned = [
            (photo, captions[name])
            for photo, (source, name) in enumerate(rows_by_photo)
            if source == "flickr8k" and captions.get(name)
        ]
        """Photos with the rows of their captions."""
        targets = _clip_targets(data)
        clip = [(photo, name) for photo, (source, name) in enumerate(rows_by_photo) if source == "caltech101"]
        self.clip_photos = [photo for photo, name in clip if name in targets]
        self.clip_targets = [targets[name] for _, name in clip if name in targets]
        self.clip_name_rows = _clip_name_rows(data, texts)
        self.imagenet_name_rows = torch.tensor([texts.row_of_name(s[0]) for s in synonyms[1:]])

    def _read_features(self, home: Path, file: str) -> dict[tuple[str, str], list[int]]:
        """Read all training views; return the rows of each photo's views, by source and name."""
        features, teacher_features, count = [], [], 0
        rows_by_photo = defaultdict[tuple[str, str], list[int]](list)
        for folder in sorted(path.parent for path in home.glob(f"cache/photos/*/{file}")):
            source, names = folder.name.split(".")[0], (folder / "names.txt").read_text().splitlines()
            rows = np.fromfile(folder / file, np.float16).reshape(-1, IMAGE_FEATURES)[: len(names)]
            training = [row for row, name in enumerate(names[: len(rows)]) if not held_out(source, name)]
            for number, row in enumerate(training):
                rows_by_photo[source, names[row]].append(count + number)
            features.append(rows[training])
            teacher_features.append(np.asarray(map_array(folder, "features.f16")[training]))
            count += len(training)
        self.features = torch.from_numpy(np.concatenate(features))
        self.teacher_features = torch.from_numpy(np.concatenate(teacher_features))
        """The photo teacher's features of the same views."""
        return rows_by_photo

    def draw_views(self, photos: NDArray[np.intp], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw one view of each photo; return its features and the teacher's."""
        rows = np.array([self.views[photo][rng.integers(len(self.views[photo]))] for photo in photos])
        return self.features[rows].float(), self.teacher_features[rows].float()


def _clip_name_rows(data: Path, texts: GatheredTexts) -> Tensor:
    with np.load(data / "teachers" / "clip_vitb32_text_names.npz") as clip:
        return torch.tensor([texts.row_of_name(str(name)) for name in clip["names"]])


def _clip_targets(data: Path) -> dict[str, NDArray[np.float32]]:
    """Return CLIP's probabilities of its names for each of Caltech101's photos, by file name."""
    with np.load(data / "teachers" / "clip_vitb32_text_names.npz") as clip:
        names = F.normalize(torch.from_numpy(clip["features"]).float(), dim=1)
    with np.load(data / "teachers" / "clip_vitb32_caltech101_images.npz") as clip:
        photos = F.normalize(torch.from_numpy(clip["features"]).float(), dim=1)
        probabilities = (photos @ names.T * CLIP_SCALE).softmax(dim=1).numpy()
        return dict(zip(map(str, clip["names"]), probabilities, strict=True))


@dataclass(frozen=True, slots=True)
class Batch:
    """Photos and texts of one step: photos with captions, then photos with class names, then distilled photos."""

    features: Tensor
    teacher_features: Tensor
    text_rows: Tensor
    """Captions and class names of the first two groups."""
    name_rows: Tensor
    """Names over which the teacher's probabilities are distributed..."""
    probabilities: Tensor
    """...and these probabilities, for the third group."""


class HeadTraining:
    """The training of both heads, or of a new image head in an existing space."""

    def __init__(
        self,
        photos: TrainingPhotos,
        texts: GatheredTexts,
        classifier: tuple[Tensor, Tensor],
        *,
        space: AnchorSpace | None,
        seed: int,
    ) -> None:
        """`classifier` is the photo teacher's last layer. If there is a `space`, its text head stays frozen."""
        torch.manual_seed(seed)
        self._photos, self._texts, self._classifier, self._space = photos, texts, classifier, space
        self._rng = np.random.default_rng(seed)
        self._clip_targets = torch.from_numpy(np.stack(photos.clip_targets))
        self._named = np.flatnonzero((photos.class_rows >= 0).numpy())
        # A class weighs by the square root of its number of photos.
        weight = 1 / np.bincount(photos.class_rows[self._named])[photos.class_rows[self._named]] ** 0.5
        self._weight = weight / weight.sum()
        image_head = Head(IMAGE_FEATURES, drop=0.2)
        text_head = Head(TEXT_FEATURES, hidden=TEXT_HIDDEN, drop=0.2)
        _standardise(text_head, texts.vectors.mean(dim=0), texts.vectors.std(dim=0).mean())
        if space:
            image_head.load_state_dict(space.image_head.state_dict())
            text_head = space.text_head.requires_grad_(False)
        sample = photos.features[:: len(photos.features) // STANDARDISATION_SAMPLE + 1].float()
        _standardise(image_head, sample.mean(dim=0), sample.std(dim=0) + 0.05)
        self.heads = nn.ModuleList([image_head, text_head])
        self.average = WeightAverage(self.heads, decay=0.997)
        trained = [parameter for parameter in self.heads.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.2)

    def step(self, step: int, steps: int) -> float:
        """Take one training step and return the loss. The two teachers of class probabilities take turns."""
        self._optimiser.param_groups[0]["lr"] = LEARNING_RATE * cosine(step / steps)
        self._optimiser.zero_grad()
        loss = self._loss(self._draw(from_clip=step % 2 == 0))
        loss.backward()
        self._optimiser.step()
        self.average.update(self.heads)
        return float(loss.item())

    def _draw(self, *, from_clip: bool) -> Batch:
        """Draw a batch; its class probabilities come from CLIP or from MobileNetV2."""
        photos, rng = self._photos, self._rng
        repeat = len(photos.captioned) < CAPTIONED_PER_STEP  # as in a rehearsal
        captioned = [photos.captioned[i] for i in rng.choice(len(photos.captioned), CAPTIONED_PER_STEP, replace=repeat)]
        named = rng.choice(self._named, NAMED_PER_STEP, p=self._weight)
        count = len(photos.clip_photos) if from_clip else len(photos.views)
        numbers = rng.integers(count, size=DISTILLED_PER_STEP)
        distilled = np.array(photos.clip_photos)[numbers] if from_clip else numbers
        captions = torch.tensor([rows[rng.integers(len(rows))] for _, rows in captioned])
        drawn = np.concatenate([[photo for photo, _ in captioned], named, distilled])
        features, teacher_features = photos.draw_views(drawn, rng)
        logits = F.linear(teacher_features[-DISTILLED_PER_STEP:], *self._classifier)[:, 1:]
        return Batch(
            features=features,
            teacher_features=teacher_features,
            text_rows=torch.cat([captions, photos.class_rows[named]]),
            name_rows=photos.clip_name_rows if from_clip else photos.imagenet_name_rows,
            probabilities=self._clip_targets[numbers] if from_clip else (logits / IMAGENET_TEMPERATURE).softmax(dim=1),
        )

    def _loss(self, batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            images = self.heads[0](batch.features)
            texts = self.heads[1](self._texts.vectors[torch.cat([batch.text_rows, batch.name_rows])])
        images, texts = F.normalize(images.float(), dim=1), F.normalize(texts.float(), dim=1)
        texts, names = texts[: len(batch.text_rows)], texts[len(batch.text_rows) :]
        owners = batch.text_rows.clone()
        # Unique numbers: a caption is a positive for its own photo only.
        owners[:CAPTIONED_PER_STEP] = -torch.arange(CAPTIONED_PER_STEP) - 1
        named_end = CAPTIONED_PER_STEP + NAMED_PER_STEP
        parts = slice(0, CAPTIONED_PER_STEP), slice(CAPTIONED_PER_STEP, named_end)
        caption_loss, name_loss = (
            losses.contrastive(images[part], texts[part], owners[part], temperature=TEMPERATURE) for part in parts
        )
        log_probabilities = (images[named_end:] @ names.T / TEMPERATURE).log_softmax(dim=1)
        loss = caption_loss + 0.7 * name_loss
        loss = loss + F.kl_div(log_probabilities, batch.probabilities, reduction="batchmean")
        if self._space:
            return loss + 4 * losses.regression(images, self._space.embed_images(batch.teacher_features))
        return loss


def _standardise(head: nn.Module, mean: Tensor, scale: Tensor) -> None:
    head.mean.copy_(mean)
    head.scale.copy_(scale.expand_as(head.scale))


def make_space(heads: nn.ModuleList, texts: GatheredTexts, data: Path) -> AnchorSpace:
    """Return the finished space, with a bank of training texts and the held-out captions."""
    image_head, text_head = (head.eval() for head in heads)
    with torch.no_grad():
        vectors = F.normalize(text_head(texts.vectors), dim=1)
    kinds = [kind for kind, _ in texts.kinds_and_texts]
    captions = [row for row, kind in enumerate(kinds) if kind == "caption"][::12]
    names = [row for row, kind in enumerate(kinds) if kind == "name"][::2]
    dev = captions_by_photo(data, texts, "dev", "dev")
    dev_vectors = {name: vectors[rows].clone() for name, rows in dev.items()}
    return AnchorSpace(image_head, text_head, vectors[captions + names].clone(), dev_vectors)


def read_features(home: Path, source: str, file: str) -> tuple[list[str], Tensor]:
    """Return names and features of a source's whole images."""
    folder = home / "cache" / "photos" / source
    rows = np.fromfile(folder / file, np.float16).reshape(-1, IMAGE_FEATURES)
    return (folder / "names.txt").read_text().splitlines()[: len(rows)], torch.from_numpy(rows).float()


def measure(space: AnchorSpace, texts: GatheredTexts, home: Path, file: str) -> str:
    """Measure text to image on Flickr8k's held-out photos, and zero-shot on Caltech101's."""
    names, features = read_features(home, "flickr8k", file)
    dev = [row for row, name in enumerate(names) if name in space.dev_captions]
    r1, r10 = text_to_image(space.embed_images(features[dev]), space.captions_of([names[row] for row in dev]))
    names, features = read_features(home, "caltech101", file)
    held = [row for row, name in enumerate(names) if held_out("caltech101", name) and not name.startswith("BACK")]
    truth = [caltech_name(names[row].split("/")[0]) for row in held]
    classes = sorted(set(truth))
    class_vectors = space.embed_texts(texts.vectors[[texts.row_of["name", each] for each in classes]])
    answers = (space.embed_images(features[held]) @ class_vectors.T).argmax(dim=1).tolist()
    accuracy = np.mean([classes[answer] == true for answer, true in zip(answers, truth, strict=True)])
    return f"dev R@1 {r1:.3f} R@10 {r10:.3f}; Caltech101 held-out photos, {len(classes)} names: {accuracy:.3f}"


def main() -> None:
    """Train the heads, measure them, and write them."""
    parser = argparse.ArgumentParser(description="Train the heads of the anchor space.")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("data", type=Path, help="folder with flickr8k, caltech101, teachers")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower", action="store_true", help="train an image head on the photo tower's features")
    args = parser.parse_args()
    file = TOWER_FEATURES_FILE if args.tower else "features.f16"
    texts = GatheredTexts(args.home / "cache" / "texts")
    photos = TrainingPhotos(args.home, args.data, texts, file)
    print(
        f"{len(photos.views)} photos, {len(photos.captioned)} with captions, "
        f"{len(photos.clip_photos)} with CLIP's probabilities"
    )
    weight, bias = PhotoTeacher(args.data / "teachers" / "mobilenet_v2_imagenet.tflite").classifier
    classifier = torch.from_numpy(weight), torch.from_numpy(bias)
    space = AnchorSpace.load(args.home / "anchor") if args.tower else None
    training = HeadTraining(photos, texts, classifier, space=space, seed=args.seed)
    for step in range(args.steps):
        loss = training.step(step, args.steps)
        if step % 100 == 0:
            print(f"step {step} loss {loss:.3f}", flush=True)
    result = make_space(training.average.module, texts, args.data)
    result.save(args.home / ("tower" if args.tower else "anchor"))
    print(measure(result, texts, args.home, file))


if __name__ == "__main__":
    main()
