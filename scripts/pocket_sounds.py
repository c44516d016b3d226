"""Gather sounds for training the pocket model: names, spectrograms, and what the sound teacher hears.

Writes one folder per source: `spectra.f16` (windows of 2 s, 200 frames of 64 bands), `features.f16` (YAMNet's mean
over the patches of the same window), and `windows.txt` (clip, recording, concept). Silent windows are left out.

    python scripts/pocket_sounds.py DATA HOME [--mirror REPOSITORIES]
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
from bindsearch.encoders.pocket_sound import RATE, WINDOW, spectrogram
from numpy.typing import NDArray
from pocket_photos import git_pictures, listing
from pocket_teachers import HOP, PATCH, SoundTeacher

Samples = NDArray[np.float32]
QUIET = 1e-3  # a window whose loudest 100 ms stay under this has nothing to learn from
LONGEST = 10  # seconds of one clip that are used


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording with its name."""

    name: str
    recording: str
    concept: str
    content: bytes


def decoded(content: bytes) -> Samples:
    """Mono samples at 16 kHz."""
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        parts = [piece.to_ndarray()[0] for frame in file.decode(audio=0) for piece in resampler.resample(frame)]
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts)[: LONGEST * RATE].astype(np.float32)


def windows(samples: Samples) -> Iterator[Samples]:
    """Windows of 2 s every second; what is shorter is repeated, what is silent is skipped."""
    if len(samples) < WINDOW:
        samples = np.tile(samples, -(-WINDOW // max(1, len(samples))))[:WINDOW]
    for start in range(0, len(samples) - WINDOW + 1, RATE):
        window = samples[start : start + WINDOW]
        loud = np.sqrt(np.square(window.reshape(-1, RATE // 10)).mean(axis=1)).max()
        if loud > QUIET:
            yield window


def heard(window: Samples, teacher: SoundTeacher) -> Samples:
    """The teacher's mean over the sounding patches of a window."""
    starts = range(0, WINDOW - PATCH + 1, HOP)
    patches = [window[start : start + PATCH] for start in starts]
    loud = [float(np.abs(patch).max()) for patch in patches]
    kept = [patch for patch, level in zip(patches, loud, strict=True) if level >= 0.1 * max(loud)]
    return np.mean([teacher.features(patch) for patch in kept], axis=0)


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


def gather(clips: Iterator[Clip], out: Path, teacher: SoundTeacher) -> int:
    """Write one source; how many windows it gave. A source that is complete is left alone."""
    if (out / "windows.txt").exists():
        return len((out / "windows.txt").read_text().splitlines())
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with (out / "spectra.f16").open("wb") as spectra, (out / "features.f16").open("wb") as features:
        for clip in clips:
            try:
                samples = decoded(clip.content)
            except (av.FFmpegError, ValueError, IndexError):
                continue
            for window in windows(samples):
                spectra.write(spectrogram(window).astype(np.float16).tobytes())
                features.write(heard(window, teacher).astype(np.float16).tobytes())
                lines.append(f"{clip.name}\t{clip.recording}\t{clip.concept}\n")
    (out / "windows.new").write_text("".join(lines))
    (out / "windows.new").replace(out / "windows.txt")
    return len(lines)


def main() -> None:
    """Gather every source that is at hand."""
    parser = argparse.ArgumentParser(description="gather sounds, their spectrograms and their teacher's features")
    parser.add_argument("data", type=Path)
    parser.add_argument("home", type=Path)
    parser.add_argument("--mirror", type=Path, help="a folder with repositories of more sounds")
    given = parser.parse_args()
    teacher = SoundTeacher(given.data / "teachers" / "yamnet.tflite")
    sources = {"esc50": esc50(given.data), "named": named(given.data)}
    if given.mirror:
        sources |= {"animals": animals(given.mirror), "cries": cries(given.mirror), "urban": urban(given.mirror)}
        sources |= {"instruments": instruments(given.mirror)}
    for name, clips in sources.items():
        try:
            count = gather(clips, given.home / "cache" / "sounds" / name, teacher)
        except (StopIteration, subprocess.CalledProcessError) as error:
            print(f"{name}: not at hand ({error})", flush=True)
            continue
        print(f"{name}: {count} windows", flush=True)


if __name__ == "__main__":
    main()
