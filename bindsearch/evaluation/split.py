"""What was held out when the pocket model was trained: its training and its measuring both ask here."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

CALTECH_SHARE = 6
"""One photo of Caltech101 in so many is held out."""
ESC_SHARE = 4
"""One recording of ESC-50 in so many is held out."""
URBAN_FOLD = "10"
"""The fold of UrbanSound8K that is held out."""
COLLECTIONS = ("aura", "kakapo")
"""Collections of named sounds that stay unheard."""
HEARD_COLLECTIONS = (
    *("atmoify", "oviya_babycry", "pairs_animalsfree", "pairs_gcompris", "pairs_postace", "pairs_soundsofnature"),
    *("pairs_yuxiaohui", "relaxandsleep", "soundeffect_duckick", "tierruf"),
)
"""Collections of named sounds that the model was trained on."""
_ESC_CLIP = re.compile(r"\d-\d+-[A-Z]-\d+\.\w+")


def flickr_dev(captions: Path) -> frozenset[str]:
    """Return the photos of Flickr8k that are for measuring only, from a table with the columns image and split."""
    with captions.open(newline="", encoding="utf-8") as file:
        return frozenset(row["image"] for row in csv.DictReader(file) if row["split"] == "dev")


def caltech_held_out(name: str) -> bool:
    """Whether a photo of Caltech101 is for measuring only; `name` is `folder/file`."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % CALTECH_SHARE == 0


def esc_held_out(recording: str) -> bool:
    """Whether a recording of ESC-50 is for measuring only; all clips that were cut from it go with it."""
    return hashlib.sha256(recording.encode()).digest()[0] % ESC_SHARE == 0


def is_esc_clip(name: str) -> bool:
    """Whether a file is called as ESC-50 calls its clips."""
    return _ESC_CLIP.fullmatch(name) is not None


def sound_held_out(clip: str, recording: str) -> bool:
    """Whether a sound is for measuring only.

    ESC-50: by recording. UrbanSound8K: one fold. Named sounds (`collection/member`): whole collections.
    """
    if is_esc_clip(clip):
        return esc_held_out(recording)
    return f"/fold{URBAN_FOLD}/" in clip or clip.startswith(tuple(f"{name}/" for name in COLLECTIONS))
