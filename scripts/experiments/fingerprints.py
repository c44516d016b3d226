"""Plants copies of photos and sounds, and counts how many of them are found, and how many false copies.

    python scripts/experiments/fingerprints.py DATA [--part train|dev] [--pictures 300] [--sounds 80] [--seed 0]

DATA has the folders flickr8k, caltech101, esc50 and sounds. Copies are re-encoded, resized, cropped to no less than
85 % of each side, changed in gain, trimmed, and all of these at once. A false copy is an unrelated medium that is taken
for a copy, or a copy that is taken for one of something else. Thresholds were chosen with `--part train`; `--part dev`
has other photos and other recordings. The exit status is 1 unless at least 95 % of the copies are found and at most
0.1 % are false.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from bindsearch.duplicates import audio_fingerprint, image_fingerprint
from bindsearch.duplicates.copy_match import CopyMatch
from bindsearch.evaluation.dataset import Example, Media
from bindsearch.evaluation.layouts import read

MIN_FOUND_SHARE, MAX_FALSE_SHARE = 0.95, 0.001
REAL_COPIES = ("oviya_babycry",)
"""Collections of sounds that contain clips of ESC-50, as this experiment found: their matches are not false."""
SHOWN_MISSES, SHOWN_FALSE = 5, 10
Samples = NDArray[np.float32]


class Plan(NamedTuple):
    """The media of one modality in an experiment."""

    planted: list[Example]
    """Copied."""
    unrelated: list[Example]
    """Not copied."""


class FalseCopy(NamedTuple):
    """A match of media that are not copies."""

    one: str
    other: str
    agreement: float


# Images -----------------------------------------------------------------------------------------------------------


def encode_image(image: Image.Image, rng: random.Random) -> Image.Image:
    """Re-encode as JPEG or WebP, at a quality from poor to fair."""
    target = io.BytesIO()
    image.save(target, rng.choice(["JPEG", "WEBP"]), quality=rng.randint(25, 80))
    return Image.open(target).convert("RGB")


def crop(image: Image.Image, rng: random.Random) -> Image.Image:
    """Keep 85 to 97 % of each side, anywhere."""
    width, height = (round(side * rng.uniform(0.85, 0.97)) for side in image.size)
    left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def resize(image: Image.Image, rng: random.Random) -> Image.Image:
    """Scale to half to twice the size."""
    scale = rng.uniform(0.5, 2.0)
    return image.resize((max(32, round(image.width * scale)), max(32, round(image.height * scale))))


def brighten(image: Image.Image, rng: random.Random) -> Image.Image:
    """Change brightness and contrast by up to 30 %."""
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.7, 1.3))
    return ImageEnhance.Contrast(image).enhance(rng.uniform(0.7, 1.3))


def change_image_in_all_ways(image: Image.Image, rng: random.Random) -> Image.Image:
    """Crop, resize, brighten, encode."""
    for change in (crop, resize, brighten, encode_image):
        image = change(image, rng)
    return image


IMAGE_CHANGES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "re-encoded": encode_image,
    "cropped": crop,
    "resized": resize,
    "gain": brighten,
    "all": change_image_in_all_ways,
}


def read_image(media: Media) -> Image.Image:
    return Image.open(io.BytesIO(media.read())).convert("RGB")


# Sounds -----------------------------------------------------------------------------------------------------------


def decode(content: bytes) -> Samples:
    """Decode to mono at 16 kHz."""
    with av.open(io.BytesIO(content)) as file:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=audio_fingerprint.SAMPLE_RATE)
        parts = [piece.to_ndarray()[0] for frame in file.decode(audio=0) for piece in resampler.resample(frame)]
        parts += [piece.to_ndarray()[0] for piece in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def encode_sound(samples: Samples, rng: random.Random) -> Samples:
    """Re-encode as MP3, Opus or AAC, at a low bit rate."""
    codec, form, rates = rng.choice(
        [("libmp3lame", "mp3", (32, 64)), ("libopus", "ogg", (16, 32)), ("aac", "adts", (32, 64))]
    )
    target = io.BytesIO()
    with av.open(target, "w", format=form) as file:
        stream: Any = file.add_stream(codec, rate=48_000 if codec == "libopus" else 44_100, layout="mono")
        stream.bit_rate = rng.choice(rates) * 1000
        size = stream.codec_context.frame_size
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate, frame_size=size)
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
        frame.sample_rate = audio_fingerprint.SAMPLE_RATE
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))
    return decode(target.getvalue())


def change_gain(samples: Samples, rng: random.Random) -> Samples:
    """Scale the peak to 0.1 to 1 (-20 to 0 dB), without clipping."""
    peak = float(np.abs(samples).max()) or 1.0
    return (samples / peak * rng.uniform(0.1, 1.0)).astype(np.float32)


def trim(samples: Samples, rng: random.Random) -> Samples:
    """Cut up to 20 % off each end."""
    count = len(samples)
    return samples[round(count * rng.uniform(0, 0.2)) : count - round(count * rng.uniform(0, 0.2))]


def change_sound_in_all_ways(samples: Samples, rng: random.Random) -> Samples:
    """Trim, change the gain, encode."""
    return encode_sound(change_gain(trim(samples, rng), rng), rng)


SOUND_CHANGES: dict[str, Callable[[Samples, random.Random], Samples]] = {
    "re-encoded": encode_sound,
    "gain": change_gain,
    "trimmed": trim,
    "all": change_sound_in_all_ways,
}


# Counting ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """How media of one modality are read, changed, fingerprinted and compared."""

    read: Callable[[Media], Any]
    changes: Mapping[str, Callable[[Any, random.Random], Any]]
    fingerprint: Callable[[Any], Any]
    find_copies: Callable[[Sequence[Any], Sequence[Any]], Iterable[CopyMatch]]


IMAGES = Method(read_image, IMAGE_CHANGES, image_fingerprint.thumbnail, image_fingerprint.find_copies)
SOUNDS = Method(
    lambda media: decode(media.read()), SOUND_CHANGES, audio_fingerprint.fingerprint, audio_fingerprint.find_copies
)


def draw_plan(folder: Path, more: Sequence[Path], part: str, count: int, rng: random.Random) -> Plan:
    """Draw examples to plant from one part of a data set; the rest of it and of more data sets are unrelated."""
    (dataset,) = read([folder])
    others = [each for each in read(more) if each.modality == dataset.modality]
    kept, *rest = (
        [example for example in each.examples if example.held_out == (part == "dev")] for each in (dataset, *others)
    )
    rng.shuffle(kept)
    return Plan(kept[:count], kept[count:] + [example for each in rest for example in each])


def run_experiment(title: str, plan: Plan, method: Method, rng: random.Random) -> bool:
    """Compare copies with all changes, and unrelated media, with what was copied; return whether it is good enough."""
    originals = [method.read(example.media) for example in plan.planted]
    references = [method.fingerprint(original) for original in originals]
    found: dict[str, list[bool]] = {}
    wrong: list[FalseCopy] = []
    for name, change in method.changes.items():
        copies = [method.fingerprint(change(original, rng)) for original in originals]
        matches = list(method.find_copies(copies, references))
        recognised = {match.ours for match in matches if match.ours == match.theirs}
        found[name] = [place in recognised for place in range(len(plan.planted))]
        print_missed(name, [example for example, hit in zip(plan.planted, found[name], strict=True) if not hit])
        wrong += [
            FalseCopy(f"{plan.planted[one].media} {name}", str(plan.planted[other].media), agreement)
            for one, other, agreement in matches
            if one != other
        ]
    unrelated = [method.fingerprint(method.read(example.media)) for example in plan.unrelated]
    wrong += [
        FalseCopy(str(plan.unrelated[one].media), str(plan.planted[other].media), agreement)
        for one, other, agreement in method.find_copies(unrelated, references)
    ]
    tried = len(plan.unrelated) + len(plan.planted) * len(found)
    return print_figures(f"{title}, {len(plan.planted)} copied", found, tried, wrong)


def print_missed(name: str, missed: Sequence[Example]) -> None:
    for example in missed[:SHOWN_MISSES]:
        print(f"  missed: {name} {example.media.name} {example.words[0]}")


def print_figures(title: str, found: dict[str, list[bool]], tried: int, wrong: Sequence[FalseCopy]) -> bool:
    """Print the figures of one modality, and return whether they are good enough."""
    for change, hits in found.items():
        print(f"  {change:12} found {sum(hits):5} of {len(hits):5}  {np.mean(hits):.3f}")
    every = [hit for hits in found.values() for hit in hits]
    share = len({false.one for false in wrong}) / max(1, tried)
    print(f"{title}: found {np.mean(every):.4f} of {len(every)} copies, false {share:.4%} of {tried} tried", flush=True)
    for one, other, agreement in wrong[:SHOWN_FALSE]:
        print(f"  taken for a copy: {one} {other} {agreement:.3f}")
    return bool(np.mean(every) >= MIN_FOUND_SHARE and share <= MAX_FALSE_SHARE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("train", "dev"), default="dev")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--sounds", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    data, rng, passed = args.data, random.Random(args.seed), True
    if args.pictures:
        plan = draw_plan(data / "flickr8k", [data / "caltech101"], args.part, args.pictures, rng)
        passed &= run_experiment(f"pictures, {args.part}", plan, IMAGES, rng)
    if args.sounds:
        unrelated = sorted(folder for folder in (data / "sounds").iterdir() if folder.name not in REAL_COPIES)
        plan = draw_plan(data / "esc50", unrelated, args.part, args.sounds, rng)
        passed &= run_experiment(f"sounds, {args.part}", plan, SOUNDS, rng)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
