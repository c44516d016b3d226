"""What the exact index promises beyond the contract: answers right to the last bit, whichever way they are found."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.scan import faiss_int8, float_scan, rescoring, rows as rows_module, scanners, threads, top_k
from bindsearch.indexes.scan.int8_codes import Int8Coder
from bindsearch.indexes.scan.scanners import ScanMethod
from bindsearch.indexes.scan.shortlist import Shortlist
from index_kinds import KINDS
from index_model import same_answers, unit

from bindsearch.registry import INDEXES

DIM = 32


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture(params=[1 << 5, 1 << 12, 1 << 21], ids=lambda size: f"{size} scores a chunk")
def chunk(request, monkeypatch):
    """Set the sizes of chunks and pieces. They are a matter of speed: no answer may depend on them."""
    monkeypatch.setattr(float_scan, "CHUNK_SCORES", request.param)
    monkeypatch.setattr(scanners, "CODED_SCORES", request.param)
    monkeypatch.setattr(scanners, "MIN_PIECE_ROWS", max(16, request.param >> 10))
    monkeypatch.setattr(faiss_int8, "PIECE_ROWS", max(16, request.param >> 4))
    monkeypatch.setattr(rows_module, "GATHERED_ROWS", max(4, request.param >> 8))
    monkeypatch.setattr(rescoring, "RESCORED_PAIRS", max(4, request.param >> 12))
    monkeypatch.setattr(float_scan, "THREAD_ROWS", max(8, request.param >> 10))


def truth(vectors, ids, queries, k):
    """Return the answer from float64, rounded once."""
    scores = (queries[:, None, :].astype(np.float64) * vectors[None]).sum(axis=2).astype(np.float32)
    order = np.stack([np.lexsort((ids, -row))[:k] for row in scores])
    return np.take_along_axis(scores, order, axis=1), ids[order]


def test_contract_suite_covers_every_registered_index():
    assert set(INDEXES) <= {kind.name.partition(" ")[0] for kind in KINDS}


@pytest.fixture(params=[method for method in ScanMethod if method is not ScanMethod.AUTO])
def make(request):
    """Return what makes an exact index that scans by one method, also when it is small."""
    if request.param in (ScanMethod.FAISS, ScanMethod.TORCH):
        pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return partial(ExactIndex, DIM, method=request.param, min_coded_rows=1)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize("k", [1, 10, 700, 2500])
@pytest.mark.parametrize("count", [1, 5])
def test_answers_are_right_to_the_last_bit(make, rng, k, count):
    vectors, queries = unit(rng, 2000, DIM), unit(rng, count, DIM)
    ids = rng.permutation(10**6)[:2000]
    index = make()
    index.add(ids, vectors)
    assert same_answers(index.search(queries, k), truth(vectors, ids, queries, k))


@pytest.mark.usefixtures("chunk")
def test_equal_vectors_of_all_blocks_are_ordered_by_id(make, rng):
    copies = np.repeat(unit(rng, 3, DIM), 400, axis=0)
    ids = rng.permutation(len(copies))
    index = make()
    for part in np.array_split(np.arange(len(ids)), [1, 3, 50, 51, 900]):
        index.add(ids[part], copies[part])
    queries = np.concatenate([copies[[0, 400, 800]], unit(rng, 2, DIM)])
    expected = truth(copies, ids, queries, 1200)
    for k in (1, 5, 15, 399, 401, 1200):
        assert same_answers(index.search(queries, k), tuple(part[:, :k] for part in expected))


@pytest.mark.usefixtures("chunk")
def test_vectors_sorted_by_score_are_found_in_either_order(make, rng):
    vectors, query = unit(rng, 1500, DIM), unit(rng, 1, DIM)
    order = np.argsort(vectors @ query[0])
    for arranged in (vectors[order], vectors[order[::-1]]):
        index = make()
        index.add(np.arange(1500), arranged)
        assert same_answers(index.search(query, 20), truth(arranged, np.arange(1500), query, 20))


@pytest.mark.parametrize("method", [ScanMethod.FAISS, ScanMethod.TORCH])
def test_search_does_not_change_thread_limits_of_other_threads(rng, method, monkeypatch):
    faiss = pytest.importorskip("faiss", reason="faiss is not installed")
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pool = ThreadPoolExecutor(2)  # none of its threads has searched before
    monkeypatch.setattr(threads, "_pool", lambda: pool)
    monkeypatch.setattr(faiss_int8, "PIECE_ROWS", 256)
    monkeypatch.setattr(scanners, "MIN_PIECE_ROWS", 256)

    def limits():
        return torch.get_num_threads(), faiss.omp_get_max_threads()

    own = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        before = limits()
        towards = unit(rng, 1, DIM)
        vectors = unit(rng, 3000, DIM)
        index = ExactIndex(DIM, method=method, min_coded_rows=1)
        index.add(np.arange(3000), vectors[np.argsort(vectors @ towards[0])])  # so that pieces are searched again
        index.search(towards, 500)
        faiss_int8.faiss_multiplies_bytes.__wrapped__()
        assert limits() == before
        with ThreadPoolExecutor(1) as another:
            assert another.submit(torch.get_num_threads).result() == 3
        assert pool.submit(limits).result() == (1, 1)
    finally:
        torch.set_num_threads(own)
        pool.shutdown()


def test_rows_found_before_memory_ran_out_are_returned_once(rng, monkeypatch):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from bindsearch.indexes.gpu import torch_gpu

    monkeypatch.setattr(torch_gpu, "PIECE_ROWS", 64)
    vectors, calls = unit(rng, 200, DIM), 0
    index = torch_gpu.TorchIndex(DIM, device="cpu")
    index.add(np.arange(200), vectors)
    expected = index.search(vectors[:2], 6)
    add = Shortlist.add

    def add_or_run_out_of_memory(self, *found):
        nonlocal calls
        calls += 1
        if calls == 2:
            raise torch.OutOfMemoryError
        add(self, *found)

    monkeypatch.setattr(Shortlist, "add", add_or_run_out_of_memory)
    assert same_answers(index.search(vectors[:2], 6), expected)
    assert calls > 2


def test_floors_rise_if_more_results_are_wanted_than_stacks(make, rng, monkeypatch):
    monkeypatch.setattr(scanners, "MIN_PIECE_ROWS", 1024)
    monkeypatch.setattr(scanners, "CODED_SCORES", 1 << 10)
    vectors, queries = unit(rng, 5000, DIM), unit(rng, 6, DIM)
    index = make()
    index.add(np.arange(5000), vectors)
    assert same_answers(index.search(queries, 200), truth(vectors, np.arange(5000), queries, 200))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_process_forked_after_a_search_can_search(rng, monkeypatch):
    monkeypatch.setattr(float_scan, "THREAD_ROWS", 256)
    vectors = unit(rng, 3000, DIM)
    index = ExactIndex(DIM, method=ScanMethod.FLOATS)
    index.add(np.arange(3000), vectors)
    expected = index.search(vectors[:1], 5)  # in threads
    assert threading.active_count() > 1
    child = os.fork()
    if not child:
        signal.alarm(20)  # it would wait for threads that it does not have
        os._exit(0 if same_answers(index.search(vectors[:1], 5), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("parts", [1, 2, 7, 100])
def test_answer_does_not_depend_on_how_vectors_were_added(rng, tmp_path, parts):
    vectors, queries = unit(rng, 900, DIM), unit(rng, 3, DIM)
    index = ExactIndex(DIM)
    for part in np.array_split(rng.permutation(900), parts):
        index.add(part, vectors[part])
    index.remove(np.arange(0, 900, 3))
    left = np.flatnonzero(np.arange(900) % 3)
    expected = truth(vectors[left], left, queries, 30)
    index.save(tmp_path)
    for each in (index, ExactIndex.load(tmp_path)):
        assert same_answers(each.search(queries, 30), expected)
        assert same_answers(each.search(queries, 30, allowed=left), expected)


@pytest.mark.parametrize("share", [0.01, 0.09, 0.11, 0.9])
def test_filter_does_not_change_scores(make, rng, share):
    vectors, queries = unit(rng, 3000, DIM), unit(rng, 4, DIM)
    index = make()
    index.add(np.arange(3000), vectors)
    index.remove(np.arange(0, 3000, 7))
    allowed = np.flatnonzero(rng.random(3000) < share)
    left = allowed[allowed % 7 > 0]
    twice = np.sort(np.concatenate([allowed, allowed[:50]]))
    for among in (allowed, twice):
        assert same_answers(index.search(queries, 10, allowed=among), truth(vectors[left], left, queries, 10))


def test_query_of_any_length_is_answered_by_direction(make, rng):
    vectors, queries = unit(rng, 500, DIM), 1000 * unit(rng, 3, DIM)
    index = make()
    index.add(np.arange(500), vectors)
    assert same_answers(index.search(queries, 40), truth(vectors, np.arange(500), queries, 40))


def test_more_queries_than_one_batch(rng, monkeypatch):
    monkeypatch.setattr(top_k, "BATCH_QUERIES", 4)
    vectors, queries = unit(rng, 300, DIM), unit(rng, 11, DIM)
    index = ExactIndex(DIM)
    index.add(np.arange(300), vectors)
    assert same_answers(index.search(queries, 6), truth(vectors, np.arange(300), queries, 6))


def test_query_that_is_a_view_is_multiplied_rightly(rng):
    """Given a view of one row, without a step between rows, torch returns nonsense without an error."""
    pytest.importorskip("torch", reason="torch is not installed")
    multiply = scanners.multiply_by_torch()
    if multiply is None:
        pytest.skip("torch cannot multiply bytes on this machine")
    values = rng.integers(-127, 128, (65, 64), dtype=np.int8)
    query = values[64][None]
    np.testing.assert_array_equal(multiply(query, values[:64]), scanners.multiply_by_numpy(query, values[:64]))


def test_adding_one_at_a_time_keeps_few_blocks(rng):
    vectors = unit(rng, 500, DIM)
    index = ExactIndex(DIM)
    for id_, vector in enumerate(vectors):
        index.add(np.array([id_]), vector[None])
        assert len(index._snapshot.blocks) <= 1 + np.log2(id_ + 1)
    np.testing.assert_array_equal(index.vectors(np.arange(500)), vectors)


def test_loaded_vectors_stay_mapped_until_half_are_removed(rng, tmp_path):
    vectors = unit(rng, 400, DIM)
    index = ExactIndex(DIM)
    index.add(np.arange(400), vectors)
    index.save(tmp_path)
    loaded = ExactIndex.load(tmp_path)
    loaded.add(np.arange(400, 500), unit(rng, 100, DIM))
    loaded.remove(np.arange(150))
    loaded.search(vectors[:3], 10)
    assert is_mapped(loaded._snapshot.blocks[0].vectors)
    loaded.remove(np.arange(150, 210))
    assert not is_mapped(loaded._snapshot.blocks[0].vectors)
    assert len(loaded) == 290


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, mmap.mmap)


def test_changing_passed_or_returned_arrays_changes_nothing(rng):
    vectors = unit(rng, 50, DIM)
    ids, given = np.arange(50), vectors.copy()
    index = ExactIndex(DIM)
    index.add(ids, given)
    given[:] = 0
    ids += 1000
    index.vectors(np.arange(50))[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        index.sample(50)[:] = 0
    with pytest.raises(ValueError, match="read-only"):
        index.ids()[0] = 7
    assert same_answers(index.search(vectors[:2], 5), truth(vectors, np.arange(50), vectors[:2], 5))


def test_files_that_do_not_belong_together_are_refused(rng, tmp_path):
    index = ExactIndex(DIM)
    index.add(np.arange(20), unit(rng, 20, DIM))
    index.save(tmp_path)
    np.save(tmp_path / "ids.npy", np.arange(19))
    with pytest.raises(ValueError, match="do not belong together"):
        ExactIndex.load(tmp_path)


@pytest.mark.parametrize("dim", [1040, 1041])
def test_products_of_codes_are_exact_in_high_dimensions(rng, dim):
    """From 1041 dimensions on, float32 cannot hold all products of bytes."""
    coder = Int8Coder(dim)
    vectors, queries = unit(rng, 40, dim), unit(rng, 2, dim)
    codes, coded = coder.encode(vectors), coder.encode_queries(queries, coder.rotate(queries))
    rows, query_index = np.tile(np.arange(40), 2), np.repeat([0, 1], 40)
    exact = (coded.values[query_index].astype(np.int64) * codes.values[rows].astype(np.int64)).sum(axis=1)
    products = coder.scores(codes, rows, coded, query_index) / coded.steps[query_index]
    assert products == pytest.approx(exact, rel=1e-6, abs=1e-2)
