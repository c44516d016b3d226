"""The sample collection is reproducible, readable, and found by the obvious words."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soxr
from bindsearch.encoders.toy.encoder import ATTRIBUTES, HUE_BINS, ToyEncoder
from numpy.typing import NDArray
from PIL import Image
from sample_closeups import CLOSEUPS
from sample_sounds import WHISTLE_SECONDS

from bindsearch.types import Modality, Piece, Vectors

ROOT = Path(__file__).resolve().parents[2]
ENCODER = ToyEncoder()
RATE = ENCODER.spec.windowing.sample_rate
WINDOW = round(ENCODER.spec.windowing.window * RATE)


@pytest.fixture(scope="module")
def pictures(samples: Path) -> dict[str, Vectors]:
    return {path.stem: embed([picture(path)]) for path in sorted(samples.glob("photos/*/*"))}


@pytest.fixture(scope="module")
def sounds(samples: Path) -> dict[str, Vectors]:
    return {path.stem: embed(windows(path)) for path in sorted(samples.glob("sounds/**/*.*"))}


def picture(path: Path) -> Piece:
    with Image.open(path) as image:
        return Piece(Modality.IMAGE, image.convert("RGB"))


def decoded_sound(path: Path) -> NDArray[np.float32]:
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        mono = av.AudioResampler("fltp", "mono", rate)
        parts = [part.to_ndarray()[0] for frame in container.decode(audio=0) for part in mono.resample(frame)]
    return soxr.resample(np.concatenate(parts), rate, RATE).astype(np.float32)


def windows(path: Path) -> list[Piece]:
    samples = decoded_sound(path)
    return [
        Piece(Modality.AUDIO, samples[start : start + WINDOW]) for start in range(0, len(samples) - WINDOW + 1, WINDOW)
    ]


def embed(pieces: list[Piece]) -> Vectors:
    vectors = ENCODER.encode(pieces[0].modality, [ENCODER.prepare(piece) for piece in pieces])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ranked(words: str, among: dict[str, Vectors]) -> list[str]:
    query = embed([Piece(Modality.TEXT, words)])[0]
    return sorted(among, key=lambda name: -float((among[name] @ query).max()))


def loudest_pitch(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.fft.rfftfreq(len(samples), 1 / RATE)[spectrum.argmax()])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_collection_is_reproducible(samples: Path, tmp_path: Path) -> None:
    program = [sys.executable, str(ROOT / "data" / "make_samples.py"), str(tmp_path / "again")]
    result = subprocess.run(program, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert result.stdout.startswith("45 files, ")
    assert digests(tmp_path / "again") == digests(samples)


def test_another_seed_paints_another_picture() -> None:
    one, same, other = (CLOSEUPS["garden/violet_flowers.jpg"](np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.tobytes() == same.tobytes() != other.tobytes()


def test_the_collection_is_small(samples: Path) -> None:
    sizes = [path.stat().st_size for path in samples.rglob("*") if path.is_file()]
    assert len(sizes) == 45
    assert sum(sizes) < 6_000_000


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("sunset over the sea", "sunset_over_the_sea"),
        ("blue sea", "blue_sea_with_a_boat"),
        ("green forest", "green_forest"),
        ("white snow", "snowy_mountain"),
        ("rainbow", "rainbow_over_meadows"),
        ("fog", "foggy_hills"),
        ("dark night", "dark_night_with_stars"),
        ("campfire", "campfire"),
        ("violet flowers", "violet_flowers"),
        ("sunflower", "yellow_sunflower"),
        ("red apple", "red_apple"),
        ("orange pumpkins", "orange_pumpkins"),
        ("grey rain", "grey_rain_on_a_window"),
        ("chessboard", "chessboard"),
        ("television static", "television_static"),
    ],
)
def test_words_find_the_picture(pictures: dict[str, Vectors], words: str, name: str) -> None:
    assert ranked(words, pictures)[0] == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("thunder", "thunder_rumble"),
        ("wind", "wind"),
        ("rain", "rain"),
        ("birdsong", "birdsong"),
        ("bee humming", "bee_hum"),
        ("heartbeat", "heartbeat_drum"),
        ("flute", "flute_melody"),
        ("beeping alarm", "beeping_alarm"),
        ("siren", "siren"),
        ("church bell", "church_bell"),
        ("ticking clock", "ticking_clock"),
        ("static hiss", "radio_static"),
        ("silence", "long_quiet_night_with_one_whistle"),
    ],
)
def test_words_find_the_sound(sounds: dict[str, Vectors], words: str, name: str) -> None:
    assert ranked(words, sounds)[0] == name


def test_the_whistle_in_the_long_night_is_found(
    sounds: dict[str, Vectors],
) -> None:
    assert set(ranked("high whistle", sounds)[:2]) == {"whistle", "long_quiet_night_with_one_whistle"}
    similarities = sounds["long_quiet_night_with_one_whistle"] @ embed([Piece(Modality.TEXT, "high whistle")])[0]
    start, end = WHISTLE_SECONDS
    assert sorted(np.argsort(-similarities)[:2] * 2) == [start - 1, end - 1]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("weather/thunder_rumble.wav", 50, 90),
        ("people/whistle.flac", 3500, 3700),
        ("animals/birdsong.ogg", 3200, 5100),
        ("animals/bee_hum.flac", 180, 205),
        ("people/heartbeat_drum.wav", 50, 90),
        ("people/cello_low_note.m4a", 95, 101),
        ("town/beeping_alarm.wav", 990, 1010),
        ("town/siren.mp3", 590, 1010),
        ("town/church_bell.ogg", 498, 502),
        ("weather/wind.mp3", 200, 1200),
    ],
)
def test_sounds_have_their_pitch(samples: Path, name: str, low: float, high: float) -> None:
    samples_of_it = decoded_sound(samples / "sounds" / name)
    assert low <= loudest_pitch(samples_of_it) <= high
    assert 0.2 < np.abs(samples_of_it).max() <= 1.0


def test_a_film_changes_its_pictures_and_sound(samples: Path) -> None:
    film = samples / "videos" / "sunset_turns_to_night.mp4"
    with av.open(str(film)) as container:
        frames = [Piece(Modality.VIDEO, frame.to_image()) for frame in container.decode(video=0)]
    ends = {"first": embed(frames[:1]), "last": embed(frames[-1:])}
    assert len(frames) == 64
    assert ranked("sunset", ends) == ["first", "last"]
    assert ranked("dark night", ends) == ["last", "first"]
    halves = {name: embed([piece]) for name, piece in zip(("1", "2", "3", "4"), windows(film), strict=True)}
    assert set(ranked("bee hum", halves)[:2]) == {"1", "2"}
    assert set(ranked("birdsong", halves)[:2]) == {"3", "4"}


@pytest.mark.parametrize("name", ["sounds", "pictures"])
def test_labels_are_distinct_and_known_to_the_toy_space(name: str) -> None:
    labels = (ROOT / "data" / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    vectors = embed([Piece(Modality.TEXT, label) for label in labels])
    assert len(labels) == len(set(labels)) >= 15
    shared = vectors[:, : HUE_BINS + len(ATTRIBUTES)]
    assert (np.linalg.norm(shared, axis=1) > 0.7).all()
