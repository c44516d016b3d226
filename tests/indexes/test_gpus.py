"""FAISS on cards: whether it runs is found out elsewhere, its answers are the exact ones, and a full card is no end."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from bindsearch.indexes.approximate.candidates import SearchEffort
from bindsearch.indexes.choose import choose
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.gpu import devices as devices_module, faiss_probe as _faiss_cards
from bindsearch.indexes.gpu.devices import Gpu, devices
from bindsearch.indexes.gpu.faiss_gpu import FaissGpuIndex
from bindsearch.indexes.gpu.faiss_gpu_approximate import FaissGpuCagraIndex, FaissGpuIvfIndex, FaissGpuPqIndex
from bindsearch.indexes.gpu.faiss_probe import Cards, ProbeResult, probed, verdict
from fake_gpus import fake_cards
from index_model import same_answers, unit

from bindsearch.errors import IndexUnavailable

pytest.importorskip("faiss", reason="faiss is not installed")

DIM = 24
GB = 10**9
TOLD = 'print(\'{"seen": 2, "runs": [0], "graphs": true}\', flush=True)'


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No verdict was kept, and none is after."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for kept in (verdict, devices):
        kept.cache_clear()
    yield tmp_path
    for kept in (verdict, devices):
        kept.cache_clear()


# Whether faiss runs on a card ---------------------------------------------------------------------------------------


def test_this_faiss_is_tried_in_another_process_without_harm():
    told = probed(_faiss_cards.PROBE)
    assert len(told.runs) <= told.seen
    assert bool(told.why) == (len(told.runs) < told.seen)


@pytest.mark.parametrize(
    ("ending", "why"),
    [
        ("import os; os.abort()", "the trial ended with status -6"),
        ("raise RuntimeError('CUDA error 209 no kernel image is available')", "no code for it (no kernel image)"),
        ("raise RuntimeError('driver too old')", "RuntimeError: driver too old"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_trial_that_ends_badly_says_what_it_found_before_and_why_no_more(ending, why):
    told = probed(f"{TOLD}; {ending}", seconds=1.0 if "sleep" in ending else 60.0)
    if "sleep" not in ending:
        assert (told.seen, told.runs, told.graphs) == (2, (0,), True)
        assert why in told.why
    elif told.seen:
        assert why in told.why


def test_a_trial_in_which_all_cards_answer_needs_no_reason():
    told = probed('print(\'{"seen": 1, "runs": [0], "graphs": false}\')')
    assert told == ProbeResult(1, (0,), False, "")


def test_the_verdict_is_kept_for_the_next_process(fresh, monkeypatch):
    tries = []
    monkeypatch.setattr(_faiss_cards, "probed", lambda program: tries.append(program) or ProbeResult(1, (0,), True, ""))
    assert verdict() == ProbeResult(1, (0,), True, "")
    verdict.cache_clear()
    assert verdict() == ProbeResult(1, (0,), True, "")
    assert len(tries) == 1
    (file,) = fresh.glob("bindsearch/*.json")
    assert json.loads(file.read_text())["runs"] == [0]
    file.write_text("torn")
    verdict.cache_clear()
    verdict()
    assert len(tries) == 2


def test_another_driver_is_tried_anew(fresh, monkeypatch, tmp_path):
    tries = []
    monkeypatch.setattr(_faiss_cards, "probed", lambda program: tries.append(program) or ProbeResult())
    for driver in ("one", "two"):
        (tmp_path / "version").write_text(driver)
        monkeypatch.setattr(_faiss_cards, "DRIVER", tmp_path / "version")
        verdict.cache_clear()
        verdict()
    assert len(tries) == 2


@pytest.mark.parametrize(
    ("tried", "kind", "words"),
    [
        (ProbeResult(1, (0,), False, ""), "faiss-gpu", "through faiss"),
        (
            ProbeResult(1, (), False, "this faiss has no code for it"),
            "torch",
            "not faiss: this faiss has no code for it",
        ),
        (ProbeResult(), "torch", "as this faiss sees none"),
    ],
)
def test_status_says_who_uses_the_card_and_the_choice_follows(fresh, monkeypatch, tried, kind, words):
    pytest.importorskip("torch", reason="torch is not installed")
    card = Gpu("Card 9000", "9.0", 80 * GB, 79 * GB)
    monkeypatch.setattr(devices_module, "may_have_card", lambda: True)
    monkeypatch.setattr(devices_module, "verdict", lambda: tried)
    monkeypatch.setattr(devices_module, "_torch_gpus", lambda: (card,))
    assert words in devices().why
    assert devices().faiss_runs == tried.runs
    assert choose(3_000_000, 512, device="cuda").kind == kind
    assert choose(3_000_000, 512, recall=1.0, device="auto").kind == kind
    assert choose(3_000_000, 512, device="cpu").kind == "ivf"
    most = choose(200_000_000, 512, device="cuda").kind
    assert most == ("faiss-gpu-pq" if kind == "faiss-gpu" else "ivf")


# What is found on cards ---------------------------------------------------------------------------------------------


def filled(index, vectors):
    index.add(np.arange(len(vectors)), vectors)
    return index


@pytest.mark.parametrize("cards", [1, 3])
def test_all_cards_are_searched_and_the_answers_are_the_exact_ones(rng, cards):
    vectors, queries = unit(rng, 900, DIM, around=unit(rng, 9, DIM)), unit(rng, 7, DIM)
    held = fake_cards(cards)
    index, exact = filled(FaissGpuIndex(DIM, cards=held, small=1), vectors), filled(ExactIndex(DIM), vectors)
    for k in (1, 10, 200):
        assert same_answers(index.search(queries, k), exact.search(queries, k))
    assert set(held.faiss.asked) == set(range(cards))
    assert index.words == f"faiss on {cards} GPU{'s' * (cards > 1)}"


def test_what_float16_cannot_tell_apart_is_told_apart_by_the_processor(rng):
    base = unit(rng, 1, DIM)
    vectors = base + np.float32(1e-5) * unit(rng, 5000, DIM)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = filled(FaissGpuIndex(DIM, cards=fake_cards(), small=1), vectors)
    exact = filled(ExactIndex(DIM), vectors)
    assert same_answers(index.search(base, 10), exact.search(base, 10))


def test_a_card_without_room_is_said_and_the_processor_searches(rng, caplog):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 5, DIM)
    index = filled(FaissGpuIndex(DIM, cards=fake_cards(room=1000), small=1), vectors)
    exact = filled(ExactIndex(DIM), vectors)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert same_answers(index.search(queries, 10), exact.search(queries, 10))
    assert [record.message for record in caplog.records if "has no room" in record.message] == [
        f"{index.words.partition('processor: ')[2]}: the processor searches instead"
    ]
    assert "out of memory" in index.words


@pytest.mark.parametrize(
    ("make", "cards"), [(FaissGpuIvfIndex, 0), (FaissGpuIvfIndex, 1), (FaissGpuIvfIndex, 2), (FaissGpuPqIndex, 1)]
)
def test_cells_find_the_same_on_cards_and_on_the_processor(rng, make, cards):
    vectors, queries = unit(rng, 5000, DIM, around=unit(rng, 50, DIM)), unit(rng, 20, DIM)
    held = fake_cards(cards) if cards else Cards(None)
    index = filled(make(DIM, min_rows=64, effort=SearchEffort(share=0.5, candidates=400), cards=held), vectors)
    index.build()
    found, exact = index.search(queries, 10)[1], index.search_exactly(queries, 10)[1]
    assert np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) > 0.85
    if cards:
        assert set(held.faiss.asked) == set(range(cards))


def test_cells_for_which_the_card_has_no_room_are_searched_by_the_processor(rng, caplog):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 5, DIM)
    index = FaissGpuIvfIndex(
        DIM, min_rows=64, effort=SearchEffort(share=1.0, candidates=64), cards=fake_cards(room=1000)
    )
    filled(index, vectors).build()
    with caplog.at_level(logging.WARNING):
        found = index.search(queries, 10)
    assert same_answers(found, index.search_exactly(queries, 10))
    assert "out of memory" in index.words
    assert any("the processor searches instead" in record.message for record in caplog.records)


def test_a_graph_of_a_card_needs_a_card_and_says_so(rng):
    index = filled(FaissGpuCagraIndex(DIM, min_rows=64, cards=Cards(None)), unit(rng, 100, DIM))
    with pytest.raises(IndexUnavailable, match="take hnsw"):
        index.build()


def test_what_a_card_built_is_searched_without_one(rng, tmp_path):
    vectors, queries = unit(rng, 600, DIM), unit(rng, 10, DIM)
    index = FaissGpuCagraIndex(DIM, min_rows=64, effort=SearchEffort(share=1.0, candidates=64), cards=fake_cards())
    filled(index, vectors).build()
    index.save(tmp_path)
    loaded = FaissGpuCagraIndex.load(tmp_path)
    found, exact = loaded.search(queries, 10)[1], index.search_exactly(queries, 10)[1]
    assert np.mean([np.isin(*pair).mean() for pair in zip(exact, found, strict=True)]) > 0.85
