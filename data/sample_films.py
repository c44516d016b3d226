"""The films of the sample collection: moving scenes with a sound track."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator
from PIL import Image
from sample_canvas import Y, clouds, finished, gradient, over, ridge
from sample_landscapes import night_scene, sea_scene, sunset_scene
from sample_sounds import bee, birdsong, rain, thunder, waves
from sample_synth import RATE, REPEATABLE, Floats, add_sound, clock, placed, sound_stream

SIZE = (288, 192)
FRAMES_PER_SECOND = 8
SECONDS = 8
PAINTINGS_PER_SECOND = 2
"""The frames between two paintings are blended."""


@dataclass(frozen=True, slots=True)
class Film:
    """A moving scene and its sound."""

    scene: Callable[[int, float], Floats]
    """Takes a seed, and a time from 0 (start) to 1 (end)."""
    sound: Callable[[Generator], Floats]


def sunset_to_night(seed: int, time: float) -> Floats:
    """Let the sun go down until the night is there."""
    dark = float(np.clip(time * 4 - 1.6, 0, 1))
    if dark == 1:
        return night_scene(np.random.default_rng(seed))
    day = sunset_scene(np.random.default_rng(seed), sun=0.42 + 0.5 * min(time, 0.5))
    return day + dark * (night_scene(np.random.default_rng(seed)) - day) if dark else day


def hum_to_birdsong(rng: Generator) -> Floats:
    """Hum for the first half, chirp in the second."""
    hum = bee(rng)[: 4 * RATE] * np.clip((4 - clock(4)) * 2, 0, 1)
    return placed(SECONDS, (0, hum), (4, birdsong(rng, 4.0)))


def boat_on_the_sea(seed: int, time: float) -> Floats:
    """Sail from left to right."""
    return sea_scene(np.random.default_rng(seed), boat=0.2 + 0.6 * time, swell=time * 6)


def sea_waves(rng: Generator) -> Floats:
    """Break waves on the beach."""
    return waves(rng, float(SECONDS))


def thunderstorm(seed: int, time: float) -> Floats:
    """Drive grey clouds over black hills, with two flashes of lightning."""
    rng = np.random.default_rng(seed)
    band = clouds(rng, cells=(4, 3))
    sky = np.concatenate([band, band[:, ::-1]], axis=1)[:, round(time * 300) :][:, : band.shape[1]]
    scene = over(gradient((0, "#3a3d42"), (1, "#6c7076")), "#1f2124", sky)
    scene = over(scene, "#0a0b0c", ridge(rng, base=0.95, height=0.25))
    flash = max(np.exp(-(((time - when) / 0.03) ** 2)) for when in (0.25, 0.625))
    return over(scene, "#f4f6fa", 0.85 * flash * (1 - 0.6 * Y))


def thunder_and_rain(rng: Generator) -> Floats:
    """Roll the thunder over soft rain."""
    return placed(SECONDS, (0, 0.2 * rain(rng, float(SECONDS))), (2, 1.2 * thunder(rng)))


FILMS = {
    "sunset_turns_to_night.mp4": Film(sunset_to_night, hum_to_birdsong),
    "boat_on_the_blue_sea.mp4": Film(boat_on_the_sea, sea_waves),
    "thunderstorm_over_dark_hills.mp4": Film(thunderstorm, thunder_and_rain),
}
"""Name in the folder of videos -> film."""


def write_film(path: Path, film: Film, rng: Generator) -> None:
    """Write a film as H.264 and AAC, with a fixed quantiser: rate control differs from run to run."""
    with av.open(str(path), "w", options=REPEATABLE) as container:
        pictures = container.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"qp": "26"})
        pictures.width, pictures.height = SIZE
        pictures.pix_fmt = "yuv420p"
        sounds = sound_stream(container, "aac", bit_rate=64_000)
        for number, image in enumerate(_frames(film, seed=int(rng.integers(2**31)))):
            frame = av.VideoFrame.from_ndarray(np.asarray(image), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        add_sound(container, sounds, film.sound(rng))


def _frames(film: Film, *, seed: int) -> Iterator[Image.Image]:
    times = np.linspace(0, 1, SECONDS * PAINTINGS_PER_SECOND + 1)
    between = FRAMES_PER_SECOND // PAINTINGS_PER_SECOND
    drawn = [finished(film.scene(seed, float(time))).resize(SIZE, Image.Resampling.BOX) for time in times]
    for before, after in pairwise(drawn):
        yield from (Image.blend(before, after, step / between) for step in range(between))
