"""The held-out split of the pocket model, used by its training and its evaluation."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

CALTECH_PHOTOS_PER_HELD_OUT = 6
"""One photo of Caltech101 in 6 is held out."""
ESC_RECORDINGS_PER_HELD_OUT = 4
"""One recording of ESC-50 in 4 is held out."""
URBAN_FOLD = "10"
"""The fold of UrbanSound8K that is held out."""
HELD_OUT_COLLECTIONS = ("aura", "kakapo")
"""Collections of named sounds that are held out."""
TRAINING_COLLECTIONS = (
    *("atmoify", "oviya_babycry", "pairs_animalsfree", "pairs_gcompris", "pairs_postace", "pairs_soundsofnature"),
    *("pairs_yuxiaohui", "relaxandsleep", "soundeffect_duckick", "tierruf"),
)
"""Collections of named sounds that the model was trained on."""
_ESC_CLIP = re.compile(r"\d-\d+-[A-Z]-\d+\.\w+")


def flickr_dev(captions: Path) -> frozenset[str]:
    """Return the held-out photos of Flickr8k, from a table with the columns image and split."""
    with captions.open(newline="", encoding="utf-8") as file:
        return frozenset(row["image"] for row in csv.DictReader(file) if row["split"] == "dev")


def caltech_held_out(name: str) -> bool:
    """Whether a photo of Caltech101 is held out; `name` is `folder/file`."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % CALTECH_PHOTOS_PER_HELD_OUT == 0


def esc_held_out(recording: str) -> bool:
    """Whether a recording of ESC-50 is held out, with all clips that were cut from it."""
    return hashlib.sha256(recording.encode()).digest()[0] % ESC_RECORDINGS_PER_HELD_OUT == 0


def is_esc_clip(name: str) -> bool:
    """Whether a file name has the form of ESC-50's clips."""
    return _ESC_CLIP.fullmatch(name) is not None


def sound_held_out(clip: str, recording: str) -> bool:
    """Whether a sound is held out.

    ESC-50 is split by recording, UrbanSound8K by fold, named sounds (`collection/member`) by collection.
    """
    if is_esc_clip(clip):
        return esc_held_out(recording)
    return f"/fold{URBAN_FOLD}/" in clip or clip.startswith(tuple(f"{name}/" for name in HELD_OUT_COLLECTIONS))
