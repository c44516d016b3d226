"""Spectrograms computed window by window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from bindsearch.explain.spectrogram import MIN_FREQUENCY_HZ, Spectrogram

RATE = 16_000


def beep(seconds: float, *, start: float, end: float, hertz: float) -> np.ndarray:
    """Faint noise with a tone from one second to another."""
    time = np.arange(int(seconds * RATE)) / RATE
    quiet = 1e-4 * np.random.default_rng(0).normal(size=time.size)
    return (quiet + np.where((time >= start) & (time < end), 0.5 * np.sin(2 * np.pi * hertz * time), 0)).astype("f4")


def levels_of(
    samples: np.ndarray, cuts: list[tuple[int, int]], *, columns: int = 200, rows: int = 60, end: float = 0.0
):
    spectrogram = Spectrogram(RATE, (0.0, end or samples.size / RATE), columns=columns, rows=rows)
    for start, stop in cuts:
        spectrogram.add(start / RATE, samples[start:stop])
    spectrogram.finish()
    return spectrogram.levels()


@pytest.mark.parametrize(("hertz", "start", "end"), [(440.0, 3.0, 4.0), (1000.0, 0.0, 0.5), (5000.0, 9.5, 10.0)])
def test_tone_is_at_its_time_and_frequency(hertz, start, end):
    levels = levels_of(beep(10.0, start=start, end=end, hertz=hertz), [(0, 10 * RATE)])
    row, _ = np.unravel_index(int(levels.argmax()), levels.shape)
    expected = np.log(hertz / MIN_FREQUENCY_HZ) / np.log(RATE / 2 / MIN_FREQUENCY_HZ) * 60
    assert abs(row + 0.5 - expected) <= 1.5
    loud = np.flatnonzero(levels[row] > 0.7) / 20
    assert loud.min() == pytest.approx(start, abs=0.1)
    assert loud.max() == pytest.approx(end, abs=0.1)


@settings(max_examples=20)
@given(st.integers(RATE // 4, 3 * RATE), st.floats(0, 0.9))
def test_overlapping_windows_equal_the_whole(window, overlap):
    samples = beep(6.0, start=2.0, end=2.5, hertz=700.0)
    hop = max(1, int(window * (1 - overlap)))
    cuts = [(start, min(start + window, samples.size)) for start in range(0, samples.size, hop)]
    whole, pieces = levels_of(samples, [(0, samples.size)]), levels_of(samples, cuts)
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_gap_stays_empty():
    samples = beep(10.0, start=0.0, end=10.0, hertz=700.0)
    levels = levels_of(samples, [(0, 3 * RATE), (7 * RATE, 10 * RATE)])
    assert levels[:, 70:130].max() == 0.0
    assert levels[:, 10:50].max(axis=0).min() > 0.9
    assert levels[:, 150:190].max(axis=0).min() > 0.9


@pytest.mark.parametrize("count", [1, 100, 1023])
def test_less_than_a_frame_is_shown(count):
    levels = levels_of(beep(0.1, start=0.0, end=0.1, hertz=700.0)[:count], [(0, count)])
    assert np.isfinite(levels).all()


def test_span_limits_what_is_shown():
    samples = beep(10.0, start=3.0, end=4.0, hertz=700.0)
    spectrogram = Spectrogram(RATE, (2.0, 6.0), columns=80, rows=40)
    spectrogram.add(0.0, samples)
    levels = spectrogram.levels()
    loud = np.flatnonzero(levels.max(axis=0) > 0.7) / 20 + 2.0
    assert (loud.min(), loud.max()) == (pytest.approx(3.0, abs=0.1), pytest.approx(4.0, abs=0.1))
