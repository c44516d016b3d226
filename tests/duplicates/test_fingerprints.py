"""Fingerprints recognise modified copies, and nothing else."""

from __future__ import annotations

import random

import fingerprints as experiment
import numpy as np
import pytest
from PIL import Image

from bindsearch.duplicates import audio_fingerprint, image_fingerprint

COUNT = 12
EACH_ITS_ORIGINAL = {(place, place) for place in range(COUNT)}


def patches(rng: np.random.Generator, side: int) -> np.ndarray:
    small = Image.fromarray(rng.random((side, side)).astype(np.float32))
    return np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC))


def scene(seed: int) -> Image.Image:
    """Patches of light at all scales, as in photographs."""
    rng = np.random.default_rng(seed)
    layers = [patches(rng, side) * 2.0 / side**0.7 for side in (3, 6, 12, 24, 48)]
    whole = np.sum(layers, axis=0)
    scaled = (255 * (whole - whole.min()) / np.ptp(whole)).astype(np.uint8)
    return Image.fromarray(np.stack([scaled, scaled[::-1], scaled], axis=2))


def noises(seed: int) -> np.ndarray:
    """Bursts of coloured noise and tones."""
    rng = np.random.default_rng(seed)
    times = np.arange(4 * audio_fingerprint.SAMPLE_RATE) / audio_fingerprint.SAMPLE_RATE
    tones = [np.sin(2 * np.pi * rng.uniform(150, 5000) * times) for _ in range(6)]
    parts = [tone * (np.sin(2 * np.pi * rng.uniform(0.3, 4) * times) > 0) for tone in tones]
    sound = np.sum(parts, axis=0) * 0.1 + rng.normal(0, 0.03, len(times)) * np.cos(times * rng.uniform(1, 9)) ** 2
    return sound.astype(np.float32)


SCENES = [scene(seed) for seed in range(COUNT)]
NOISES = [noises(seed) for seed in range(COUNT)]


def image_copies(ours: list[Image.Image], theirs: list[Image.Image]) -> set[tuple[int, int]]:
    one, other = ([image_fingerprint.thumbnail(image) for image in images] for images in (ours, theirs))
    return {(match.ours, match.theirs) for match in image_fingerprint.find_copies(one, other)}


def audio_copies(ours: list[np.ndarray], theirs: list[np.ndarray]) -> set[tuple[int, int]]:
    one, other = ([audio_fingerprint.fingerprint(sound) for sound in sounds] for sounds in (ours, theirs))
    return {(match.ours, match.theirs) for match in audio_fingerprint.find_copies(one, other)}


@pytest.mark.parametrize("change", experiment.IMAGE_CHANGES)
def test_changed_images_are_found(change):
    rng = random.Random(0)
    copies = [experiment.IMAGE_CHANGES[change](image, rng) for image in SCENES]
    assert image_copies(copies, SCENES) == EACH_ITS_ORIGINAL


def test_an_image_is_found_in_its_cropped_copy():
    rng = random.Random(1)
    assert image_copies(SCENES, [experiment.crop(image, rng) for image in SCENES]) == EACH_ITS_ORIGINAL


def test_unrelated_images_are_not_copies():
    assert image_copies(SCENES, [scene(seed) for seed in range(100, 140)]) == set()
    assert image_copies([], SCENES) == set()


def test_an_image_of_one_colour_is_flat():
    assert image_fingerprint.is_flat(image_fingerprint.thumbnail(Image.new("RGB", (50, 50), "red")))
    assert not image_fingerprint.is_flat(image_fingerprint.thumbnail(SCENES[0]))


@pytest.mark.parametrize("change", experiment.SOUND_CHANGES)
def test_changed_sounds_are_found(change):
    rng = random.Random(0)
    copies = [experiment.SOUND_CHANGES[change](sound, rng) for sound in NOISES]
    assert audio_copies(copies, NOISES) == EACH_ITS_ORIGINAL


def test_unrelated_sounds_are_not_copies():
    assert audio_copies(NOISES, [noises(seed) for seed in range(100, 130)]) == set()


def test_gain_does_not_change_a_fingerprint():
    quiet = audio_fingerprint.fingerprint(NOISES[0] * np.float32(0.125))
    assert np.array_equal(audio_fingerprint.fingerprint(NOISES[0]), quiet)


def test_silence_has_no_signs():
    assert not audio_fingerprint.fingerprint(np.zeros(audio_fingerprint.SAMPLE_RATE, np.float32)).any()
