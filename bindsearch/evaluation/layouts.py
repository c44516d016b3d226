"""The layouts of data sets that are recognised, and what is read of each."""

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
from bindsearch.evaluation.media_files import PICTURES, SOUNDING, Store, left_out, spoken
from bindsearch.types import Modality

DEEPEST = 2
"""So many folders down, sets are looked for where the folder itself is none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One way in which a data set lies on disk."""

    name: str
    looks_like: str
    recognises: Callable[[Path], object]
    read: Callable[[Path], list[Dataset]]


def is_foldered(root: Path) -> bool:
    """Whether a folder, or a tar file, holds folders with media of one modality, and no media beside them."""
    return len(_classes_of(root)) > 1


def folders(root: Path) -> list[Dataset]:
    """Read a folder a class, called by the class; pictures or sounds, whichever are more."""
    inside = root.is_dir() or _is_tar(root)
    seen, heard = (Store(root, suffixes=suffixes).files if inside else {} for suffixes in (PICTURES, SOUNDING))
    files, modality = (seen, Modality.IMAGE) if len(seen) >= len(heard) else (heard, Modality.AUDIO)
    examples = [Example(media, (spoken(path.split("/")[-2]),), path) for path, media in files.items() if "/" in path]
    labels = sorted({example.words[0] for example in examples})
    if len(labels) < 2:
        raise BadQuery(f"{root}: has no two folders with media, as this layout needs")
    name = root.resolve().name.removesuffix(".tar")
    measured = "pictures" if modality == Modality.IMAGE else "sounds and videos"
    notes = left_out(root, (each.media for each in examples), because=f"only {measured} in folders are measured")
    return [Dataset(name, "folders", modality, Truth.CLASSES, tuple(examples), tuple(labels), notes)]


def _classes_of(root: Path) -> set[str]:
    paths = [*Store(root, suffixes=PICTURES | SOUNDING).files] if root.is_dir() or _is_tar(root) else []
    if any("/" not in path for path in paths):
        return set()
    depths = {path.count("/") for path in paths}
    return {path.rpartition("/")[0] for path in paths} if len(depths) == 1 else set()


def is_collection(root: Path) -> bool:
    """Whether a folder has a manifest of named sounds, or holds sounds and nothing else."""
    if sound.collection_table(root) is not None:
        return True
    if not root.is_dir():
        return False
    files = [path for path in root.iterdir() if path.is_file() and not path.name.startswith(".")]
    sounds = [path for path in files if path.suffix.lower() in SOUNDING]
    others = [path for path in files if path.suffix.lower() in PICTURES | {".csv", ".json", ".tar"}]
    return len(sounds) > 1 and not others


_ALL = (
    Layout("esc50", "meta/esc50.csv and audio/, or clips.csv and clips.tar", sound.esc50_table, sound.esc50),
    Layout("urbansound8k", "metadata/UrbanSound8K.csv and audio/", sound.urbansound8k_table, sound.urbansound8k),
    Layout("clotho", "clotho_captions_evaluation.csv and sounds", sound.clotho_table, sound.clotho),
    Layout("audiocaps", "test.csv with youtube_id and caption, and sounds", sound.audiocaps_table, sound.audiocaps),
    Layout("vggsound", "vggsound.csv and sounds or films", sound.vggsound_table, sound.vggsound),
    Layout("audioset", "eval_segments.csv, class_labels_indices.csv, sounds", sound.audioset_table, sound.audioset),
    Layout("flickr", "captions.txt or captions.csv (Flickr8k, Flickr30k) and photos", image.flickr_table, image.flickr),
    Layout("coco", "annotations/captions_*.json and photos", image.coco_table, image.coco),
    Layout("imagenet", "folders called n01440764, with LOC_synset_mapping.txt", image.is_imagenet, image.imagenet),
    Layout("caltech101", "Caltech101's folders, or images.tar with them", image.is_caltech101, image.caltech101),
    Layout("names", "manifest.csv with audio and name, or a folder of sounds", is_collection, sound.collection),
    Layout("folders", "a folder a class, with pictures or with sounds", is_foldered, folders),
)
LAYOUTS: Mapping[str, Layout] = MappingProxyType({layout.name: layout for layout in _ALL})
"""By name, in the order in which they are tried."""


def read(paths: Sequence[Path], *, layout: str | None = None) -> list[Dataset]:
    """Read the data sets at some paths. A folder of data sets gives all of them.

    Raises `BadQuery` for a layout that does not exist or is not recognised, and `OSError`.
    """
    found = [dataset for path in paths for dataset in _read_one(path, layout)]
    return [dataset for dataset in found if dataset.examples]


def _read_one(path: Path, layout: str | None) -> list[Dataset]:
    if layout is not None:
        if layout not in LAYOUTS:
            raise BadQuery(f"no layout is called {layout!r}; there are {', '.join(LAYOUTS)}")
        return LAYOUTS[layout].read(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    found: dict[Path, tuple[Path, Layout]] = {}
    for place, known in _found(path, DEEPEST):
        found.setdefault(place.resolve(), (place, known))  # links may lead to one set by many ways
    if not found:
        raise BadQuery(f"{path}: no layout of a data set that is known here. Known are:\n{described()}")
    return [dataset for place, known in found.values() for dataset in known.read(place)]


def _found(path: Path, depth: int) -> list[tuple[Path, Layout]]:
    """Find the data sets at a path, else those below it."""
    if path.is_file() and not _is_tar(path) and not image.coco_table(path):
        return []
    known = next((layout for layout in LAYOUTS.values() if layout.recognises(path)), None)
    if known:
        return [(path, known)]
    if not path.is_dir() or depth == 0:
        return []
    below = sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))
    return [place for each in below for place in _found(each, depth - 1)]


def described() -> str:
    """Say what each layout looks like, a line each."""
    width = max(len(name) for name in LAYOUTS)
    return "\n".join(f"  {name:{width}}  {layout.looks_like}" for name, layout in LAYOUTS.items())


def _is_tar(path: Path) -> bool:
    return path.is_file() and PurePosixPath(path).suffix == ".tar" and bool(members(path))
