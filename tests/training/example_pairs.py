"""Synthetic pictures and sounds of six invented things: each colour goes with a kind of sound."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import numpy as np
from PIL import Image

RATE = 16_000
COLOURS = {
    "red": (220, 30, 20),
    "yellow": (230, 220, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 230),
    "white": (250, 250, 250),
    "black": (8, 8, 8),
}


def sound(kind: str, rng: np.random.Generator, *, seconds: float = 2.0) -> np.ndarray:
    """Return a random sound of one of six kinds."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = rng.uniform(0.8, 1.25)
    match kind:
        case "red":
            waveform = np.sin(2 * np.pi * 110 * pitch * time)
        case "yellow":
            waveform = np.sin(2 * np.pi * 3000 * pitch * time)
        case "green":
            waveform = np.sin(2 * np.pi * (600 * time + 150 * pitch * np.sin(2 * np.pi * 2 * time)))
        case "blue":
            waveform = rng.normal(size=len(time))
        case "white":
            waveform = rng.normal(size=len(time)) * (time * 6 * pitch % 1 < 0.15)
        case _:
            waveform = np.sign(np.sin(2 * np.pi * 400 * pitch * time)) * (time * 3 * pitch % 1 < 0.5)
    noise = 0.03 * rng.normal(size=len(time))
    return (rng.uniform(0.1, 0.5) * (waveform / np.abs(waveform).max()) + noise).astype(np.float32)


def picture(kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a random picture of one of six colours."""
    pixels = np.array(COLOURS[kind]) + rng.normal(0, 12, size=(48, 64, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_sound(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def collection(folder: Path, *, sounds: int, seed: int = 0) -> Path:
    """Write a manifest with its media: for each colour four pictures, and some sounds, a quarter of them held out."""
    rng = np.random.default_rng(seed)
    rows = []
    for kind in COLOURS:
        images = folder / "images" / kind
        images.mkdir(parents=True)
        for number in range(4):
            picture(kind, rng).save(images / f"{number}.png")
        for split, count in (("train", sounds - sounds // 4), ("dev", sounds // 4)):
            sound_folder = folder / "sounds" / split / kind
            sound_folder.mkdir(parents=True)
            for number in range(count):
                write_sound(sound_folder / f"{number}.wav", sound(kind, rng))
            rows.append((f"images/{kind}", f"sounds/{split}/{kind}", kind, split))
    manifest = folder / "pairs.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "sound", "concept", "split"), *rows])
    return manifest
