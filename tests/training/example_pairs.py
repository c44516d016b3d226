"""Pictures and sounds of six made-up things, drawn and synthesised: a picture's colour goes with a kind of sound."""

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


def sound(kind: str, chance: np.random.Generator, *, seconds: float = 2.0) -> np.ndarray:
    """One of six kinds of sound, never twice the same."""
    time = np.arange(int(seconds * RATE)) / RATE
    pitch = chance.uniform(0.8, 1.25)
    match kind:
        case "red":
            made = np.sin(2 * np.pi * 110 * pitch * time)
        case "yellow":
            made = np.sin(2 * np.pi * 3000 * pitch * time)
        case "green":
            made = np.sin(2 * np.pi * (600 * time + 150 * pitch * np.sin(2 * np.pi * 2 * time)))
        case "blue":
            made = chance.normal(size=len(time))
        case "white":
            made = chance.normal(size=len(time)) * (time * 6 * pitch % 1 < 0.15)
        case _:
            made = np.sign(np.sin(2 * np.pi * 400 * pitch * time)) * (time * 3 * pitch % 1 < 0.5)
    noise = 0.03 * chance.normal(size=len(time))
    return (chance.uniform(0.1, 0.5) * (made / np.abs(made).max()) + noise).astype(np.float32)


def picture(kind: str, chance: np.random.Generator) -> Image.Image:
    """A picture of one of the colours, never twice the same."""
    pixels = np.array(COLOURS[kind]) + chance.normal(0, 12, size=(48, 64, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_sound(path: Path, samples: np.ndarray) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def collection(folder: Path, *, sounds: int, seed: int = 0) -> Path:
    """Write a manifest with its media: for each colour four pictures, and as many sounds, every fourth held out."""
    chance = np.random.default_rng(seed)
    rows = []
    for kind in COLOURS:
        images = folder / "images" / kind
        images.mkdir(parents=True)
        for number in range(4):
            picture(kind, chance).save(images / f"{number}.png")
        for split, count in (("train", sounds - sounds // 4), ("dev", sounds // 4)):
            heard = folder / "sounds" / split / kind
            heard.mkdir(parents=True)
            for number in range(count):
                write_sound(heard / f"{number}.wav", sound(kind, chance))
            rows.append((f"images/{kind}", f"sounds/{split}/{kind}", kind, split))
    manifest = folder / "pairs.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "sound", "concept", "split"), *rows])
    return manifest
