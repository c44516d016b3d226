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

SHORT = TrainingConfig(tower="pocket-small", steps=6, batch=12, chunk=12, bfloat16=False)


def made(*, dim: int = 16, owners: int = 4, each: int = 8) -> TrainingData:
    """Noise that belongs to pictures at random places of a space."""
    chance = np.random.default_rng(0)
    rows = chance.normal(size=(owners, 3, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return TrainingData(
        spectra=chance.normal(size=(owners * each, 200, 64)).astype(np.float32),
        owners=np.repeat(np.arange(owners), each),
        clips=np.arange(owners * each),
        dev=np.tile(np.arange(each) % 4 == 0, owners),
        pictures=tuple(rows),
        concepts=tuple(f"thing {owner}" for owner in range(owners)),
        hashes=tuple(map(str, range(owners * each))),
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.tower.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trained(sounds: TrainingData, config: TrainingConfig = SHORT) -> dict[str, torch.Tensor]:
    trainer = Trainer(sounds, config)
    for _ in range(config.steps):
        trainer.train_step()
    return weights(trainer)


# The rule: text meets sound only through images -------------------------------------------------------------------


def leaves(node: object) -> list[torch.Tensor]:
    """Every tensor that a loss sends gradients to."""
    seen, ahead, found = set(), [node], []
    while ahead:
        at = ahead.pop()
        if at is None or at in seen:
            continue
        seen.add(at)
        if hasattr(at, "variable"):
            found.append(at.variable)
        ahead += [each for each, _ in at.next_functions]
    return found


def test_the_losss_graph_ends_in_the_tower_and_nowhere_else():
    trainer = Trainer(made(), SHORT)
    batch = trainer._draw_batch(np.random.default_rng(0))
    assert not batch.anchors.requires_grad
    assert not batch.spectra.requires_grad
    assert batch.teacher_features is None
    loss = trainer.loss(trainer._encode(batch.spectra), batch)
    assert {id(leaf) for leaf in leaves(loss.grad_fn)} == {id(each) for each in trainer.tower.parameters()}


def test_the_anchors_are_means_of_pictures_and_of_nothing_else():
    sounds = made()
    trainer = Trainer(sounds, SHORT)
    batch = trainer._draw_batch(np.random.default_rng(0))
    for anchor, owner in zip(batch.anchors.numpy(), batch.owners.tolist(), strict=True):
        shares = np.linalg.lstsq(sounds.pictures[owner].T, anchor, rcond=None)[0]
        assert np.allclose(sounds.pictures[owner].T @ shares, anchor, atol=1e-5)
        assert shares.sum() == pytest.approx(1, abs=1e-4)


def test_names_of_concepts_change_no_weight():
    sounds = made()
    other = replace(sounds, concepts=("rain", "a dog", "", "sirens"))
    assert same(trained(sounds), trained(other))


def test_measuring_by_texts_changes_no_weight(tmp_path):
    sounds = made(dim=bindsearch.space("toy").spec.dim)
    evaluator = HeldOutEvaluator(sounds, bindsearch.space("toy"))
    measured, plain = Trainer(sounds, SHORT), trained(sounds)
    train(
        measured, tmp_path / "run.pt", every=1, on_progress=lambda step, loss, at: evaluator.evaluate(at.averaged_tower)
    )
    assert same(weights(measured), plain)


def test_the_control_gives_every_sound_the_pictures_of_another_concept():
    sounds = made()
    turned = Trainer(sounds, replace(SHORT, permuted=True))._image_set_of
    assert sorted(turned.tolist()) == [0, 1, 2, 3]
    assert (turned != np.arange(4)).all()


# Going on ---------------------------------------------------------------------------------------------------------


def test_killed_and_resumed_is_as_never_killed(tmp_path):
    path = tmp_path / "run.pt"
    killed = Trainer(made(), SHORT)
    for _ in range(3):
        killed.train_step()
    killed.save(path)
    resumed = Trainer(made(), SHORT)
    train(resumed, path, on_progress=lambda *_: None)
    assert resumed.step == SHORT.steps
    assert same(weights(resumed), trained(made()))


def test_resuming_with_other_settings_is_refused(tmp_path):
    Trainer(made(), SHORT).save(tmp_path / "run.pt")
    with pytest.raises(BadQuery, match="was trained with other settings"):
        Trainer(made(), replace(SHORT, seed=1)).resume(tmp_path / "run.pt")


def test_seeds_decide():
    assert same(trained(made()), trained(made()))
    assert not same(trained(made()), trained(made(), replace(SHORT, seed=1)))


def test_gradient_caching_trains_the_same_tower_but_for_its_norms():
    whole = Trainer(made(), SHORT)
    cached = Trainer(made(), replace(SHORT, chunk=5))
    assert whole.train_step() == pytest.approx(cached.train_step(), rel=0.2)


def test_a_teachers_features_are_learnt_too():
    sounds = made()
    teacher = np.random.default_rng(1).normal(size=(len(sounds.spectra), 10)).astype(np.float32)
    trainer = Trainer(sounds, replace(SHORT, learning_rate=3e-3), teacher=teacher)
    before = weights(trainer)
    assert trainer.train_step() > 0
    assert not same(before, weights(trainer))
    assert trainer.teacher_head is not None
    assert trainer.teacher_head.weight.grad is not None


# The architecture -------------------------------------------------------------------------------------------------


def test_the_pocket_tower_is_small_and_treats_rows_alike_in_any_company():
    tower = architecture("pocket").build(256).eval()
    assert sum(each.numel() for each in tower.parameters()) < 5_000_000
    spectra = made().spectra[:5]
    together = embed_windows(tower, spectra)
    alone = np.concatenate([embed_windows(tower, row[None]) for row in spectra])
    assert np.abs(together - alone).max() < 1e-5


def built(name: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return architecture(name).build(48).state_dict()


def test_the_pocket_tower_hears_already_but_is_bound_to_nothing():
    one, other, new = built("pocket", 0), built("pocket", 1), built("pocket-new", 1)
    heard = [
        name for name in one if name.startswith(architecture("pocket").pretrained) and one[name].is_floating_point()
    ]
    assert heard
    assert all(torch.equal(one[name], other[name]) for name in heard)
    assert not torch.equal(one["listening.head.straight.weight"], other["listening.head.straight.weight"])
    assert one["listening.head.straight.weight"].shape[0] == 48
    assert any(not torch.equal(one[name], new[name]) for name in heard)


def test_what_hears_already_goes_slowly():
    config = replace(SHORT, tower="pocket", steps=2, pretrained_rate=0.0, weight_decay=0.0)
    trainer = Trainer(made(), config)
    before = weights(trainer)
    trainer.train_step()
    after = weights(trainer)
    learnt = [name for name, _ in trainer.tower.named_parameters()]
    taught = [name for name in learnt if name.startswith(architecture("pocket").pretrained)]
    assert all(torch.equal(before[name], after[name]) for name in taught)
    assert any(not torch.equal(before[name], after[name]) for name in learnt if name not in taught)


# All of it --------------------------------------------------------------------------------------------------------


def test_the_verb_writes_a_space_that_hears(tmp_path, capsys):
    manifest, out = collection(tmp_path, sounds=4), tmp_path / "hearing"
    words = ["train", str(manifest), "--out", str(out), "--space", "toy", "--tower", "pocket-small"]
    assert main([*words, "--steps", "2", "--batch", "8", "--licence", "made up", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    card = json.loads((out / "card.json").read_text())
    assert told["clips"] == 6
    assert {name: told[name] for name in card["figures"]} == card["figures"]
    assert card["data"]["clips"] == {"train": 18, "dev": 6}
    assert card["data"]["licence"] == "made up"
    assert card["data"]["concepts"] == sorted(COLOURS)
    assert bindsearch.space(f"bound:{out}").embed([tmp_path / "sounds/dev/red/0.wav"]).shape == (1, card["base"]["dim"])


def test_a_miniature_emerges_and_its_control_does_not(tmp_path):
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
    chance = np.random.default_rng(99)
    labels = bound.embed([f"the sound of {name}" for name in COLOURS], modality="text")
    pieces = [bindsearch.types.Piece(bindsearch.types.Modality.AUDIO, sound(name, chance)) for name in COLOURS]
    found = (bound.embed(pieces) @ labels.T).argmax(axis=1)
    assert (found == np.arange(6)).mean() >= 0.5
