"""The choice of an index, and the description of faiss and GPUs."""

from __future__ import annotations

import pytest
from bindsearch.indexes.choose import choose, exact_seconds, memory_per_segment
from bindsearch.indexes.gpu import devices as devices_module
from bindsearch.indexes.gpu.devices import _why, devices
from bindsearch.indexes.gpu.faiss_probe import ProbeResult

from bindsearch.types import Gpu

GB = 10**9


@pytest.mark.parametrize(
    ("count", "settings", "machine", "kind"),
    [
        (1_000_000, {}, {}, "exact"),
        (1_000_000, {"memory": 2 * GB}, {}, "exact"),
        (1_000_000, {"memory": GB // 2}, {}, "ivf"),
        (1_000_000, {"memory": GB // 2, "recall": 1.0}, {}, "exact"),
        (1_000_000, {"memory": GB // 2}, {"has_faiss": False}, "exact"),
        (3_000_000, {}, {}, "ivf"),
        (3_000_000, {}, {"gpu_bytes": 80 * GB}, "ivf"),
        (3_000_000, {"recall": 1.0}, {"gpu_bytes": 80 * GB}, "torch"),
        (3_000_000, {"recall": 1.0, "device": "cpu"}, {"gpu_bytes": 80 * GB}, "exact"),
        (3_000_000, {"recall": 1.0}, {"gpu_bytes": 1 * GB}, "exact"),
        (1_000, {"device": "cuda"}, {"gpu_bytes": 80 * GB}, "torch"),
        (1_000, {"device": "cuda"}, {"gpu_bytes": 0}, "exact"),
        (0, {"device": "cuda"}, {"gpu_bytes": 80 * GB}, "exact"),
        (3_000_000, {"device": "cuda"}, {"gpu_bytes": 2 * GB}, "ivf"),
    ],
)
def test_choice_follows_size_settings_and_machine(count, settings, machine, kind):
    assert choose(count, 512, **settings, **({"has_faiss": True, "gpu_bytes": 0} | machine)).kind == kind


def test_choice_says_why():
    machine = {"has_faiss": True, "gpu_bytes": 0}
    assert "512 MB" in choose(1_000_000, 512, memory=512_000_000, **machine).why
    assert "searches will read the disk" in choose(10_000_000, 512, memory=10_000_000, **machine).why
    assert choose(10, 512, device="cuda", **machine).why.startswith("the requested GPU is missing;")
    assert (
        "has 1.0 GB free of the 3.1 GB needed"
        in choose(3_000_000, 512, device="cuda", has_faiss=True, gpu_bytes=GB).why
    )
    assert "pip install" in choose(3_000_000, 512, has_faiss=False, gpu_bytes=0).why


def test_less_memory_never_chooses_index_that_needs_more():
    needs = [
        memory_per_segment(choose(1_000_000, 512, memory=memory, has_faiss=True, gpu_bytes=0).kind, 512)
        for memory in range(10_000_000, 2 * GB, 50_000_000)
    ]
    assert needs == sorted(needs)
    assert len(set(needs)) == 2


def test_exact_search_is_slower_without_faiss():
    assert exact_seconds(1000, 512, codes=False) > exact_seconds(1000, 512, codes=True)


@pytest.fixture
def no_cached_devices():
    devices.cache_clear()
    yield
    devices.cache_clear()


def test_devices_are_plain_values(no_cached_devices):
    values = devices().as_json()
    assert set(values) == {"faiss", "faiss_packages", "faiss_gpus", "faiss_runs", "faiss_why", "gpus", "why"}
    assert values["why"]


def test_all_packages_that_bring_faiss_are_listed(no_cached_devices, monkeypatch):
    pytest.importorskip("faiss", reason="faiss is not installed")
    monkeypatch.setattr(devices_module, "_version", {"faiss-cpu": "1.15.1", "faiss-gpu-cu12": "1.14.0"}.get)
    assert devices().faiss_packages == ("faiss-cpu", "faiss-gpu-cu12")


def test_reason_for_using_or_not_using_a_gpu():
    gpu = Gpu("GPU 9000", "9.0", 80 * GB, 79 * GB)
    assert _why(has_gpu=False, gpus=(), probe=ProbeResult()) == "this machine has no GPU"
    pytest.importorskip("torch", reason="torch is not installed")
    assert "torch finds none" in _why(has_gpu=True, gpus=(), probe=ProbeResult())
    assert "not faiss: no code" in _why(has_gpu=True, gpus=(gpu,), probe=ProbeResult(1, (), why="no code"))
    assert _why(has_gpu=True, gpus=(gpu,), probe=ProbeResult()).startswith("GPU 9000 is used")
