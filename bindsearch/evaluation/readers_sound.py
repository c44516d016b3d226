"""Readers of sound data sets."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from bindsearch.errors import BadQuery
from bindsearch.evaluation.dataset import Dataset, Example, Media, Truth
from bindsearch.evaluation.media_files import (
    IMAGE_SUFFIXES,
    SOUND_SUFFIXES,
    MediaStore,
    as_words,
    column_names,
    note_ignored,
    read_table,
)
from bindsearch.evaluation.split import TRAINING_COLLECTIONS, URBAN_FOLD, esc_held_out
from bindsearch.types import Modality

_NUMBERED = re.compile(r"[ _-]*\(?\d*\)?$")


def esc50_table(root: Path) -> Path | None:
    """Return ESC-50's table, in the original or the short layout."""
    for table, column in ((root / "meta" / "esc50.csv", "filename"), (root / "clips.csv", "file")):
        if {column, "category"} <= column_names(table):
            return table
    return None


def esc50(root: Path) -> list[Dataset]:
    """Read ESC-50: 50 classes, clips of 5 s. The column `src_file` or `recording` names the recording."""
    table = _require(esc50_table(root), root, "meta/esc50.csv or clips.csv")
    store = MediaStore(root, suffixes=SOUND_SUFFIXES)
    examples, labels = [], []
    for row in read_table(table):
        label, recording = as_words(row["category"]), row.get("recording") or row.get("src_file") or ""
        labels.append(label)
        media = store.find(row.get("filename") or row["file"])
        if media:
            examples.append(Example(media, (label,), recording, esc_held_out(recording)))
    return [_classes("ESC-50", "esc50", examples, labels, store)]


def urbansound8k_table(root: Path) -> Path | None:
    """Return UrbanSound8K's table."""
    return _first(root, ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"), "slice_file_name")


def urbansound8k(root: Path) -> list[Dataset]:
    """Read UrbanSound8K: 10 classes; clips of one recording share `fsID`."""
    table = _require(urbansound8k_table(root), root, "metadata/UrbanSound8K.csv")
    store, examples, labels = MediaStore(root, suffixes=SOUND_SUFFIXES), [], []
    for row in read_table(table, columns=("slice_file_name", "fold", "class")):
        media = store.find(f"audio/fold{row['fold']}/{row['slice_file_name']}", row["slice_file_name"])
        labels.append(as_words(row["class"]))
        if media:
            examples.append(Example(media, (labels[-1],), row.get("fsID", ""), row["fold"] == URBAN_FOLD))
    return [_classes("UrbanSound8K", "urbansound8k", examples, labels, store)]


def clotho_table(root: Path) -> Path | None:
    """Return Clotho's captions, preferably those for evaluation."""
    names = [f"clotho_captions_{part}.csv" for part in ("evaluation", "validation", "development")]
    return _first(root, names, "caption_1")


def clotho(root: Path) -> list[Dataset]:
    """Read Clotho: five captions per sound."""
    table = _require(clotho_table(root), root, "clotho_captions_evaluation.csv")
    store = MediaStore(root, suffixes=SOUND_SUFFIXES)
    examples = []
    for row in read_table(table, columns=("file_name",)):
        captions = tuple(row[name] for name in sorted(row) if name.startswith("caption_") and row[name])
        media = store.find(row["file_name"])
        if media and captions:
            examples.append(Example(media, captions))
    return [_captions("Clotho", "clotho", examples, store)]


def audiocaps_table(root: Path) -> Path | None:
    """Return AudioCaps' table, preferably that of the test set."""
    return _first(root, ("test.csv", "val.csv", "train.csv"), "youtube_id")


def audiocaps(root: Path) -> list[Dataset]:
    """Read AudioCaps: one row per caption. Sounds are named by video, with or without the second, or by row."""
    table, store = _require(audiocaps_table(root), root, "test.csv"), MediaStore(root, suffixes=SOUND_SUFFIXES)
    captions_of: dict[Media, list[str]] = {}
    videos: dict[Media, str] = {}
    for row in read_table(table, columns=("youtube_id", "caption")):
        video = row["youtube_id"]
        media = store.find(*_clip_names(video, row.get("start_time") or "0"), row.get("audiocap_id") or video)
        if media:
            captions_of.setdefault(media, []).append(row["caption"])
            videos[media] = video
    examples = [Example(media, tuple(captions), videos[media]) for media, captions in captions_of.items()]
    return [_captions("AudioCaps", "audiocaps", examples, store)]


def vggsound_table(root: Path) -> Path | None:
    """Return VGGSound's table, which has no header."""
    for table in (root / "vggsound.csv", root / "test.csv"):
        if table.is_file():
            with table.open(newline="", encoding="utf-8-sig") as file:
                first = next(csv.reader(file), [])
            if len(first) == 4 and first[3] in ("train", "test") and first[1].isdigit():
                return table
    return None


def vggsound(root: Path) -> list[Dataset]:
    """Read the test part of VGGSound: one label per video, of which only the sound is used."""
    table, store = _require(vggsound_table(root), root, "vggsound.csv"), MediaStore(root, suffixes=SOUND_SUFFIXES)
    examples, labels = [], []
    with table.open(newline="", encoding="utf-8-sig") as file:
        for video, start, label, split in csv.reader(file):
            labels.append(label)
            media = store.find(*_clip_names(video, start)) if split == "test" else None
            if media:
                examples.append(Example(media, (label,), video))
    return [_classes("VGGSound", "vggsound", examples, labels, store)]


def audioset_table(root: Path) -> Path | None:
    """Return AudioSet's table of segments, preferably that for evaluation."""
    names = [f"{part}_segments.csv" for part in ("eval", "balanced_train", "unbalanced_train")]
    found = next((root / name for name in names if (root / name).is_file()), None)
    return found if (root / "class_labels_indices.csv").is_file() else None


def audioset(root: Path) -> list[Dataset]:
    """Read AudioSet: several labels per segment."""
    table = _require(audioset_table(root), root, "eval_segments.csv and class_labels_indices.csv")
    store, examples = MediaStore(root, suffixes=SOUND_SUFFIXES), []
    names = {row["mid"]: row["display_name"] for row in read_table(root / "class_labels_indices.csv", columns=("mid",))}
    with table.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader((line for line in file if not line.startswith("#")), skipinitialspace=True):
            labels = tuple(names[mid] for mid in row[3].split(",") if mid in names) if len(row) > 3 else ()
            media = store.find(*_clip_names(row[0], row[1])) if labels else None
            if media:
                examples.append(Example(media, labels, row[0]))
    return [_classes("AudioSet", "audioset", examples, list(names.values()), store)]


def _clip_names(video: str, start: str) -> tuple[str, ...]:
    """Return the file names that download tools give to clips of videos."""
    second = int(float(start))
    ends = ("", f"_{second}", f"_{second:06d}", f"_{second * 1000}", f"_{second * 1000}_{second * 1000 + 10_000}")
    return tuple(f"{before}{video}{end}.wav" for before in ("", "Y") for end in ends)


def collection_table(root: Path) -> Path | None:
    """Return the manifest of a collection of named sounds."""
    table = root / "manifest.csv"
    return table if {"audio", "name"} <= column_names(table) else None


def collection(root: Path) -> list[Dataset]:
    """Read named sounds by a manifest, with the pictures that it pairs with them, or else by file names."""
    table = collection_table(root)
    if table is None:
        return [_by_file_name(root)]
    name, held_out = root.resolve().name, root.resolve().name not in TRAINING_COLLECTIONS
    store, images = MediaStore(root, suffixes=SOUND_SUFFIXES), MediaStore(root, suffixes=IMAGE_SUFFIXES)
    sounds, pictures = {}, {}
    for row in read_table(table):
        words = (_without_number(row["name"]),)
        if row["audio"] and (media := store.find(row["audio"])):
            sounds[media] = Example(media, words, str(media), held_out)
        if row.get("image") and (media := images.find(row["image"])):
            pictures[media] = Example(media, words, str(media), held_out)
    found = [Dataset(name, "names", Modality.AUDIO, Truth.NAMES, tuple(sounds.values()), notes=store.notes())]
    if pictures:
        found.append(
            Dataset(name, "names", Modality.IMAGE, Truth.NAMES, tuple(pictures.values()), notes=images.notes())
        )
    return found


def _by_file_name(root: Path) -> Dataset:
    store = MediaStore(root, suffixes=SOUND_SUFFIXES)
    name = root.resolve().name
    held_out = name not in TRAINING_COLLECTIONS
    named = [(media, _without_number(media.name.rpartition(".")[0])) for media in store.files.values()]
    examples = [Example(media, (words,), str(media), held_out) for media, words in named]
    notes = note_ignored(root, store.files.values(), because="only sounds and videos are measured")
    return Dataset(name, "names", Modality.AUDIO, Truth.NAMES, tuple(examples), notes=notes)


def _without_number(name: str) -> str:
    """Remove a number from the end: `rain_on_roof-2` becomes `rain on roof`; a name of digits alone stays."""
    return as_words(_NUMBERED.sub("", name)) or as_words(name)


def _first(root: Path, names: list[str] | tuple[str, ...], column: str) -> Path | None:
    return next((root / name for name in names if column in column_names(root / name)), None)


def _require(table: Path | None, root: Path, what: str) -> Path:
    if table is None:
        raise BadQuery(f"{root}: this layout needs {what}")
    return table


def _classes(name: str, layout: str, examples: list[Example], labels: list[str], store: MediaStore) -> Dataset:
    known = tuple(sorted(set(labels)))
    return Dataset(name, layout, Modality.AUDIO, Truth.CLASSES, tuple(examples), known, store.notes())


def _captions(name: str, layout: str, examples: list[Example], store: MediaStore) -> Dataset:
    return Dataset(name, layout, Modality.AUDIO, Truth.CAPTIONS, tuple(examples), notes=store.notes())
