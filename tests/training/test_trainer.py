from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("safetensors", reason="weights are written as safetensors")

from training.example_pairs import COLOURS, collection, sound  # noqa: E402

import bindsearch  # noqa: E402
from bindsearch.cli import main  # noqa: E402
from bindsearch.errors import BadQuery  # noqa: E402
from bindsearch.training.config import TrainingConfig  # noqa: E402
from bindsearch.training.held_out_evaluation import HeldOutEvaluator, embed_windows  # noqa: E402
from bindsearch.training.pipeline import bind  # noqa: E402
from bindsearch.training.towers import architecture  # noqa: E402
from bindsearch.training.trainer import Trainer, train  # noqa: E402
from bindsearch.training.training_data import TrainingData  # noqa: E402

SHORT_RUN = TrainingConfig(tower="pocket-small", steps=6, batch=12, chunk=12, bfloat16=False)


def noise_data(*, dim: int = 16, owners: int = 4, each: int = 8) -> TrainingData:
    """Random spectrograms paired with random image vectors."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(owners, 3, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return TrainingData(
        spectra=rng.normal(size=(owners * each, 200, 64)).astype(np.float32),
        owners=np.repeat(np.arange(owners), each),
        clips=np.arange(owners * each),
        dev=np.tile(np.arange(each) % 4 == 0, owners),
        pictures=tuple(rows),
        concepts=tuple(f"thing {owner}" for owner in range(owners)),
        hashes=tuple(map(str, range(owners * each))),
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.tower.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def weights_after_training(sounds: TrainingData, config: TrainingConfig = SHORT_RUN) -> dict[str, torch.Tensor]:
    trainer = Trainer(sounds, config)
    for _ in range(config.steps):
        trainer.train_step()
    return weights(trainer)


# The rule: text meets sound only through images -------------------------------------------------------------------


def gradient_leaves(node: object) -> list[torch.Tensor]:
    """Return every tensor for which a loss has a gradient."""
    visited, ahead, found = set(), [node], []
    while ahead:
        at = ahead.pop()
        if at is None or at in visited:
            continue
        visited.add(at)
        if hasattr(at, "variable"):
            found.append(at.variable)
        ahead += [each for each, _ in at.next_functions]
    return found


def test_the_loss_has_gradients_for_the_tower_alone():
    trainer = Trainer(noise_data(), SHORT_RUN)
    batch = trainer._draw_batch(np.random.default_rng(0))
    assert not batch.anchors.requires_grad
    assert not batch.spectra.requires_grad
    assert batch.teacher_features is None
    loss = trainer.loss(trainer._encode(batch.spectra), batch)
    assert {id(leaf) for leaf in gradient_leaves(loss.grad_fn)} == {id(each) for each in trainer.tower.parameters()}


def test_anchors_are_means_of_image_vectors():
    sounds = noise_data()
    trainer = Trainer(sounds, SHORT_RUN)
    batch = trainer._draw_batch(np.random.default_rng(0))
    for anchor, owner in zip(batch.anchors.numpy(), batch.owners.tolist(), strict=True):
        shares = np.linalg.lstsq(sounds.pictures[owner].T, anchor, rcond=None)[0]
        assert np.allclose(sounds.pictures[owner].T @ shares, anchor, atol=1e-5)
        assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_concept_names_do_not_change_the_weights():
    sounds = noise_data()
    other = replace(sounds, concepts=("rain", "a dog", "", "sirens"))
    assert equal(weights_after_training(sounds), weights_after_training(other))


def test_evaluating_with_texts_does_not_change_the_weights(tmp_path):
    sounds = noise_data(dim=bindsearch.space("toy").spec.dim)
    evaluator = HeldOutEvaluator(sounds, bindsearch.space("toy"))
    measured, plain = Trainer(sounds, SHORT_RUN), weights_after_training(sounds)
    train(
        measured, tmp_path / "run.pt", every=1, on_progress=lambda step, loss, at: evaluator.evaluate(at.averaged_tower)
    )
    assert equal(weights(measured), plain)


def test_the_control_pairs_sounds_with_another_concepts_images():
    sounds = noise_data()
    image_sets = Trainer(sounds, replace(SHORT_RUN, permuted=True))._image_set_of
    assert sorted(image_sets.tolist()) == [0, 1, 2, 3]
    assert (image_sets != np.arange(4)).all()


# Resuming ---------------------------------------------------------------------------------------------------------


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    path = tmp_path / "run.pt"
    killed = Trainer(noise_data(), SHORT_RUN)
    for _ in range(3):
        killed.train_step()
    killed.save(path)
    resumed = Trainer(noise_data(), SHORT_RUN)
    train(resumed, path, on_progress=lambda *_: None)
    assert resumed.step == SHORT_RUN.steps
    assert equal(weights(resumed), weights_after_training(noise_data()))


def test_resuming_with_other_settings_is_refused(tmp_path):
    Trainer(noise_data(), SHORT_RUN).save(tmp_path / "run.pt")
    with pytest.raises(BadQuery, match="was trained with other settings"):
        Trainer(noise_data(), replace(SHORT_RUN, seed=1)).resume(tmp_path / "run.pt")


def test_the_seed_determines_the_weights():
    assert equal(weights_after_training(noise_data()), weights_after_training(noise_data()))
    assert not equal(
        weights_after_training(noise_data()), weights_after_training(noise_data(), replace(SHORT_RUN, seed=1))
    )


def test_gradient_caching_gives_a_similar_loss():
    whole = Trainer(noise_data(), SHORT_RUN)
    cached = Trainer(noise_data(), replace(SHORT_RUN, chunk=5))
    assert whole.train_step() == pytest.approx(cached.train_step(), rel=0.2)


def test_the_teacher_head_is_trained():
    sounds = noise_data()
    teacher = np.random.default_rng(1).normal(size=(len(sounds.spectra), 10)).astype(np.float32)
    trainer = Trainer(sounds, replace(SHORT_RUN, learning_rate=3e-3), teacher=teacher)
    before = weights(trainer)
    assert trainer.train_step() > 0
    assert not equal(before, weights(trainer))
    assert trainer.teacher_head is not None
    assert trainer.teacher_head.weight.grad is not None


# The architecture -------------------------------------------------------------------------------------------------


def test_the_pocket_tower_is_small_and_treats_rows_independently():
    tower = architecture("pocket").build(256).eval()
    assert sum(each.numel() for each in tower.parameters()) < 5_000_000
    spectra = noise_data().spectra[:5]
    together = embed_windows(tower, spectra)
    alone = np.concatenate([embed_windows(tower, row[None]) for row in spectra])
    assert np.abs(together - alone).max() < 1e-5


def initial_weights(name: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return architecture(name).build(48).state_dict()


def test_the_pocket_tower_is_pretrained_but_its_head_is_not():
    one, other, new = initial_weights("pocket", 0), initial_weights("pocket", 1), initial_weights("pocket-new", 1)
    pretrained = [
        name for name in one if name.startswith(architecture("pocket").pretrained) and one[name].is_floating_point()
    ]
    assert pretrained
    assert all(torch.equal(one[name], other[name]) for name in pretrained)
    assert not torch.equal(one["listening.head.straight.weight"], other["listening.head.straight.weight"])
    assert one["listening.head.straight.weight"].shape[0] == 48
    assert any(not torch.equal(one[name], new[name]) for name in pretrained)


def test_pretrained_layers_use_the_pretrained_rate():
    config = replace(SHORT_RUN, tower="pocket", steps=2, pretrained_rate=0.0, weight_decay=0.0)
    trainer = Trainer(noise_data(), config)
    before = weights(trainer)
    trainer.train_step()
    after = weights(trainer)
    names = [name for name, _ in trainer.tower.named_parameters()]
    pretrained = [name for name in names if name.startswith(architecture("pocket").pretrained)]
    assert all(torch.equal(before[name], after[name]) for name in pretrained)
    assert any(not torch.equal(before[name], after[name]) for name in names if name not in pretrained)


# End to end -------------------------------------------------------------------------------------------------------


def test_the_verb_writes_a_bound_space(tmp_path, capsys):
    manifest, out = collection(tmp_path, sounds=4), tmp_path / "hearing"
    words = ["train", str(manifest), "--out", str(out), "--space", "toy", "--tower", "pocket-small"]
    assert main([*words, "--steps", "2", "--batch", "8", "--licence", "invented", "--json", "--quiet"]) == 0
    printed = json.loads(capsys.readouterr().out)
    card = json.loads((out / "card.json").read_text())
    assert printed["clips"] == 6
    assert {name: printed[name] for name in card["figures"]} == card["figures"]
    assert card["data"]["clips"] == {"train": 18, "dev": 6}
    assert card["data"]["licence"] == "invented"
    assert card["data"]["concepts"] == sorted(COLOURS)
    assert bindsearch.space(f"bound:{out}").embed([tmp_path / "sounds/dev/red/0.wav"]).shape == (1, card["base"]["dim"])


def test_text_and_sound_align_but_not_in_the_control(tmp_path):
    manifest = collection(tmp_path, sounds=16)
    config = TrainingConfig(
        tower="pocket-small", steps=60, batch=36, chunk=36, learning_rate=4e-3, average_decay=0.9, bfloat16=False
    )
    toy = bindsearch.space("toy")
    lines: list[str] = []
    result = bind(manifest, tmp_path / "out", toy, config=config, licence="MIT", on_progress=lines.append)
    control = bind(manifest, tmp_path / "control", toy, config=replace(config, permuted=True))
    assert result.zero_shot is not None
    assert control.zero_shot is not None
    assert result.chance == pytest.approx(1 / 6)
    assert result.zero_shot >= 0.6
    assert result.zero_shot > control.zero_shot + 0.3
    assert result.pictures >= 0.6
    assert sum(line.startswith("step ") for line in lines) >= 20

    bound = bindsearch.space(f"bound:{tmp_path / 'out'}")
    rng = np.random.default_rng(99)
    labels = bound.embed([f"the sound of {name}" for name in COLOURS], modality="text")
    pieces = [bindsearch.types.Piece(bindsearch.types.Modality.AUDIO, sound(name, rng)) for name in COLOURS]
    found = (bound.embed(pieces) @ labels.T).argmax(axis=1)
    assert (found == np.arange(6)).mean() >= 0.5
