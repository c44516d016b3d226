"""Gather sounds for training the pocket model: spectrograms, and the names of sounds that have one.

Writes one folder per source: `frames.f16` (64 bands every 10 ms, clip after clip) and `clips.txt` (clip, recording,
concept, number of frames). A clip without a concept is used to pretrain the sound tower, and is paired with no photos.

    python scripts/pocket/gather_sounds.py DATA HOME [--mirror REPOSITORIES] [--extra-sounds FOLDER ...]
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
from gather_photos import list_files, read_git
from numpy.typing import NDArray

Samples = NDArray[np.float32]
MAX_CLIP_SECONDS = 10
"""Of a longer clip, the first seconds are used."""
AUDIO_SUFFIXES = {".wav", ".ogg", ".oga", ".mp3", ".flac", ".opus"}
SPEECH_SOURCE = "hedgewars-data"
"""The folder of `--extra-sounds` whose sounds are mostly speech."""


@dataclass(frozen=True, slots=True)
class Clip:
    """An encoded sound, with the recording that it is part of and the concept that makes it ("" if unknown)."""

    name: str
    recording: str
    concept: str
    content: bytes


def decode_sound(content: bytes) -> Samples:
    """Return mono samples at 16 kHz of the first seconds."""
    parts, count = [], 0
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
        for frame in file.decode(audio=0):
            parts += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
            count += frame.samples
            if count > MAX_CLIP_SECONDS * frame.sample_rate:
                break
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts)[: MAX_CLIP_SECONDS * RATE].astype(np.float32)


def esc50(data: Path) -> Iterator[Clip]:
    """Yield ESC-50's clips."""
    with (data / "esc50" / "clips.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    with tarfile.open(data / "esc50" / "clips.tar") as tar:
        for member in tar:
            row, opened = rows.get(Path(member.name).name), tar.extractfile(member)
            if row and opened:
                yield Clip(row["file"], row["recording"], row["category"].replace("_", " "), opened.read())


def named(data: Path) -> Iterator[Clip]:
    """Yield the clips of the collections of named sounds."""
    for manifest in sorted(data.glob("sounds/*/manifest.csv")):
        with manifest.open(newline="") as file:
            rows = {row["audio"]: row for row in csv.DictReader(file)}
        with tarfile.open(manifest.parent / "media.tar") as tar:
            for member in tar:
                row, opened = rows.get(member.name), tar.extractfile(member)
                if row and opened:
                    name = f"{manifest.parent.name}/{member.name}"
                    yield Clip(name, name, re.sub(r" \(\d\)$", "", row["name"]), opened.read())


URBAN_CLASSES = [
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
ANIMALS_BY_FOLDER = {"Aslan": "lion", "Esek": "donkey", "Inek": "cow", "Kedi": "cat", "Kopek": "dog", "Koyun": "sheep"}
ANIMALS_BY_FOLDER |= {"Kurbaga": "frog", "Kus": "chirping birds", "Maymun": "monkey", "Tavuk": "hen"}


def repository(mirror: Path, name: str, pattern: str, commit: str = "HEAD") -> Iterator[tuple[str, bytes]]:
    """Yield the files of a local repository whose names match a pattern."""
    folder = next(iter((mirror / name).glob("repo*")))
    matching = [path for path in list_files(folder, commit) if re.search(pattern, path, re.IGNORECASE)]
    yield from read_git(folder, matching, commit)


def urban(mirror: Path) -> Iterator[Clip]:
    """Yield UrbanSound8K's clips."""
    for path, content in repository(mirror, "Alejandro-131004+AC-II", r"audio/.*\.wav$", "8f8b8f27"):
        recording, kind = Path(path).name.split("-")[:2]
        yield Clip(path, recording, URBAN_CLASSES[int(kind)], content)


def animals(mirror: Path) -> Iterator[Clip]:
    for path, content in repository(mirror, "YashNita+Animal-Sound-Dataset", r"\.wav$"):
        yield Clip(path, path, ANIMALS_BY_FOLDER[path.split("/")[0].split("-")[0]], content)


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


def unnamed(path: Path) -> Iterator[Clip]:
    """Yield all sounds below a folder, without concepts."""
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file():
            name = f"{path.name}/{file.relative_to(path)}"
            yield Clip(name, name, "", file.read_bytes())


def gather(clips: Iterator[Clip], out: Path) -> int:
    """Write one source and return its number of clips. A complete source is not written again."""
    if (out / "clips.txt").exists():
        return len((out / "clips.txt").read_text().splitlines())
    out.mkdir(parents=True, exist_ok=True)
    lines = []
    with (out / "frames.f16").open("wb") as file:
        for clip in clips:
            try:
                samples = decode_sound(clip.content)
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
class GatheredClip:
    """The spectrogram of one clip, as `gather` wrote it."""

    source: str
    name: str
    recording: str
    concept: str
    frames: NDArray[np.float16]
    """*Shape:* (n, 64)."""


def read_clips(home: Path) -> list[GatheredClip]:
    """Return the clips of all sources."""
    clips = []
    for path in sorted(home.glob("cache/sounds/*/clips.txt")):
        frames, start = np.fromfile(path.parent / "frames.f16", np.float16).reshape(-1, BANDS), 0
        for line in path.read_text().splitlines():
            name, recording, concept, length = line.split("\t")
            end = start + int(length)
            clips.append(GatheredClip(path.parent.name, name, recording, concept, frames[start:end]))
            start = end
    return clips


def main() -> None:
    """Gather every source that is available."""
    parser = argparse.ArgumentParser(description="Gather sounds and their spectrograms.")
    parser.add_argument("data", type=Path, help="folder with esc50 and sounds")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("--mirror", type=Path, help="folder with repositories of further sounds")
    parser.add_argument("--extra-sounds", type=Path, nargs="*", default=[], help="folders with unnamed sounds")
    args = parser.parse_args()
    sources = {"esc50": esc50(args.data), "named": named(args.data)}
    if args.mirror:
        sources |= {"animals": animals(args.mirror), "cries": cries(args.mirror), "urban": urban(args.mirror)}
        sources |= {"instruments": instruments(args.mirror), "streets": streets(args.mirror)}
        sources |= {"effects": effects(args.mirror)}
    sources |= {path.name: unnamed(path) for path in args.extra_sounds}
    for name, clips in sources.items():
        try:
            count = gather(clips, args.home / "cache" / "sounds" / name)
        except (StopIteration, subprocess.CalledProcessError) as error:
            print(f"{name}: skipped, not available ({error})", flush=True)
            continue
        print(f"{name}: {count} clips", flush=True)


if __name__ == "__main__":
    main()
