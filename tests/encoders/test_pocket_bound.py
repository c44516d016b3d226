from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import bindsearch
from bindsearch.errors import MissingWeights, SpaceMismatch
from bindsearch.types import Modality, Piece

SOUND = Piece(Modality.AUDIO, np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32))


def described(folder: Path, *, fingerprint: str | None = None, weights: str = "none") -> Path:
    base = {"name": "toy", "fingerprint": fingerprint or bindsearch.space("toy").spec.fingerprint}
    manifest = {"base": base, "weights": weights, "recipe": {"tower": "pocket-small"}}
    (folder / "card.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def trained(folder: Path) -> Path:
    torch = pytest.importorskip("torch", reason="the tower needs torch")
    save = pytest.importorskip("safetensors.torch", reason="the weights are safetensors")
    from bindsearch.encoders.pocket.towers import build_small_audio_tower

    torch.manual_seed(0)
    path = folder / "tower.safetensors"
    save.save_file(build_small_audio_tower(bindsearch.space("toy").spec.dim).state_dict(), path)
    return described(folder, weights=hashlib.sha256(path.read_bytes()).hexdigest())


def test_words_and_pictures_are_the_bases(tmp_path):
    bound, toy = bindsearch.space(f"bound:{described(tmp_path)}"), bindsearch.space("toy")
    words = ["red", "a low rumble"]
    assert np.array_equal(bound.embed(words, modality="text"), toy.embed(words, modality="text"))
    assert bound.spec.fingerprint != toy.spec.fingerprint
    assert bound.spec.dim == toy.spec.dim


def test_sound_is_the_towers(tmp_path):
    bound, toy = bindsearch.space(f"bound:{trained(tmp_path)}"), bindsearch.space("toy")
    heard = bound.embed([SOUND, SOUND])
    assert np.abs(heard[0] - heard[1]).max() < 1e-5
    assert float(heard[0] @ toy.embed([SOUND])[0]) < 0.9


def test_another_tower_is_another_space(tmp_path):
    one = bindsearch.space(f"bound:{described(tmp_path, weights='one')}").spec.fingerprint
    assert bindsearch.space(f"bound:{described(tmp_path, weights='two')}").spec.fingerprint != one


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(MissingWeights, match="no card of a trained tower"):
        bindsearch.space(f"bound:{tmp_path}")
    with pytest.raises(SpaceMismatch, match="another toy"):
        bindsearch.space(f"bound:{described(tmp_path, fingerprint='old')}")


def test_changed_weights_are_refused(tmp_path):
    folder = trained(tmp_path)
    (folder / "tower.safetensors").write_bytes(b"other")
    with pytest.raises(MissingWeights, match="not the file"):
        bindsearch.space(f"bound:{folder}").embed([SOUND])
