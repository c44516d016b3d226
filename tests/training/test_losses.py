from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")

from bindsearch.training import augmentation, checkpoint, gradient_cache, losses, schedule  # noqa: E402
from bindsearch.training.weight_average import WeightAverage  # noqa: E402


def test_contrastive_loss_has_the_textbook_value():
    vectors = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    value = losses.contrastive(vectors, vectors, torch.arange(2), temperature=0.5)
    assert float(value) == pytest.approx(math.log(1 + math.exp(-2)), abs=1e-6)


def test_contrastive_loss_shares_between_positives():
    vectors = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    owners = torch.tensor([7, 7, 9])
    expected = (2 * math.log(2 + math.exp(-1)) + math.log(1 + 2 * math.exp(-1))) / 3
    assert float(losses.contrastive(vectors, vectors, owners, temperature=1.0)) == pytest.approx(expected, abs=1e-6)


def test_regression_and_distillation_are_zero_for_equal_vectors():
    rows, bank = torch.randn(5, 8), torch.randn(9, 8)
    assert float(losses.regression(rows, 3 * rows)) == pytest.approx(0, abs=1e-6)
    assert float(losses.distillation(rows, 3 * rows, bank)) == pytest.approx(0, abs=1e-5)
    assert float(losses.regression(rows, -rows)) == pytest.approx(2, abs=1e-6)
    assert float(losses.distillation(rows, -rows, bank)) > 1


def test_soft_label_divergence_is_scaled_by_squared_temperature():
    student, teacher = torch.zeros(1, 2), torch.tensor([[2 * math.log(3.0), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert float(losses.soft_label_divergence(student, teacher, temperature=2.0)) == pytest.approx(expected, abs=1e-6)


def test_gradient_caching_gives_the_whole_batchs_gradients():
    inputs, anchors, owners = torch.randn(10, 4), torch.randn(10, 3), torch.arange(10)
    gradients = []
    for chunk in (10, 3):
        torch.manual_seed(1)
        layer = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
        gradient_cache.backward(layer, inputs, lambda rows: losses.contrastive(rows, anchors, owners), chunk=chunk)
        gradients.append([each.grad for each in layer.parameters()])
    for whole, cached in zip(*gradients, strict=True):
        assert torch.allclose(whole, cached, atol=1e-6)


def test_masks_are_runs_up_to_the_maximum_length():
    hidden = augmentation.mask_spectrograms(torch.ones(50, 100, 40), 0.2, torch.Generator().manual_seed(0)) == 0
    for axis, length in ((1, 100), (2, 40)):
        runs = hidden.all(dim=3 - axis)
        assert runs.any()
        assert int(runs.sum(dim=1).max()) <= 0.2 * length + 1
        edges = (runs[:, 1:] != runs[:, :-1]).sum(dim=1)
        assert int(edges.max()) <= 2


def test_mixing_adds_powers_and_mixes_anchors_equally():
    spectra = torch.log(torch.tensor([1.0, 3.0]))[:, None, None].expand(2, 4, 5)
    anchors = torch.eye(2)
    loud, blended = augmentation.mix_spectrograms(spectra, anchors, 1.0, torch.Generator().manual_seed(0))
    weight = blended[0, 1]
    assert 0 < float(weight) < 0.5
    assert torch.allclose(loud[0].exp(), ((1 - weight) * 1 + weight * 3).expand(4, 5), atol=1e-5)
    same, still = augmentation.mix_spectrograms(spectra, anchors, 0.0, torch.Generator().manual_seed(0))
    assert torch.equal(same, spectra)
    assert torch.equal(still, anchors)


def test_the_learning_rate_rises_then_falls():
    assert schedule.cosine(0.01) == pytest.approx(0.5)
    assert schedule.cosine(0.02) == pytest.approx(1.0)
    assert schedule.cosine(0.51) == pytest.approx((1 + 0.01) / 2, abs=1e-6)
    assert schedule.cosine(1.0) == pytest.approx(0.01)


def test_the_weight_average_follows_the_weights():
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    average = WeightAverage(module, decay=0.5)
    torch.nn.init.ones_(module.weight)
    average.update(module)
    assert float(average.module.weight) == pytest.approx(1 - 2 / 11)
    for _ in range(30):
        average.update(module)
    assert float(average.module.weight) == pytest.approx(1.0, abs=1e-6)
    assert not average.module.weight.requires_grad


def test_an_unfinished_checkpoint_leaves_the_previous_one(tmp_path):
    path = tmp_path / "run.pt"
    assert checkpoint.load(path) is None
    checkpoint.save(path, {"step": 3, "weights": torch.from_numpy(np.arange(3.0))})
    path.with_name("run.pt.new").write_bytes(b"unfinished")
    state = checkpoint.load(path)
    assert state is not None
    assert state["step"] == 3
    assert torch.equal(state["weights"], torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64))
