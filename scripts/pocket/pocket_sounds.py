"""Gather sounds for training the pocket model: their spectrograms and their names.

Writes one folder per source: `frames.f16` (64 bands every 10 ms, clip after clip) and `clips.txt` (clip, recording,
concept, frames). A clip without a concept is for learning to hear, and is put beside no photos.

    python scripts/pocket/pocket_sounds.py DATA HOME [--mirror REPOSITORIES]
"""

from __future__ import annotations

import argparse
import csv
import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from bindsearch.encoders.pocket.spectrogram import BANDS, RATE, WINDOW_SAMPLES, log_mel
from numpy.typing import NDArray
from pocket_photos import git_pictures, listing

Samples = NDArray[np.float32]
LONGEST = 10  # seconds of one clip that are used
HEARABLE = {".wav", ".ogg", ".oga", ".mp3", ".flac", ".opus"}
GAME_OF_VOICES = "hedgewars-data"
"""The one folder that `--more` is given of which most sounds are speech."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording with its name."""

    name: str
    recording: str
    concept: str
    content: bytes


def decoded(content: bytes) -> Samples:
    """Mono samples at 16 kHz of the first seconds."""
    parts, count = [], 0
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in file.decode(audio=0):
            parts += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            count += frame.samples
            if count > LONGEST * frame.sample_rate:
                break
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts)[: LONGEST * RATE].astype(np.float32)


def esc50(data: Path) -> Iterator[Clip]:
    with (data / "esc50" / "clips.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    with tarfile.open(data / "esc50" / "clips.tar") as tar:
        for member in tar:
            row, opened = rows.get(Path(member.name).name), tar.extractfile(member)
            if row and opened:
                yield Clip(row["file"], row["recording"], row["category"].replace("_", " "), opened.read())


def named(data: Path) -> Iterator[Clip]:
    for manifest in sorted(data.glob("sounds/*/manifest.csv")):
        with manifest.open(newline="") as file:
            rows = {row["audio"]: row for row in csv.DictReader(file)}
        with tarfile.open(manifest.parent / "media.tar") as tar:
            for member in tar:
                row, opened = rows.get(member.name), tar.extractfile(member)
                if row and opened:
                    name = f"{manifest.parent.name}/{member.name}"
                    yield Clip(name, name, re.sub(r" \(\d\)$", "", row["name"]), opened.read())


URBAN = [
    "air conditioner",
    "car horn",
    "children playing",
    "dog",
    "drilling",
    "engine",
    "gunshot",
    "jackhammer",
    "siren",
    "street music",
]
ANIMALS = {"Aslan": "lion", "Esek": "donkey", "Inek": "cow", "Kedi": "cat", "Kopek": "dog", "Koyun": "sheep"}
ANIMALS |= {"Kurbaga": "frog", "Kus": "chirping birds", "Maymun": "monkey", "Tavuk": "hen"}


def repository(mirror: Path, name: str, only: str, commit: str = "HEAD") -> Iterator[tuple[str, bytes]]:
    """The sounds of a fetched repository."""
    folder = next(iter((mirror / name).glob("repo*")))
    wanted = [path for path in listing(folder, commit) if re.search(only, path, re.IGNORECASE)]
    yield from git_pictures(folder, wanted, commit)


def urban(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "Alejandro-131004+AC-II", r"audio/.*\.wav$", "8f8b8f27"):
        recording, kind = Path(path).name.split("-")[:2]
        yield Clip(path, recording, URBAN[int(kind)], content)


def animals(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "YashNita+Animal-Sound-Dataset", r"\.wav$"):
        yield Clip(path, path, ANIMALS[path.split("/")[0].split("-")[0]], content)


def cries(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "gveres+donateacry-corpus", r"cleaned.*\.wav$"):
        yield Clip(path, Path(path).name[:36], "crying baby", content)


def instruments(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "tidalcycles+Dirt-Samples", r"\.wav$"):
        yield Clip(path, path, f"dirt {path.split('/')[0]}", content)


def streets(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "ekkezia+sonyc-dataviz", r"\.wav$"):
        yield Clip(path, path, "", content)


def effects(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "chosig+tintin-alteraeon", r"\.(wav|ogg|mp3)$"):
        yield Clip(path, path, "", content)


def folder(path: Path) -> Iterator[Clip]:
    """All sounds below a folder, without names: for learning to hear."""
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in HEARABLE and file.is_file():
            name = f"{path.name}/{file.relative_to(path)}"
            yield Clip(name, name, "", file.read_bytes())


def gather(clips: Iterator[Clip], out: Path) -> int:
    """Write one source; how many clips it gave. A source that is complete is left alone."""
    if (out / "clips.txt").exists():
        return len((out / "clips.txt").read_text().splitlines())
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with (out / "frames.f16").open("wb") as file:
        for clip in clips:
            try:
                samples = decoded(clip.content)
            except (av.FFmpegError, ValueError, IndexError):
                continue
            if not len(samples):
                continue
            frames = log_mel(samples if len(samples) >= WINDOW_SAMPLES else np.resize(samples, WINDOW_SAMPLES))
            file.write(frames.astype(np.float16).tobytes())
            lines.append(f"{clip.name}\t{clip.recording}\t{clip.concept}\t{len(frames)}\n")
    (out / "clips.new").write_text("".join(lines))
    (out / "clips.new").replace(out / "clips.txt")
    return len(lines)


@dataclass(frozen=True, slots=True)
class Gathered:
    """One clip that `gather` wrote."""

    source: str
    name: str
    recording: str
    concept: str
    frames: NDArray[np.float16]
    """*Shape:* (n, 64)."""


def gathered(home: Path) -> list[Gathered]:
    """All clips."""
    found = []
    for path in sorted(home.glob("cache/sounds/*/clips.txt")):
        frames, at = np.fromfile(path.parent / "frames.f16", np.float16).reshape(-1, BANDS), 0
        for line in path.read_text().splitlines():
            name, recording, concept, length = line.split("\t")
            found.append(Gathered(path.parent.name, name, recording, concept, frames[at : at + int(length)]))
            at += int(length)
    return found


def main() -> None:
    """Gather every source that is at hand."""
    parser = argparse.ArgumentParser(description="gather sounds and their spectrograms")
    parser.add_argument("data", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--mirror", type=Path, help="a folder with repositories of more sounds")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="folders with sounds of any kind, unnamed")
    given = parser.parse_args()
    sources = {"esc50": esc50(given.data), "named": named(given.data)}
    if given.mirror:
        sources |= {"animals": animals(given.mirror), "cries": cries(given.mirror), "urban": urban(given.mirror)}
        sources |= {"instruments": instruments(given.mirror), "streets": streets(given.mirror)}
        sources |= {"effects": effects(given.mirror)}
    sources |= {path.name: folder(path) for path in given.more}
    for name, clips in sources.items():
        try:
            count = gather(clips, given.home / "cache" / "sounds" / name)
        except (StopIteration, subprocess.CalledProcessError) as error:
            print(f"{name}: not at hand ({error})", flush=True)
            continue
        print(f"{name}: {count} clips", flush=True)


if __name__ == "__main__":
    main()
