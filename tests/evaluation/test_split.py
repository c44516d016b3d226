"""The held-out split of the pocket model does not change."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.split import caltech_held_out, esc_held_out, flickr_dev, is_esc_clip, sound_held_out

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
HELD_OUT = {"esc50": 110, "flickr8k": 1000, "caltech101": 1239, "imagenet_samples": 0, "sounds/aura": 21}


def test_esc50_by_recording():
    recordings = [str(number) for number in range(400)]
    held = [name for name in recordings if esc_held_out(name)]
    assert held == [name for name in recordings if int(hashlib.sha256(name.encode()).hexdigest()[:2], 16) % 4 == 0]
    assert 70 < len(held) < 130


def test_caltech101_by_photo():
    names = [f"chair/image_{number:04d}.webp" for number in range(600)]
    held = [name for name in names if caltech_held_out(name)]
    assert held == [name for name in names if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 6 == 0]
    assert 70 < len(held) < 130


def test_flickr8k_by_its_table(tmp_path):
    (tmp_path / "captions.csv").write_text("image,caption,split\na.webp,one,dev\na.webp,two,dev\nb.webp,three,train\n")
    assert flickr_dev(tmp_path / "captions.csv") == {"a.webp"}


@pytest.mark.parametrize(
    ("clip", "recording", "held"),
    [
        ("aura/audio/birds.opus", "", True),
        ("atmoify/audio/birds.opus", "", False),
        ("auras/birds.opus", "", False),
        ("audio/fold10/7.wav", "7", True),
        ("audio/fold1/7.wav", "7", False),
        ("1-100032-A-0.ogg", "100032", esc_held_out("100032")),
    ],
)
def test_sounds(clip, recording, held):
    assert sound_held_out(clip, recording) == held


def test_names_of_esc50s_clips():
    assert is_esc_clip("1-100032-A-0.ogg")
    assert not is_esc_clip("aura/1-100032-A-0.ogg")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the development data beside the checkout")
@pytest.mark.parametrize("name", HELD_OUT)
def test_the_development_data(name):
    (dataset,) = read([SHARED / name])
    assert len(dataset.part("dev").examples) == HELD_OUT[name]
