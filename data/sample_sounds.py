"""The sounds of the sample collection: one function makes one recording."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from sample_synth import Floats, arched, clock, noise, placed, struck, swell, tone

WHISTLE_SECONDS = (25.0, 27.0)
"""Start and end of the only whistle in the long recording of a night."""


def thunder(rng: Generator) -> Floats:
    """Return deep, rolling thunder."""
    claps = [(start, struck(6 - start, attack=0.15, decay=1.6)) for start in (0.2, 1.3, 2.9)]
    roll = tone(62 + 14 * swell(rng, 6, every=0.5), 6, partials=(1, 0.35))
    return 0.8 * placed(6, *claps) * (0.72 * roll + 0.25 * noise(rng, 6, low=30, high=120))


def whistle(rng: Generator) -> Floats:
    """Return a high note with vibrato, whistled four times."""
    return placed(6, *[(0.2 + 1.45 * number, _whistle_note(1.2, 3600)) for number in range(4)]) + _breath(rng, 6)


def _whistle_note(seconds: float, pitch: float) -> Floats:
    vibrato = pitch * (1 + 0.006 * np.sin(2 * np.pi * 5.5 * clock(seconds)))
    return 0.45 * arched(seconds, edge=0.12) * tone(vibrato, seconds)


def _breath(rng: Generator, seconds: float) -> Floats:
    return 0.004 * noise(rng, seconds, low=200, high=6000)


def birdsong(rng: Generator, seconds: float = 8.0) -> Floats:
    """Return chirps in phrases of five notes each."""
    notes: list[tuple[float, Floats]] = []
    for phrase in np.arange(0.15, seconds - 0.8, 1.15):
        pitches = rng.choice([3300, 3700, 4100, 4500, 4900], size=5)
        notes += [(phrase + 0.17 * number, _chirp(float(pitch))) for number, pitch in enumerate(pitches)]
    return placed(seconds, *notes) + _breath(rng, seconds)


def _chirp(pitch: float) -> Floats:
    glide = pitch * (1 + 0.02 * np.sin(np.linspace(0, np.pi, len(clock(0.13)))))
    return 0.5 * arched(0.13, edge=0.03) * tone(glide, 0.13)


def wind(rng: Generator) -> Floats:
    """Return wind that blows in gusts."""
    low, high = noise(rng, 8, low=250, high=600), noise(rng, 8, low=500, high=1100)
    gusts = swell(rng, 8, every=1.3)
    return 0.75 * gusts * (low * 0.7 + high * 0.4 * gusts)


def rain(rng: Generator, seconds: float = 7.0) -> Floats:
    """Return steady rain: a fine hiss with single drops."""
    drop = 0.1 * noise(rng, 0.03, low=3000) * struck(0.03, decay=0.006)
    drops = [(start, drop) for start in rng.uniform(0, seconds - 0.1, 90).tolist()]
    return 0.42 * noise(rng, seconds, low=700, high=3800) + placed(seconds, *drops)


def heartbeat(rng: Generator) -> Floats:
    """Return a deep drum that beats in pairs, like a heart."""
    fall = 52 + 40 * np.exp(-clock(0.3) / 0.03)
    thud = 0.9 * struck(0.3, decay=0.07) * tone(fall, 0.3)
    beats = [(start + late, level * thud) for start in np.arange(0.1, 7.5, 0.9) for late, level in ((0, 1), (0.3, 0.8))]
    return placed(8, *beats) + 0.001 * noise(rng, 8)


def alarm(rng: Generator) -> Floats:
    """Return four beeps per second."""
    beep = 0.5 * arched(0.125, edge=0.004) * tone(1000, 0.125)
    return placed(6, *[(start, beep) for start in np.arange(0, 6, 0.25)]) + 0.0005 * noise(rng, 6)


def siren(rng: Generator) -> Floats:
    """Return a siren that wails up and down."""
    pitch = 800 + 200 * np.sin(2 * np.pi * 0.4 * clock(7))
    return 0.5 * arched(7, edge=0.3) * tone(pitch, 7, partials=(1, 0.25, 0.1)) + _breath(rng, 7)


def bee(rng: Generator) -> Floats:
    """Return the hum of a bee at a flower."""
    pitch = 190 * (1 + 0.03 * (swell(rng, 7, every=0.4) - 0.6))
    return 0.5 * swell(rng, 7, every=0.9, least=0.7) * tone(pitch, 7, partials=(1, 0.4, 0.2, 0.1))


def bell(rng: Generator) -> Floats:
    """Return three strokes of a church bell."""
    partials = ((0.5, 0.5, 3.0), (1.0, 1.0, 2.2), (1.2, 0.5, 1.5), (2.0, 0.4, 0.9), (2.98, 0.15, 0.5))
    stroke = np.sum([level * tone(500 * ratio, 4) * struck(4, decay=decay) for ratio, level, decay in partials], axis=0)
    return 0.35 * placed(9, *[(start, stroke) for start in (0.1, 2.6, 5.1)]) + _breath(rng, 9)


def static(rng: Generator) -> Floats:
    """Return the hiss of a radio between stations."""
    return 0.35 * noise(rng, 5)


def waves(rng: Generator, seconds: float = 9.0) -> Floats:
    """Return waves that break on a beach, one every three seconds."""
    rise = (0.5 - 0.5 * np.cos(2 * np.pi * clock(seconds) / 3)) ** 2
    wash = noise(rng, seconds, low=250, high=2300)
    return (0.12 + 0.6 * rise) * wash + 0.15 * noise(rng, seconds, low=60, high=200)


def flute(rng: Generator) -> Floats:
    """Return a short melody on a flute."""
    melody = (1047, 1175, 1319, 1568, 1319, 1175, 1047, 1175, 1319, 1047)
    notes = [(0.2 + 0.65 * number, _flute_note(pitch, 0.62)) for number, pitch in enumerate(melody)]
    return placed(7, *notes) + _breath(rng, 7)


def _flute_note(pitch: float, seconds: float) -> Floats:
    vibrato = pitch * (1 + 0.004 * np.sin(2 * np.pi * 5 * clock(seconds)))
    return 0.5 * arched(seconds, edge=0.06) * tone(vibrato, seconds, partials=(1, 0.3, 0.08))


def ticking(rng: Generator) -> Floats:
    """Return a clock that ticks twice per second."""
    tick = 0.9 * noise(rng, 0.04, low=900, high=3000) * struck(0.04, attack=0.001, decay=0.008)
    tock = 0.8 * noise(rng, 0.04, low=700, high=2200) * struck(0.04, attack=0.001, decay=0.009)
    sounds = [(0.1 + 0.5 * beat, tock if beat % 2 else tick) for beat in range(12)]
    return placed(6, *sounds) + 0.0005 * noise(rng, 6)


def cello(rng: Generator) -> Floats:
    """Return one long low note on a string."""
    pitch = 98 * (1 + 0.004 * np.sin(2 * np.pi * 5 * clock(7)))
    return 0.6 * arched(7, edge=0.6) * tone(pitch, 7, partials=(1, 0.5, 0.3, 0.15, 0.08)) + _breath(rng, 7)


def long_night(rng: Generator) -> Floats:
    """Return a quiet night of 40 seconds with one whistle."""
    start, end = WHISTLE_SECONDS
    return placed(40, (0, 0.002 * noise(rng, 40, low=100, high=3000)), (start, _whistle_note(end - start, 3400)))


SOUNDS: dict[str, Callable[[Generator], Floats]] = {
    "weather/thunder_rumble.wav": thunder,
    "weather/wind.mp3": wind,
    "weather/rain.mp3": rain,
    "weather/sea_waves.mp3": waves,
    "animals/birdsong.ogg": birdsong,
    "animals/bee_hum.flac": bee,
    "people/whistle.flac": whistle,
    "people/heartbeat_drum.wav": heartbeat,
    "people/flute_melody.ogg": flute,
    "people/cello_low_note.m4a": cello,
    "town/beeping_alarm.wav": alarm,
    "town/siren.mp3": siren,
    "town/church_bell.ogg": bell,
    "town/ticking_clock.flac": ticking,
    "town/radio_static.flac": static,
    "long_quiet_night_with_one_whistle.mp3": long_night,
}
"""Path in the folder of sounds -> the function that makes it."""
