from __future__ import annotations

import numpy as np
import pytest
from training.example_pairs import RATE, collection, sound, write_sound

import bindsearch
from bindsearch.errors import BadQuery
from bindsearch.registry import load_space
from bindsearch.spaces.space import Space
from bindsearch.training.manifest import read
from bindsearch.training.towers import architecture
from bindsearch.training.training_data import load_training_data
from bindsearch.types import Modality


class RecordingEncoder:
    """The toy space, which records the modalities that it encodes."""

    def __init__(self) -> None:
        self._toy = load_space("toy")
        self.spec = self._toy.spec
        self.modalities: set[Modality] = set()

    def prepare(self, piece):
        return self._toy.prepare(piece)

    def encode(self, modality, batch):
        self.modalities.add(modality)
        return self._toy.encode(modality, batch)


def loaded(manifest, space=None):
    skipped = []
    sounds = load_training_data(
        read(manifest),
        space or bindsearch.space("toy"),
        architecture("pocket"),
        on_skipped=lambda *args: skipped.append(args),
    )
    return sounds, skipped


def test_windows_images_and_split_correspond(tmp_path):
    sounds, skipped = loaded(collection(tmp_path, sounds=4))
    assert skipped == []
    assert sounds.spectra.shape == (24, 200, 64)
    assert len(sounds.rows(dev=True)) == 6
    assert len(sounds.rows(dev=False)) == 18
    first = sounds.pictures[sounds.owners[0]]
    toy = bindsearch.space("toy")
    assert np.allclose(first, toy.embed(sorted((tmp_path / "images" / "red").iterdir())), atol=1e-6)
    assert [sounds.concepts[owner] for owner in sounds.owners[:4]] == ["red"] * 4
    assert len(set(sounds.hashes)) == 24


def test_the_space_encodes_images_alone(tmp_path):
    encoder = RecordingEncoder()
    loaded(collection(tmp_path, sounds=4), Space(encoder))
    assert encoder.modalities == {Modality.IMAGE}


def test_a_video_pairs_each_window_with_its_frames(tmp_path):
    av = pytest.importorskip("av")
    film = tmp_path / "film.mkv"
    with av.open(str(film), "w") as out:
        video, audio = out.add_stream("ffv1", rate=5), out.add_stream("pcm_s16le", rate=RATE)
        video.width, video.height, video.pix_fmt = 64, 48, "bgr0"
        audio.layout = "mono"
        samples = sound("green", np.random.default_rng(0), seconds=8.0)
        frame = av.AudioFrame.from_ndarray((samples * 9000).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        for number in range(40):
            colour = (255, 0, 0) if number < 20 else (0, 0, 255)
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8), format="rgb24")
            out.mux(video.encode(picture))
        out.mux([*video.encode(), *audio.encode(frame), *audio.encode()])
    (tmp_path / "other.mkv").write_bytes(film.read_bytes())
    (tmp_path / "pairs.csv").write_text("video,split\nfilm.mkv,train\nother.mkv,dev\n")
    sounds, _ = loaded(tmp_path / "pairs.csv")
    red, blue = bindsearch.space("toy").embed(["red", "blue"], modality="text")
    means = [sounds.pictures[sounds.owners[row]].mean(axis=0) for row in sounds.rows(dev=False)]
    assert [bool(row @ red > row @ blue) for row in means] == [True, True, False, False]


def test_silence_is_ignored_and_damage_is_reported(tmp_path):
    manifest = collection(tmp_path, sounds=4)
    write_sound(tmp_path / "sounds/train/red/0.wav", np.zeros(2 * RATE, np.float32))
    (tmp_path / "sounds/train/red/1.wav").write_bytes(b"RIFF nothing")
    sounds, skipped = loaded(manifest)
    assert len(sounds.rows(dev=False)) == 16
    assert [path.name for path, _ in skipped] == ["1.wav"]


def test_a_split_with_one_side_is_refused(tmp_path):
    manifest = collection(tmp_path, sounds=4)
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith("dev")]
    manifest.write_text("\n".join(lines))
    with pytest.raises(BadQuery, match="needs recordings for both training and evaluation"):
        loaded(manifest)
