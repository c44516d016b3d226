"""What is written beside trained weights: what they are made of, how, and how good they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bindsearch.training.emergent import Emergence
from bindsearch.training.gathering import Sounds
from bindsearch.training.recipe import Recipe
from bindsearch.types import SpaceSpec


def card(
    sounds: Sounds, recipe: Recipe, base: SpaceSpec, *, result: Emergence, manifest: Path, licence: str, weights: str
) -> dict[str, Any]:
    """Return the card of a tower as plain values. `weights` is the SHA-256 of the file of weights."""
    return {
        "base": {"name": base.name, "fingerprint": base.fingerprint, "dim": base.dim, "licence": base.licence},
        "data": _data(sounds, manifest, licence),
        "recipe": asdict(recipe),
        "figures": asdict(result),
        "weights": weights,
        "aligned": "Sound was paired with pictures alone; that it meets text is emergent.",
    }


def write(path: Path, values: dict[str, Any]) -> None:
    """Write a card, whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    fresh.replace(path)


def _data(sounds: Sounds, manifest: Path, licence: str) -> dict[str, Any]:
    clips = {dev: len(set(sounds.clips[sounds.rows(dev=dev)].tolist())) for dev in (False, True)}
    return {
        "manifest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "sounds": hashlib.sha256("".join(sorted(sounds.hashes)).encode()).hexdigest(),
        "licence": licence or "not stated",
        "clips": {"train": clips[False], "dev": clips[True]},
        "windows": {"train": len(sounds.rows(dev=False)), "dev": len(sounds.rows(dev=True))},
        "pictures": sum(len(rows) for rows in sounds.pictures),
        "concepts": sorted({name for name in sounds.concepts if name}),
    }
