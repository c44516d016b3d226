"""Plant copies of photos and sounds, and count how many of them are found, and how many others are taken for copies.

    python scripts/experiments/fingerprints.py DATA [--part train|dev] [--pictures 400] [--sounds 150] [--seed 0]

DATA has flickr8k, caltech101, esc50 and sounds. Copies are re-encoded, resized, cropped to no less than 85 % of each
side, changed in gain, trimmed, and all of it at once. False is a stranger that is taken for a copy, or a copy that is
taken for one of something else. Thresholds were chosen with `--part train`; `--part dev` has other photos and other
recordings. Exit status 1 unless at least 95 % of the copies are found and at most 0.1 % are false.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from bindsearch.duplicates import audio_fingerprint as mark_sound, image_fingerprint as mark_picture
from bindsearch.evaluation.dataset import Example, Media
from bindsearch.evaluation.layouts import read

FOUND, FALSE = 0.95, 0.001
REAL_COPIES = ("oviya_babycry",)
"""Collections of sounds with clips of ESC-50 in them: found by this trial, and no strangers."""
Samples = NDArray[np.float32]
Sorted = tuple[list[Example], list[Example]]
"""What is copied, and what is not."""


# Pictures ---------------------------------------------------------------------------------------------------------


def encoded(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Through JPEG or WebP, at a quality from poor to fair."""
    target = io.BytesIO()
    picture.save(target, chance.choice(["JPEG", "WEBP"]), quality=chance.randint(25, 80))
    return Image.open(target).convert("RGB")


def cropped(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Keep 85 to 97 % of each side, anywhere."""
    width, height = (round(side * chance.uniform(0.85, 0.97)) for side in picture.size)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def resized(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Make it half to twice as large."""
    scale = chance.uniform(0.5, 2.0)
    return picture.resize((max(32, round(picture.width * scale)), max(32, round(picture.height * scale))))


def brightened(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Change brightness and contrast by up to 30 %."""
    picture = ImageEnhance.Brightness(picture).enhance(chance.uniform(0.7, 1.3))
    return ImageEnhance.Contrast(picture).enhance(chance.uniform(0.7, 1.3))


def all_of_it(picture: Image.Image, chance: random.Random) -> Image.Image:
    """Crop, resize, brighten, encode."""
    for txn in (cropped, resized, brightened, encoded):
        picture = txn(picture, chance)
    return picture


CHANGES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "re-encoded": encoded,
    "cropped": cropped,
    "resized": resized,
    "gain": brightened,
    "all": all_of_it,
}


def photo(media: Media) -> Image.Image:
    return Image.open(io.BytesIO(media.read())).convert("RGB")


# Sounds -----------------------------------------------------------------------------------------------------------


def samples_of(content: bytes) -> Samples:
    """Decode to mono at 16 kHz."""
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=mark_sound.RATE)
        parts = [piece.to_ndarray()[0] for frame in file.decode(audio=0) for piece in resampler.resample(frame)]
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def through_codec(samples: Samples, chance: random.Random) -> Samples:
    """Through MP3, Opus or AAC, at a low rate."""
    codec, form, rates = chance.choice(
        [("libmp3lame", "mp3", (32, 64)), ("libopus", "ogg", (16, 32)), ("aac", "adts", (32, 64))]
    )
    target = io.BytesIO()
    with av.open(target, "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=48_000 if codec == "libopus" else 44_100, layout="mono")
        stream.bit_rate = chance.choice(rates) * 1000
        size = stream.codec_context.frame_size
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
        frame.sample_rate = mark_sound.RATE
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return samples_of(target.getvalue())


def quieter(samples: Samples, chance: random.Random) -> Samples:
    """By 3 to 20 dB, or louder without clipping."""
    loudest = float(np.abs(samples).max()) or 1.0
    return (samples / loudest * chance.uniform(0.1, 1.0)).astype(np.float32)


def trimmed(samples: Samples, chance: random.Random) -> Samples:
    """Cut up to 20 % off each end."""
    count = len(samples)
    return samples[round(count * chance.uniform(0, 0.2)) : count - round(count * chance.uniform(0, 0.2))]


def all_of_them(samples: Samples, chance: random.Random) -> Samples:
    """Trim, change the gain, encode."""
    return through_codec(quieter(trimmed(samples, chance), chance), chance)


TRIALS: dict[str, Callable[[Samples, random.Random], Samples]] = {
    "re-encoded": through_codec,
    "gain": quieter,
    "trimmed": trimmed,
    "all": all_of_them,
}


# Counting ---------------------------------------------------------------------------------------------------------


def chosen(folder: Path, more: Sequence[Path], part: str, count: int, chance: random.Random) -> Sorted:
    """Some of a set's part, to be copied; the rest of it and of more sets, of which there are no copies."""
    (dataset,) = read([folder])
    others = [each for each in read(more) if each.modality == dataset.modality]
    kept, *rest = (
        [example for example in each.examples if example.held_out == (part == "dev")] for each in (dataset, *others)
    )
    chance.shuffle(kept)
    return kept[:count], kept[count:] + [example for each in rest for example in each]


def on_progress(what: str, found: dict[str, list[bool]], tried: int, wrong: Sequence[tuple[str, str, float]]) -> bool:
    """Print one kind's figures; whether they are good enough."""
    for txn, hits in found.items():
        print(f"  {txn:12} found {sum(hits):5} of {len(hits):5}  {np.mean(hits):.3f}")
    every = [hit for hits in found.values() for hit in hits]
    share = len({one for one, _, _ in wrong}) / max(1, tried)
    print(f"{what}: found {np.mean(every):.4f} of {len(every)} copies, false {share:.4%} of {tried} tried", flush=True)
    for one, other, agreed in wrong[:10]:
        print(f"  taken for a copy: {one} {other} {agreed:.3f}")
    return bool(np.mean(every) >= FOUND and share <= FALSE)


def trial(what: str, plan: Sorted, kind: Kind, chance: random.Random) -> bool:
    """Compare copies of every kind, and strangers, with what was copied."""
    planted, others = plan
    originals = [kind.read(example.media) for example in planted]
    references = [kind.mark(original) for original in originals]
    found: dict[str, list[bool]] = {}
    wrong: list[tuple[str, str, float]] = []
    for name, txn in kind.changes.items():
        met = list(kind.matches([kind.mark(txn(original, chance)) for original in originals], references))
        own = {one for one, other, _ in met if one == other}
        found[name] = [place in own for place in range(len(planted))]
        for place in [place for place in range(len(planted)) if place not in own][:5]:
            print(f"  missed: {name} {planted[place].media.name} {planted[place].words[0]}")
        mixed = [(one, other, agreed) for one, other, agreed in met if one != other]
        wrong += [(f"{planted[one].media} {name}", str(planted[other].media), agreed) for one, other, agreed in mixed]
    strangers = kind.matches([kind.mark(kind.read(example.media)) for example in others], references)
    wrong += [(str(others[one].media), str(planted[other].media), agreed) for one, other, agreed in strangers]
    return on_progress(f"{what}, {len(planted)} copied", found, len(others) + len(planted) * len(found), wrong)


@dataclass(frozen=True)
class Kind:
    """How one kind of media is read, changed, marked and matched."""

    read: Callable[[Media], Any]
    changes: Mapping[str, Callable[[Any, random.Random], Any]]
    mark: Callable[[Any], Any]
    matches: Callable[[Sequence[Any], Sequence[Any]], Iterable[tuple[int, int, float]]]


PICTURES = Kind(photo, CHANGES, mark_picture.grey, mark_picture.matches)
SOUNDS = Kind(lambda media: samples_of(media.read()), TRIALS, mark_sound.signs, mark_sound.matches)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("train", "dev"), default="dev")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--sounds", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    data, chance, fine = given.data, random.Random(given.seed), True
    if given.pictures:
        plan = chosen(data / "flickr8k", [data / "caltech101"], given.part, given.pictures, chance)
        fine &= trial(f"pictures, {given.part}", plan, PICTURES, chance)
    if given.sounds:
        strangers = sorted(folder for folder in (data / "sounds").iterdir() if folder.name not in REAL_COPIES)
        plan = chosen(data / "esc50", strangers, given.part, given.sounds, chance)
        fine &= trial(f"sounds, {given.part}", plan, SOUNDS, chance)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
