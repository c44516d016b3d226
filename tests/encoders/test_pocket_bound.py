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


def write_model_card(folder: Path, *, fingerprint: str | None = None, weights: str = "none") -> Path:
    """Write the model card of a tower bound to `toy`, and return the folder."""
    base = {"name": "toy", "fingerprint": fingerprint or bindsearch.space("toy").spec.fingerprint}
    card = {"base": base, "weights": weights, "recipe": {"tower": "pocket-small"}}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return folder


def write_bound_space(folder: Path) -> Path:
    """Write a model card and the weights of a random tower, and return the folder."""
    torch = pytest.importorskip("torch", reason="the tower needs torch")
    save = pytest.importorskip("safetensors.torch", reason="the weights are safetensors")
    from bindsearch.encoders.pocket.towers import build_small_audio_tower

    torch.manual_seed(0)
    path = folder / "tower.safetensors"
    save.save_file(build_small_audio_tower(bindsearch.space("toy").spec.dim).state_dict(), path)
    return write_model_card(folder, weights=hashlib.sha256(path.read_bytes()).hexdigest())


def test_texts_get_the_vectors_of_the_base_space(tmp_path):
    bound, toy = bindsearch.space(f"bound:{write_model_card(tmp_path)}"), bindsearch.space("toy")
    words = ["red", "a low rumble"]
    assert np.array_equal(bound.embed(words, modality="text"), toy.embed(words, modality="text"))
    assert bound.spec.fingerprint != toy.spec.fingerprint
    assert bound.spec.dim == toy.spec.dim


def test_sounds_get_the_vectors_of_the_trained_tower(tmp_path):
    bound, toy = bindsearch.space(f"bound:{write_bound_space(tmp_path)}"), bindsearch.space("toy")
    vectors = bound.embed([SOUND, SOUND])
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-5
    assert float(vectors[0] @ toy.embed([SOUND])[0]) < 0.9


def test_fingerprint_depends_on_the_weights(tmp_path):
    first = bindsearch.space(f"bound:{write_model_card(tmp_path, weights='one')}").spec.fingerprint
    assert bindsearch.space(f"bound:{write_model_card(tmp_path, weights='two')}").spec.fingerprint != first


def test_missing_model_card_or_changed_base_is_reported(tmp_path):
    with pytest.raises(MissingWeights, match="is not the model card of a trained tower"):
        bindsearch.space(f"bound:{tmp_path}")
    with pytest.raises(SpaceMismatch, match="another version of toy"):
        bindsearch.space(f"bound:{write_model_card(tmp_path, fingerprint='old')}")


def test_changed_weights_are_rejected(tmp_path):
    folder = write_bound_space(tmp_path)
    (folder / "tower.safetensors").write_bytes(b"other")
    with pytest.raises(MissingWeights, match="is not the file that its model card"):
        bindsearch.space(f"bound:{folder}").embed([SOUND])
