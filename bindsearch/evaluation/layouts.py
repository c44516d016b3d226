"""The layouts of data sets on disk: how each is recognised and read."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from bindsearch.errors import BadQuery
from bindsearch.evaluation import readers_image as image, readers_sound as sound
from bindsearch.evaluation.dataset import Dataset, Example, Truth, members
from bindsearch.evaluation.media_files import IMAGE_SUFFIXES, SOUND_SUFFIXES, MediaStore, as_words, note_ignored
from bindsearch.types import Modality

MAX_DEPTH = 2
"""If a folder is no data set itself, data sets are searched for this many levels below it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which data sets are stored."""

    name: str
    description: str
    recognises: Callable[[Path], object]
    read: Callable[[Path], list[Dataset]]


def is_foldered(root: Path) -> bool:
    """Whether a folder or tar file holds two or more folders with media, and no media beside them."""
    return len(_classes_of(root)) > 1


def folders(root: Path) -> list[Dataset]:
    """Read one folder per class, named after the class: its images or its sounds, whichever are more."""
    inside = root.is_dir() or _is_tar(root)
    images = MediaStore(root, suffixes=IMAGE_SUFFIXES).files if inside else {}
    sounds = MediaStore(root, suffixes=SOUND_SUFFIXES).files if inside else {}
    files, modality = (images, Modality.IMAGE) if len(images) >= len(sounds) else (sounds, Modality.AUDIO)
    examples = [Example(media, (as_words(path.split("/")[-2]),), path) for path, media in files.items() if "/" in path]
    labels = sorted({example.words[0] for example in examples})
    if len(labels) < 2:
        raise BadQuery(f"{root}: this layout needs two or more folders with media")
    name = root.resolve().name.removesuffix(".tar")
    measured = "images" if modality == Modality.IMAGE else "sounds and videos"
    notes = note_ignored(root, (each.media for each in examples), because=f"only {measured} in folders are measured")
    return [Dataset(name, "folders", modality, Truth.CLASSES, tuple(examples), tuple(labels), notes)]


def _classes_of(root: Path) -> set[str]:
    paths = (
        [*MediaStore(root, suffixes=IMAGE_SUFFIXES | SOUND_SUFFIXES).files] if root.is_dir() or _is_tar(root) else []
    )
    if any("/" not in path for path in paths):
        return set()
    depths = {path.count("/") for path in paths}
    return {path.rpartition("/")[0] for path in paths} if len(depths) == 1 else set()


def is_collection(root: Path) -> bool:
    """Whether a folder has a manifest of named sounds, or holds nothing but sounds."""
    if sound.collection_table(root) is not None:
        return True
    if not root.is_dir():
        return False
    files = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    sounds = [path for path in files if path.suffix.lower() in SOUND_SUFFIXES]
    others = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES | {".csv", ".json", ".tar"}]
    return len(sounds) > 1 and not others


_ALL = (
    Layout("esc50", "meta/esc50.csv and audio/, or clips.csv and clips.tar", sound.esc50_table, sound.esc50),
    Layout("urbansound8k", "metadata/UrbanSound8K.csv and audio/", sound.urbansound8k_table, sound.urbansound8k),
    Layout("clotho", "clotho_captions_evaluation.csv and sounds", sound.clotho_table, sound.clotho),
    Layout("audiocaps", "test.csv with youtube_id and caption, and sounds", sound.audiocaps_table, sound.audiocaps),
    Layout("vggsound", "vggsound.csv and sounds or videos", sound.vggsound_table, sound.vggsound),
    Layout("audioset", "eval_segments.csv, class_labels_indices.csv, sounds", sound.audioset_table, sound.audioset),
    Layout("flickr", "captions.txt or captions.csv (Flickr8k, Flickr30k) and photos", image.flickr_table, image.flickr),
    Layout("coco", "annotations/captions_*.json and photos", image.coco_table, image.coco),
    Layout("imagenet", "folders called n01440764, with LOC_synset_mapping.txt", image.is_imagenet, image.imagenet),
    Layout("caltech101", "Caltech101's folders, or images.tar with them", image.is_caltech101, image.caltech101),
    Layout("names", "manifest.csv with audio and name, or a folder of sounds", is_collection, sound.collection),
    Layout("folders", "a folder for each class, with pictures or sounds", is_foldered, folders),
)
LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""By name, in the order of recognition."""


def read(paths: Sequence[Path], *, layout: str | None = None) -> list[Dataset]:
    """Read the data sets at some paths; a folder of data sets gives all of them.

    Raises `BadQuery` for an unknown layout, or if none is recognised, and `OSError`.
    """
    found = [dataset for path in paths for dataset in _read_one(path, layout)]
    return [dataset for dataset in found if dataset.examples]


def _read_one(path: Path, layout: str | None) -> list[Dataset]:
    if layout is not None:
        if layout not in LAYOUTS:
            raise BadQuery(f"no layout is called {layout!r}; available: {', '.join(LAYOUTS)}")
        return LAYOUTS[layout].read(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    found: dict[Path, tuple[Path, Layout]] = {}
    for place, recognised in _find_sets(path, MAX_DEPTH):
        found.setdefault(place.resolve(), (place, recognised))  # several links may lead to the same set
    if not found:
        raise BadQuery(f"{path}: no layout of a data set is recognised. Known layouts:\n{describe_layouts()}")
    return [dataset for place, recognised in found.values() for dataset in recognised.read(place)]


def _find_sets(path: Path, depth: int) -> list[tuple[Path, Layout]]:
    """Return the data set at a path, or else those below it."""
    if path.is_file() and not _is_tar(path) and not image.coco_table(path):
        return []
    recognised = next((layout for layout in LAYOUTS.values() if layout.recognises(path)), None)
    if recognised:
        return [(path, recognised)]
    if not path.is_dir() or depth == 0:
        return []
    below = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return [place for each in below for place in _find_sets(each, depth - 1)]


def describe_layouts() -> str:
    """Return one line of description per layout."""
    width = max(len(name) for name in LAYOUTS)
    return "\n".join(f"  {name:{width}}  {layout.description}" for name, layout in LAYOUTS.items())


def _is_tar(path: Path) -> bool:
    return path.is_file() and PurePosixPath(path).suffix == ".tar" and bool(members(path))
