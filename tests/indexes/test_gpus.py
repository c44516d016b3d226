"""FAISS on GPUs: a process of its own probes them, answers are exact, and out of memory means searching on the CPU."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from bindsearch.indexes.choose import choose
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.gpu import devices as devices_module, faiss_probe
from bindsearch.indexes.gpu.devices import devices
from bindsearch.indexes.gpu.faiss_gpu import FaissGpuIndex
from bindsearch.indexes.gpu.faiss_gpu_approximate import FaissGpuCagraIndex, FaissGpuIvfIndex, FaissGpuPqIndex
from bindsearch.indexes.gpu.faiss_probe import FaissGpus, ProbeResult, probe_result, run_probe
from fake_gpus import fake_gpus
from index_model import same_answers, unit

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Gpu, SearchEffort

pytest.importorskip("faiss", reason="faiss is not installed")

DIM = 24
GB = 10**9
FIRST_RESULT = 'print(\'{"visible": 2, "usable": [0], "has_cagra": true}\', flush=True)'


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def no_cached_result(monkeypatch, tmp_path):
    """Start without a cached result of the probe, and leave none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for cached in (probe_result, devices):
        cached.cache_clear()
    yield tmp_path
    for cached in (probe_result, devices):
        cached.cache_clear()


# The probe --------------------------------------------------------------------------------------------------------


def test_installed_faiss_is_probed_in_another_process():
    result = run_probe(faiss_probe.PROBE)
    assert len(result.usable) <= result.visible
    assert bool(result.why) == (len(result.usable) < result.visible)


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ("import os; os.abort()", "the probe ended with status -6"),
        ("raise RuntimeError('CUDA error 209 no kernel image is available')", "no code for it (no kernel image)"),
        ("raise RuntimeError('driver too old')", "RuntimeError: driver too old"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_failed_probe_returns_earlier_results_and_reason(ending, why):
    result = run_probe(f"{FIRST_RESULT}; {ending}", seconds=1.0 if "sleep" in ending else 60.0)
    if "sleep" not in ending:
        assert (result.visible, result.usable, result.has_cagra) == (2, (0,), True)
        assert why in result.why
    elif result.visible:
        assert why in result.why


def test_probe_without_failure_has_no_reason():
    result = run_probe('print(\'{"visible": 1, "usable": [0], "has_cagra": false}\')')
    assert result == ProbeResult(1, (0,), False, "")


def test_probe_result_is_cached_for_the_next_process(no_cached_result, monkeypatch):
    tries = []
    monkeypatch.setattr(
        faiss_probe, "run_probe", lambda program: tries.append(program) or ProbeResult(1, (0,), True, "")
    )
    assert probe_result() == ProbeResult(1, (0,), True, "")
    probe_result.cache_clear()
    assert probe_result() == ProbeResult(1, (0,), True, "")
    assert len(tries) == 1
    (file,) = no_cached_result.glob("bindsearch/*.json")
    assert json.loads(file.read_text())["usable"] == [0]
    file.write_text("torn")
    probe_result.cache_clear()
    probe_result()
    assert len(tries) == 2


def test_another_driver_is_probed_again(no_cached_result, monkeypatch, tmp_path):
    tries = []
    monkeypatch.setattr(faiss_probe, "run_probe", lambda program: tries.append(program) or ProbeResult())
    for driver in ("one", "two"):
        (tmp_path / "version").write_text(driver)
        monkeypatch.setattr(faiss_probe, "DRIVER", tmp_path / "version")
        probe_result.cache_clear()
        probe_result()
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("probe", "kind", "words"),
    [
        (ProbeResult(1, (0,), False, ""), "faiss-gpu", "through faiss"),
        (
            ProbeResult(1, (), False, "this faiss has no code for it"),
            "torch",
            "not faiss: this faiss has no code for it",
        ),
        (ProbeResult(), "torch", "as faiss finds none"),
    ],
)
def test_status_and_choice_follow_the_probe(no_cached_result, monkeypatch, probe, kind, words):
    pytest.importorskip("torch", reason="torch is not installed")
    gpu = Gpu("GPU 9000", "9.0", 80 * GB, 79 * GB)
    monkeypatch.setattr(devices_module, "may_have_gpu", lambda: True)
    monkeypatch.setattr(devices_module, "probe_result", lambda: probe)
    monkeypatch.setattr(devices_module, "_torch_gpus", lambda: (gpu,))
    assert words in devices().why
    assert devices().faiss_runs == probe.usable
    assert choose(3_000_000, 512, device="cuda").kind == kind
    assert choose(3_000_000, 512, recall=1.0, device="auto").kind == kind
    assert choose(3_000_000, 512, device="cpu").kind == "ivf"
    most = choose(200_000_000, 512, device="cuda").kind
    assert most == ("faiss-gpu-pq" if kind == "faiss-gpu" else "ivf")


# Searching on GPUs ------------------------------------------------------------------------------------------------


def filled(index, vectors):
    index.add(np.arange(len(vectors)), vectors)
    return index


@pytest.mark.parametrize("number", [1, 3])
def test_all_gpus_are_searched_and_answers_are_exact(rng, number):
    vectors, queries = unit(rng, 900, DIM, around=unit(rng, 9, DIM)), unit(rng, 7, DIM)
    gpus = fake_gpus(number)
    index, exact = filled(FaissGpuIndex(DIM, gpus=gpus, min_gpu_rows=1), vectors), filled(ExactIndex(DIM), vectors)
    for k in (1, 10, 200):
        assert same_answers(index.search(queries, k), exact.search(queries, k))
    assert set(gpus.faiss.searched) == set(range(number))
    assert index.device_text == f"faiss on {number} GPU{'s' * (number > 1)}"


def test_rows_that_float16_cannot_tell_apart_go_to_the_cpu(rng):
    base = unit(rng, 1, DIM)
    vectors = base + np.float32(1e-5) * unit(rng, 5000, DIM)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = filled(FaissGpuIndex(DIM, gpus=fake_gpus(), min_gpu_rows=1), vectors)
    exact = filled(ExactIndex(DIM), vectors)
    assert same_answers(index.search(base, 10), exact.search(base, 10))


def test_gpu_out_of_memory_is_logged_and_the_cpu_searches(rng, caplog):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 5, DIM)
    index = filled(FaissGpuIndex(DIM, gpus=fake_gpus(free_bytes=1000), min_gpu_rows=1), vectors)
    exact = filled(ExactIndex(DIM), vectors)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert same_answers(index.search(queries, 10), exact.search(queries, 10))
    assert [record.message for record in caplog.records if "is out of memory" in record.message] == [
        f"{index.device_text.partition('CPU: ')[2]}: the CPU searches instead"
    ]
    assert "out of memory" in index.device_text


@pytest.mark.parametrize(
    ("make", "number"), [(FaissGpuIvfIndex, 0), (FaissGpuIvfIndex, 1), (FaissGpuIvfIndex, 2), (FaissGpuPqIndex, 1)]
)
def test_ivf_lists_find_the_same_on_gpu_and_cpu(rng, make, number):
    vectors, queries = unit(rng, 5000, DIM, around=unit(rng, 50, DIM)), unit(rng, 20, DIM)
    gpus = fake_gpus(number) if number else FaissGpus(None)
    index = filled(make(DIM, min_generator_rows=64, effort=SearchEffort(share=0.5, candidates=400), gpus=gpus), vectors)
    index.build()
    found, exact = index.search(queries, 10)[1], index.search_exactly(queries, 10)[1]
    assert np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) > 0.85
    if number:
        assert set(gpus.faiss.searched) == set(range(number))


def test_ivf_lists_that_do_not_fit_are_searched_on_the_cpu(rng, caplog):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 5, DIM)
    index = FaissGpuIvfIndex(
        DIM, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=64), gpus=fake_gpus(free_bytes=1000)
    )
    filled(index, vectors).build()
    with caplog.at_level(logging.WARNING):
        found = index.search(queries, 10)
    assert same_answers(found, index.search_exactly(queries, 10))
    assert "out of memory" in index.device_text
    assert any("the CPU searches instead" in record.message for record in caplog.records)


def test_building_cagra_without_gpu_suggests_hnsw(rng):
    index = filled(FaissGpuCagraIndex(DIM, min_generator_rows=64, gpus=FaissGpus(None)), unit(rng, 100, DIM))
    with pytest.raises(IndexUnavailable, match="use hnsw"):
        index.build()


def test_graph_built_on_gpu_is_searched_without_one(rng, tmp_path):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 10, DIM)
    index = FaissGpuCagraIndex(
        DIM, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=64), gpus=fake_gpus()
    )
    filled(index, vectors).build()
    index.save(tmp_path)
    loaded = FaissGpuCagraIndex.load(tmp_path)
    found, exact = loaded.search(queries, 10)[1], index.search_exactly(queries, 10)[1]
    assert np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) > 0.85
