"""Readers of image data sets."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bindsearch.errors import BadQuery
from bindsearch.evaluation.dataset import Dataset, Example, Media, Truth
from bindsearch.evaluation.media_files import IMAGE_SUFFIXES, MediaStore, as_words, column_names, read_table
from bindsearch.evaluation.split import caltech_held_out
from bindsearch.types import Modality

_FLICKR_TABLES = ("captions.csv", "captions.txt", "results.csv", "results_20130124.token", "Flickr8k.token.txt")
_TOKEN = re.compile(r"(.+\.\w+)#\d+\t(.+)")
_SYNSET = re.compile(r"n\d{8}")
_SYNSET_NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
_CALTECH_ONLY = frozenset({"BACKGROUND_Google", "Faces_easy", "Leopards", "Motorbikes", "water_lilly"})
_CALTECH_NAMES = {
    "Faces_easy": "face",
    "Faces": "face",
    "Leopards": "leopard",
    "Motorbikes": "motorbike",
    "airplanes": "airplane",
    "water_lilly": "water lily",
    "car_side": "side of a car",
    "gerenuk": "gerenuk antelope",
    "ewer": "ewer jug",
    "ketch": "ketch sailing boat",
    "bass": "bass fish",
    "BACKGROUND_Google": "miscellaneous things",
}
"""Folders of Caltech101 whose names are not natural English."""


def flickr_table(root: Path) -> Path | None:
    """Return the captions of Flickr8k or Flickr30k, in any of their formats."""
    for table in (root / name for name in _FLICKR_TABLES):
        if table.is_file() and (
            _is_token_file(table) or {"caption", "image"} <= column_names(table) or _is_bar_separated(table)
        ):
            return table
    return None


def flickr(root: Path) -> list[Dataset]:
    """Read Flickr8k or Flickr30k: five captions per photo. A column `split` marks what is held out."""
    table = flickr_table(root)
    if table is None:
        raise BadQuery(f"{root}: this layout needs one of {', '.join(_FLICKR_TABLES)}")
    store = MediaStore(root, suffixes=IMAGE_SUFFIXES)
    captions_of: dict[str, list[str]] = {}
    training = set()
    for image, caption, split in _captioned(table):
        captions_of.setdefault(image, []).append(caption)
        if split not in ("", "dev", "test", "val"):
            training.add(image)
    found = ((image, store.find(image), captions) for image, captions in captions_of.items())
    examples = [
        Example(media, tuple(captions), image, image not in training) for image, media, captions in found if media
    ]
    name = "Flickr30k" if table.name.startswith("results") or len(captions_of) > 20_000 else "Flickr8k"
    return [Dataset(name, "flickr", Modality.IMAGE, Truth.CAPTIONS, tuple(examples), notes=store.notes())]


def _captioned(table: Path) -> Iterator[tuple[str, str, str]]:
    """Yield image, caption and split of each row."""
    if _is_token_file(table):
        for line in table.read_text(encoding="utf-8").splitlines():
            if match := _TOKEN.fullmatch(line):
                yield match[1], match[2].strip(), ""
    elif _is_bar_separated(table):
        with table.open(newline="", encoding="utf-8") as file:
            for cells in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE):
                if len(cells) == 3 and cells[0] != "image_name":
                    yield cells[0].strip(), cells[2].strip(), ""
    else:
        for row in read_table(table, columns=("image", "caption")):
            yield row["image"], row["caption"].strip(), row.get("split", "")


def _is_token_file(table: Path) -> bool:
    with table.open(encoding="utf-8", errors="replace") as file:
        return _TOKEN.fullmatch(file.readline().rstrip("\r\n")) is not None


def _is_bar_separated(table: Path) -> bool:
    with table.open(encoding="utf-8", errors="replace") as file:
        return file.readline().startswith("image_name|")


def coco_table(root: Path) -> Path | None:
    """Return COCO's captions, preferably those of the validation set."""
    if root.is_file():
        return root if root.name.startswith("captions_") and root.suffix == ".json" else None
    tables = sorted([*root.glob("captions_*.json"), *root.glob("annotations/captions_*.json")])
    return next((table for table in tables if "val" in table.name), tables[0] if tables else None)


def coco(root: Path) -> list[Dataset]:
    """Read COCO's captions: about five per photo."""
    table = coco_table(root)
    if table is None:
        raise BadQuery(f"{root}: this layout needs annotations/captions_*.json")
    try:
        content: dict[str, Any] = json.loads(table.read_text(encoding="utf-8"))
        names = {image["id"]: image["file_name"] for image in content["images"]}
        pairs = [(names[note["image_id"]], str(note["caption"]).strip()) for note in content["annotations"]]
    except (ValueError, KeyError, TypeError) as error:
        raise BadQuery(f"{table}: not COCO's captions: {type(error).__name__} {error}") from error
    folder = root if root.is_dir() else root.parent.parent if root.parent.name == "annotations" else root.parent
    store, captions_of = MediaStore(folder, suffixes=IMAGE_SUFFIXES), dict[str, list[str]]()
    for image, caption in pairs:
        captions_of.setdefault(image, []).append(caption)
    found = ((image, store.find(image), captions) for image, captions in captions_of.items())
    examples = tuple(Example(media, tuple(captions), image) for image, media, captions in found if media)
    return [Dataset("COCO", "coco", Modality.IMAGE, Truth.CAPTIONS, examples, notes=store.notes())]


def is_imagenet(root: Path) -> bool:
    """Whether photos or their folders are named by ImageNet's synset numbers."""
    places = [media for media in _photo_paths(root) if _SYNSET.search(media)]
    return bool(places) and len(places) == len(_photo_paths(root))


def imagenet(root: Path) -> list[Dataset]:
    """Read ImageNet: one folder per class, named by its number, with a list of names; or class names in file names."""
    store, names = MediaStore(root, suffixes=IMAGE_SUFFIXES), _synset_names(root)
    examples = []
    for path, media in store.files.items():
        number = _SYNSET.search(path)
        label = names.get(number[0]) if number else None
        label = label or _own_name(path)
        if label is None:
            missing = ", ".join(_SYNSET_NAMES[:2])
            raise BadQuery(f"{root}: the class of {path} has no name; put {missing} beside the folders")
        examples.append(Example(media, (label,), path, not _sampled(path)))
    return [_classes("ImageNet", "imagenet", examples, sorted(set(names.values())))]


def _sampled(path: str) -> bool:
    """Whether it is one of the samples, named like `n01440764_tench`, that the pocket model was trained on."""
    return "/" not in path and _own_name(path) is not None


def _own_name(path: str) -> str | None:
    match = re.fullmatch(r"(?:.*/)?n\d{8}_([A-Za-z][\w .'-]*)\.\w+", path)
    return as_words(match[1]) if match else None


def _synset_names(root: Path) -> dict[str, str]:
    for table in (place / name for place in (root, root.parent) for name in _SYNSET_NAMES):
        if table.is_file():
            lines = (line.split(maxsplit=1) for line in table.read_text(encoding="utf-8").splitlines() if line.strip())
            return {number: words.split(",")[0].strip() for number, words in lines if _SYNSET.fullmatch(number)}
    return {}


def is_caltech101(root: Path) -> bool:
    """Whether the folders are those of Caltech101."""
    folders = {path.split("/")[-2] for path in _photo_paths(root) if "/" in path}
    return len(folders & _CALTECH_ONLY) >= 3


def caltech101(root: Path) -> list[Dataset]:
    """Read Caltech101: one folder per class; the folder of miscellaneous images is ignored."""
    examples = []
    for path, media in _photos(root).items():
        folder, _, file = path.rpartition("/")
        folder = folder.rpartition("/")[2]
        if folder and folder != "BACKGROUND_Google":
            label = caltech_name(folder)
            examples.append(Example(media, (label,), path, caltech_held_out(f"{folder}/{file}")))
    return [_classes("Caltech101", "caltech101", examples, [])]


def caltech_name(folder: str) -> str:
    """Return the class of a folder of Caltech101 in natural English."""
    return _CALTECH_NAMES.get(folder, as_words(folder))


def _photos(root: Path) -> dict[str, Media]:
    return MediaStore(root, suffixes=IMAGE_SUFFIXES).files


def _photo_paths(root: Path) -> list[str]:
    return list(_photos(root))


def _classes(name: str, layout: str, examples: list[Example], labels: list[str]) -> Dataset:
    known = tuple(sorted({*labels, *(example.words[0] for example in examples)}))
    return Dataset(name, layout, Modality.IMAGE, Truth.CLASSES, tuple(examples), known)
