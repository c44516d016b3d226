"""Readers of sets of sounds."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from bindsearch.errors import BadQuery
from bindsearch.evaluation.dataset import Dataset, Example, Media, Truth
from bindsearch.evaluation.media_files import PICTURES, SOUNDING, Store, header, left_out, rows, spoken
from bindsearch.evaluation.split import HEARD_COLLECTIONS, URBAN_FOLD, esc_held_out
from bindsearch.types import Modality

_NUMBERED = re.compile(r"[ _-]*\(?\d*\)?$")


def esc50_table(root: Path) -> Path | None:
    """Find ESC-50's table, in its own layout or in the short one."""
    for table, told in ((root / "meta" / "esc50.csv", "filename"), (root / "clips.csv", "file")):
        if {told, "category"} <= header(table):
            return table
    return None


def esc50(root: Path) -> list[Dataset]:
    """Read ESC-50: 50 classes, clips of 5 s. Recordings are told apart by the column `src_file` or `recording`."""
    table, store = _needed(esc50_table(root), root, "meta/esc50.csv or clips.csv"), Store(root, suffixes=SOUNDING)
    examples, labels = [], []
    for row in rows(table):
        label, recording = spoken(row["category"]), row.get("recording") or row.get("src_file") or ""
        labels.append(label)
        media = store.find(row.get("filename") or row["file"])
        if media:
            examples.append(Example(media, (label,), recording, esc_held_out(recording)))
    return [_classes("ESC-50", "esc50", examples, labels, store)]


def urbansound8k_table(root: Path) -> Path | None:
    """Find UrbanSound8K's table."""
    return _first(root, ("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"), "slice_file_name")


def urbansound8k(root: Path) -> list[Dataset]:
    """Read UrbanSound8K: 10 classes; clips of one recording share `fsID`."""
    table = _needed(urbansound8k_table(root), root, "metadata/UrbanSound8K.csv")
    store, examples, labels = Store(root, suffixes=SOUNDING), [], []
    for row in rows(table, columns=("slice_file_name", "fold", "class")):
        media = store.find(f"audio/fold{row['fold']}/{row['slice_file_name']}", row["slice_file_name"])
        labels.append(spoken(row["class"]))
        if media:
            examples.append(Example(media, (labels[-1],), row.get("fsID", ""), row["fold"] == URBAN_FOLD))
    return [_classes("UrbanSound8K", "urbansound8k", examples, labels, store)]


def clotho_table(root: Path) -> Path | None:
    """Find Clotho's captions, those for evaluation before others."""
    names = [f"clotho_captions_{part}.csv" for part in ("evaluation", "validation", "development")]
    return _first(root, names, "caption_1")


def clotho(root: Path) -> list[Dataset]:
    """Read Clotho: five captions a sound."""
    table, store = _needed(clotho_table(root), root, "clotho_captions_evaluation.csv"), Store(root, suffixes=SOUNDING)
    examples = []
    for row in rows(table, columns=("file_name",)):
        captions = tuple(row[name] for name in sorted(row) if name.startswith("caption_") and row[name])
        media = store.find(row["file_name"])
        if media and captions:
            examples.append(Example(media, captions))
    return [_captions("Clotho", "clotho", examples, store)]


def audiocaps_table(root: Path) -> Path | None:
    """Find AudioCaps' table, that for testing before others."""
    return _first(root, ("test.csv", "val.csv", "train.csv"), "youtube_id")


def audiocaps(root: Path) -> list[Dataset]:
    """Read AudioCaps: a row a caption. Sounds are called by film, with or without the second, or by row."""
    table, store = _needed(audiocaps_table(root), root, "test.csv"), Store(root, suffixes=SOUNDING)
    said: dict[Media, list[str]] = {}
    films: dict[Media, str] = {}
    for row in rows(table, columns=("youtube_id", "caption")):
        film = row["youtube_id"]
        media = store.find(*_film_names(film, row.get("start_time") or "0"), row.get("audiocap_id") or film)
        if media:
            said.setdefault(media, []).append(row["caption"])
            films[media] = film
    examples = [Example(media, tuple(captions), films[media]) for media, captions in said.items()]
    return [_captions("AudioCaps", "audiocaps", examples, store)]


def vggsound_table(root: Path) -> Path | None:
    """Find VGGSound's table, which has no header."""
    for table in (root / "vggsound.csv", root / "test.csv"):
        if table.is_file():
            with table.open(newline="", encoding="utf-8-sig") as file:
                first = next(csv.reader(file), [])
            if len(first) == 4 and first[3] in ("train", "test") and first[1].isdigit():
                return table
    return None


def vggsound(root: Path) -> list[Dataset]:
    """Read VGGSound: its test part; one label a film. Films are heard, not seen."""
    table, store = _needed(vggsound_table(root), root, "vggsound.csv"), Store(root, suffixes=SOUNDING)
    examples, labels = [], []
    with table.open(newline="", encoding="utf-8-sig") as file:
        for film, start, label, split in csv.reader(file):
            labels.append(label)
            media = store.find(*_film_names(film, start)) if split == "test" else None
            if media:
                examples.append(Example(media, (label,), film))
    return [_classes("VGGSound", "vggsound", examples, labels, store)]


def audioset_table(root: Path) -> Path | None:
    """Find AudioSet's table of segments, that for evaluation before others."""
    names = [f"{part}_segments.csv" for part in ("eval", "balanced_train", "unbalanced_train")]
    found = next((root / name for name in names if (root / name).is_file()), None)
    return found if (root / "class_labels_indices.csv").is_file() else None


def audioset(root: Path) -> list[Dataset]:
    """Read AudioSet: several labels a segment."""
    table = _needed(audioset_table(root), root, "eval_segments.csv and class_labels_indices.csv")
    store, examples = Store(root, suffixes=SOUNDING), []
    names = {row["mid"]: row["display_name"] for row in rows(root / "class_labels_indices.csv", columns=("mid",))}
    with table.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.reader((line for line in file if not line.startswith("#")), skipinitialspace=True):
            labels = tuple(names[mid] for mid in row[3].split(",") if mid in names) if len(row) > 3 else ()
            media = store.find(*_film_names(row[0], row[1])) if labels else None
            if media:
                examples.append(Example(media, labels, row[0]))
    return [_classes("AudioSet", "audioset", examples, list(names.values()), store)]


def _film_names(film: str, start: str) -> tuple[str, ...]:
    """Return the ways in which those who gather pieces of films call them."""
    second = int(float(start))
    ends = ("", f"_{second}", f"_{second:06d}", f"_{second * 1000}", f"_{second * 1000}_{second * 1000 + 10_000}")
    return tuple(f"{before}{film}{end}.wav" for before in ("", "Y") for end in ends)


def collection_table(root: Path) -> Path | None:
    """Find the manifest of a collection of named sounds."""
    table = root / "manifest.csv"
    return table if {"audio", "name"} <= header(table) else None


def collection(root: Path) -> list[Dataset]:
    """Read named sounds, by a manifest or by the files' own names, and the pictures that a manifest pairs with them."""
    table = collection_table(root)
    if table is None:
        return [_by_file_name(root)]
    name, held = root.resolve().name, root.resolve().name not in HEARD_COLLECTIONS
    store, seen = Store(root, suffixes=SOUNDING), Store(root, suffixes=PICTURES)
    sounds, pictures = {}, {}
    for row in rows(table):
        called = (_without_number(row["name"]),)
        if row["audio"] and (media := store.find(row["audio"])):
            sounds[media] = Example(media, called, str(media), held)
        if row.get("image") and (media := seen.find(row["image"])):
            pictures[media] = Example(media, called, str(media), held)
    found = [Dataset(name, "names", Modality.AUDIO, Truth.NAMES, tuple(sounds.values()), notes=store.told())]
    if pictures:
        found.append(Dataset(name, "names", Modality.IMAGE, Truth.NAMES, tuple(pictures.values()), notes=seen.told()))
    return found


def _by_file_name(root: Path) -> Dataset:
    store = Store(root, suffixes=SOUNDING)
    name = root.resolve().name
    held = name not in HEARD_COLLECTIONS
    called = [(media, _without_number(media.name.rpartition(".")[0])) for media in store.files.values()]
    examples = [Example(media, (words,), str(media), held) for media, words in called]
    notes = left_out(root, store.files.values(), because="only sounds and videos are measured")
    return Dataset(name, "names", Modality.AUDIO, Truth.NAMES, tuple(examples), notes=notes)


def _without_number(name: str) -> str:
    """`rain_on_roof-2` and `rain on roof (2)` are both rain on a roof; a name of digits alone stays."""
    return spoken(_NUMBERED.sub("", name)) or spoken(name)


def _first(root: Path, names: list[str] | tuple[str, ...], column: str) -> Path | None:
    return next((root / name for name in names if column in header(root / name)), None)


def _needed(table: Path | None, root: Path, what: str) -> Path:
    if table is None:
        raise BadQuery(f"{root}: has no {what}, as this layout needs")
    return table


def _classes(name: str, layout: str, examples: list[Example], labels: list[str], store: Store) -> Dataset:
    known = tuple(sorted(set(labels)))
    return Dataset(name, layout, Modality.AUDIO, Truth.CLASSES, tuple(examples), known, store.told())


def _captions(name: str, layout: str, examples: list[Example], store: Store) -> Dataset:
    return Dataset(name, layout, Modality.AUDIO, Truth.CAPTIONS, tuple(examples), notes=store.told())
