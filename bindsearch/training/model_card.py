"""The model card of trained weights: their data, their hyperparameters, and how good they are."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bindsearch.core.files import write_text_atomically
from bindsearch.training.config import TrainingConfig
from bindsearch.training.held_out_evaluation import HeldOutFigures
from bindsearch.training.training_data import TrainingData
from bindsearch.types import SpaceSpec


def model_card(
    data: TrainingData,
    config: TrainingConfig,
    base: SpaceSpec,
    *,
    figures: HeldOutFigures,
    manifest: Path,
    licence: str,
    weights: str,
) -> dict[str, Any]:
    """Return the model card of a tower, ready for `json.dumps`. `weights` is the SHA-256 of the weights file."""
    return {
        "base": {"name": base.name, "fingerprint": base.fingerprint, "dim": base.dim, "licence": base.licence},
        "data": _data_as_json(data, manifest, licence),
        "recipe": asdict(config),
        "figures": asdict(figures),
        "weights": weights,
        "aligned": "Sound was paired with images only; its alignment with text is emergent.",
    }


def write(path: Path, card: dict[str, Any]) -> None:
    """Write a model card atomically."""
    write_text_atomically(path, json.dumps(card, indent=2, sort_keys=True) + "\n")


def _data_as_json(data: TrainingData, manifest: Path, licence: str) -> dict[str, Any]:
    clips = {dev: len(set(data.clips[data.rows(dev=dev)].tolist())) for dev in (False, True)}
    return {
        "manifest": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        "sounds": hashlib.sha256("".join(sorted(data.hashes)).encode()).hexdigest(),
        "licence": licence or "not stated",
        "clips": {"train": clips[False], "dev": clips[True]},
        "windows": {"train": len(data.rows(dev=False)), "dev": len(data.rows(dev=True))},
        "pictures": sum(len(rows) for rows in data.pictures),
        "concepts": sorted({name for name in data.concepts if name}),
    }
