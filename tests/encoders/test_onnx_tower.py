from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from bindsearch.encoders.shared.cores import cpu_quota, usable_cores

from bindsearch.errors import UnusableSpace

onnx_tower = pytest.importorskip("bindsearch.encoders.shared.onnx_tower", reason="needs onnxruntime")

ROWS = np.array([[3.0, 4.0], [1.0, 0.0]], np.float32)


def on_cpu(batch: np.ndarray) -> np.ndarray:
    return batch


def shorter(batch: np.ndarray) -> np.ndarray:
    return np.asarray(batch / 2 + 1e-4, np.float32)


def mirrored(batch: np.ndarray) -> np.ndarray:
    return np.asarray(batch[:, ::-1])


def not_finite(batch: np.ndarray) -> np.ndarray:
    return np.full_like(batch, np.nan)


def failing(_: np.ndarray) -> np.ndarray:
    raise ValueError("out of order")


@pytest.mark.parametrize("wrong", [mirrored, not_finite, failing])
def test_an_accelerator_with_other_vectors_is_not_used(wrong):
    assert onnx_tower.choose(on_cpu, [wrong], lambda: ROWS) is on_cpu
    assert onnx_tower.choose(on_cpu, [wrong, shorter], lambda: ROWS) is shorter


def test_the_cpu_can_be_asked_for(monkeypatch):
    monkeypatch.setattr(onnx_tower, "ACCELERATORS", ("CPUExecutionProvider",))
    assert onnx_tower.installed_accelerators() == ["CPUExecutionProvider"]
    monkeypatch.setenv("BINDSEARCH_DEVICE", "cpu")
    assert onnx_tower.installed_accelerators() == []


def test_waiting_threads_do_not_spin():
    options = onnx_tower.session_options()
    assert options.intra_op_num_threads == usable_cores()
    for pool in ("intra_op", "inter_op"):
        assert options.get_session_config_entry(f"session.{pool}.allow_spinning") == "0"


# Cores ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fresh_cores():
    usable_cores.cache_clear()
    yield
    usable_cores.cache_clear()


@pytest.mark.usefixtures("fresh_cores")
def test_the_number_of_threads_can_be_given(monkeypatch):
    monkeypatch.setenv("BINDSEARCH_THREADS", "3")
    assert usable_cores() == 3


@pytest.mark.usefixtures("fresh_cores")
@pytest.mark.parametrize("given", ["0", "-1", "many"])
def test_a_number_of_threads_that_is_none_is_refused(monkeypatch, given):
    monkeypatch.setenv("BINDSEARCH_THREADS", given)
    with pytest.raises(UnusableSpace, match=f"BINDSEARCH_THREADS={given}"):
        usable_cores()


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    return path


def test_quotas_of_a_group_and_of_those_above_hold(tmp_path):
    own = written(tmp_path / "own", "0::/system/job\n")
    root = tmp_path / "cgroup"
    assert cpu_quota(root, own) == math.inf
    written(root / "system" / "job" / "cpu.max", "max 100000\n")
    assert cpu_quota(root, own) == math.inf
    written(root / "system" / "cpu.max", "150000 100000\n")
    assert cpu_quota(root, own) == 1.5
    written(root / "system" / "job" / "cpu.max", "50000 100000\n")
    assert cpu_quota(root, own) == 0.5


def test_quotas_of_the_older_cgroups_are_read(tmp_path):
    own = written(tmp_path / "own", "7:memory:/job\n4:cpu,cpuacct:/job\n")
    root = tmp_path / "cgroup"
    written(root / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us", "-1\n")
    written(root / "cpu,cpuacct" / "job" / "cpu.cfs_period_us", "100000\n")
    assert cpu_quota(root, own) == math.inf
    written(root / "cpu,cpuacct" / "job" / "cpu.cfs_quota_us", "200000\n")
    assert cpu_quota(root, own) == 2


def test_a_system_without_cgroups_has_no_quota(tmp_path):
    assert cpu_quota(tmp_path, tmp_path / "none") == math.inf
