"""Fingerprints find copies that were changed, and take no other for one."""

from __future__ import annotations

import random

import fingerprints as trial
import numpy as np
import pytest
from PIL import Image

from bindsearch.duplicates import audio_fingerprint as mark_sound, image_fingerprint as mark_picture

COUNT = 12


def patches(chance: np.random.Generator, side: int) -> np.ndarray:
    small = Image.fromarray(chance.random((side, side)).astype(np.float32))
    return np.asarray(small.resize((240, 180), Image.Resampling.BICUBIC))


def scene(seed: int) -> Image.Image:
    """Patches of light at all scales, as photographs have them."""
    chance = np.random.default_rng(seed)
    layers = [patches(chance, side) * 2.0 / side**0.7 for side in (3, 6, 12, 24, 48)]
    whole = np.sum(layers, axis=0)
    scaled = (255 * (whole - whole.min()) / np.ptp(whole)).astype(np.uint8)
    return Image.fromarray(np.stack([scaled, scaled[::-1], scaled], axis=2))


def noises(seed: int) -> np.ndarray:
    """Bursts of coloured noise and tones."""
    chance = np.random.default_rng(seed)
    times = np.arange(4 * mark_sound.RATE) / mark_sound.RATE
    tones = [np.sin(2 * np.pi * chance.uniform(150, 5000) * times) for _ in range(6)]
    parts = [tone * (np.sin(2 * np.pi * chance.uniform(0.3, 4) * times) > 0) for tone in tones]
    sound = np.sum(parts, axis=0) * 0.1 + chance.normal(0, 0.03, len(times)) * np.cos(times * chance.uniform(1, 9)) ** 2
    return sound.astype(np.float32)


SCENES = [scene(seed) for seed in range(COUNT)]
NOISES = [noises(seed) for seed in range(COUNT)]


@pytest.mark.parametrize("change", trial.CHANGES)
def test_changed_pictures_are_found(change):
    chance = random.Random(0)
    copies = [mark_picture.grey(trial.CHANGES[change](picture, chance)) for picture in SCENES]
    met = {(one, other) for one, other, _ in mark_picture.matches(copies, [mark_picture.grey(each) for each in SCENES])}
    assert met == {(place, place) for place in range(COUNT)}


def test_a_picture_is_found_in_its_cropped_copy():
    chance = random.Random(1)
    theirs = [mark_picture.grey(trial.cropped(picture, chance)) for picture in SCENES]
    met = {(one, other) for one, other, _ in mark_picture.matches([mark_picture.grey(each) for each in SCENES], theirs)}
    assert met == {(place, place) for place in range(COUNT)}


def test_other_pictures_are_no_copies():
    theirs = [mark_picture.grey(scene(seed)) for seed in range(100, 140)]
    assert list(mark_picture.matches([mark_picture.grey(each) for each in SCENES], theirs)) == []
    assert list(mark_picture.matches([], theirs)) == []


def test_a_flat_picture_shows_nothing():
    assert mark_picture.shows_nothing(mark_picture.grey(Image.new("RGB", (50, 50), "red")))
    assert not mark_picture.shows_nothing(mark_picture.grey(SCENES[0]))


@pytest.mark.parametrize("change", trial.TRIALS)
def test_changed_sounds_are_found(change):
    chance = random.Random(0)
    copies = [mark_sound.signs(trial.TRIALS[change](sound, chance)) for sound in NOISES]
    met = {(one, other) for one, other, _ in mark_sound.matches(copies, [mark_sound.signs(each) for each in NOISES])}
    assert met == {(place, place) for place in range(COUNT)}


def test_other_sounds_are_no_copies():
    theirs = [mark_sound.signs(noises(seed)) for seed in range(100, 130)]
    assert list(mark_sound.matches([mark_sound.signs(each) for each in NOISES], theirs)) == []


def test_gain_has_no_part_in_it():
    assert np.array_equal(mark_sound.signs(NOISES[0]), mark_sound.signs(NOISES[0] * np.float32(0.125)))


def test_silence_has_no_signs():
    assert not mark_sound.signs(np.zeros(mark_sound.RATE, np.float32)).any()
