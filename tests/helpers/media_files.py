"""Write small media files for tests: images of one colour, tones, texts."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from PIL import Image

RATE = 16_000


def picture(path: Path, colour: str | tuple[int, int, int], *, size: int = 48) -> Path:
    """Write an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), colour).save(path)
    return path


def tone(hertz: float, seconds: float, *, loudness: float = 0.5) -> np.ndarray:
    """Return the samples of a sine wave at the rate RATE."""
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def sound(path: Path, samples: np.ndarray, *, rate: int = RATE) -> Path:
    """Write samples as a 16-bit WAV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def passage(path: Path, words: str) -> Path:
    """Write a text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(words, encoding="utf-8")
    return path


def small_collection(folder: Path) -> Path:
    """Write nine files in two folders: three images, three sounds, three texts."""
    for name in ("red", "green", "blue"):
        picture(folder / "pictures" / f"{name}.png", name)
    for name, hertz in {"low": 80.0, "middle": 600.0, "high": 4000.0}.items():
        sound(folder / "sounds" / f"{name}.wav", tone(hertz, 3.0))
    for name in ("sea", "forest", "night"):
        passage(folder / "sounds" / f"{name}.txt", f"About the {name}.")
    return folder


def large_collection(folder: Path, *, pictures: int, sounds: int, tones: int, texts: int) -> Path:
    """Write images of a random colour, sounds of `tones` random tones, and short texts."""
    rng = np.random.default_rng(0)
    for number in range(pictures):
        picture(folder / f"{number:03d}.png", tuple(rng.integers(0, 256, 3).tolist()))
    for number in range(sounds):
        parts = [tone(hertz, 2.0) for hertz in rng.uniform(60, 6000, tones)]
        sound(folder / f"{number:03d}.wav", np.concatenate(parts))
    for number in range(texts):
        passage(folder / f"{number:03d}.txt", f"{['red', 'blue', 'low', 'high'][number % 4]} number {number}")
    return folder
