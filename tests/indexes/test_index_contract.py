"""The contract of all indexes: their answers are compared with those of a dict and float64."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from index_kinds import KINDS
from index_model import SCORE_TOLERANCE, Model, check_search, same_answers, unit

from bindsearch.ports import ApproximateIndex, Index

DIM = 24
BIG = 10**12
"""An offset of ids, which are any integers, not row numbers."""


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    if request.param.missing:
        pytest.skip(f"{request.param.needs} is not installed")
    return request.param


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def filled(kind, rng, count=600, dim=DIM):
    """Return an index and a model of the same vectors, added in three parts and in random order."""
    index, model = kind.make(dim), Model()
    ids = BIG + 3 * rng.permutation(count).astype(np.int64)
    vectors = unit(rng, count, dim, around=unit(rng, 20, dim))
    for part in np.array_split(np.arange(count), [count // 2, count // 2 + 7]):
        index.add(ids[part], vectors[part])
        model.add(ids[part], vectors[part])
    kind.prepare(index)
    return index, model


def test_index_keeps_the_protocol_and_knows_its_kind(kind):
    index = kind.make(DIM)
    assert isinstance(index, Index)
    assert index.kind == kind.name.partition(" ")[0]


def test_index_that_may_miss_can_also_search_exactly(kind, rng):
    index, model = filled(kind, rng)
    assert isinstance(index, ApproximateIndex) >= (kind.recall < 1.0)
    if isinstance(index, ApproximateIndex):
        queries, ids = unit(rng, 6, DIM), model.ids()
        for allowed in (None, ids[::3]):
            found = index.search_exactly(queries, 20, allowed=allowed)
            for scores, row, query in zip(*found, queries, strict=True):
                truth = model.scores(query, allowed)
                best = sorted(truth.values(), reverse=True)[:20]
                np.testing.assert_allclose(scores, best, atol=SCORE_TOLERANCE, rtol=0)
                np.testing.assert_allclose(scores, [truth[id_] for id_ in row.tolist()], atol=SCORE_TOLERANCE, rtol=0)


@pytest.mark.parametrize("k", [1, 10, 100])
def test_search_finds_what_the_model_finds(kind, rng, k):
    index, model = filled(kind, rng)
    assert len(index) == 600
    assert check_search(index, model, unit(rng, 12, DIM), k) >= kind.recall
    assert (
        check_search(index, model, np.stack([model.rows[id_] for id_ in model.ids()[:12].tolist()]), k) >= kind.recall
    )


def test_k_larger_than_the_index_returns_everything(kind, rng):
    index, model = filled(kind, rng, count=90)
    assert check_search(index, model, unit(rng, 3, DIM), 1000) == 1.0
    assert index.search(unit(rng, 3, DIM), 1000)[1].shape == (3, 90)


def test_empty_index_returns_nothing(kind, rng):
    index = kind.make(DIM)
    scores, ids = index.search(unit(rng, 2, DIM), 5)
    assert scores.shape == ids.shape == (2, 0)
    assert len(index) == len(index.ids()) == 0
    assert index.sample(5).shape == (0, DIM)
    index.remove(np.array([1, 2]))
    index.add(np.empty(0, dtype=np.int64), np.empty((0, DIM), dtype=np.float32))
    assert len(index) == 0


def test_no_queries_return_no_rows(kind, rng):
    index, _ = filled(kind, rng)
    scores, ids = index.search(np.empty((0, DIM), dtype=np.float32), 5)
    assert scores.shape == ids.shape == (0, 5)


def test_k_of_zero_returns_nothing(kind, rng):
    index, _ = filled(kind, rng)
    assert index.search(unit(rng, 2, DIM), 0)[1].shape == (2, 0)


def test_equal_vectors_are_ordered_by_id_across_blocks(kind, rng):
    index, model = filled(kind, rng)
    copy = unit(rng, 1, DIM)
    ids = np.array([BIG - 5, 12, BIG + 10**6, 11, -4], dtype=np.int64)
    for id_ in ids:
        index.add(np.array([id_]), copy)
        model.add(np.array([id_]), copy)
        index.add(np.array([id_ + 50_000]), unit(rng, 1, DIM))
        index.remove(np.array([id_ + 50_000]))
    scores, found = index.search(copy, 5)
    assert found[0].tolist() == sorted(ids.tolist())
    assert len(set(scores[0].tolist())) == 1
    assert index.search(copy, 2)[1][0].tolist() == [-4, 11]
    assert check_search(index, model, copy, 40) >= kind.recall


def test_query_of_zeros_orders_everything_by_id(kind, rng):
    index, model = filled(kind, rng)
    scores, ids = index.search(np.zeros((1, DIM), dtype=np.float32), 30)
    assert scores[0].tolist() == [0.0] * 30
    if kind.recall == 1.0:
        assert ids[0].tolist() == model.ids()[:30].tolist()


def test_smaller_k_is_a_prefix_of_larger_k(kind, rng):
    index, _ = filled(kind, rng)
    queries = unit(rng, 4, DIM)
    most = index.search(queries, 300 if kind.recall == 1 else 16)
    for k in (1, 5, 15, 16, 100)[: 5 if kind.recall == 1 else 3]:
        fewer = tuple(part[:, :k] for part in most)
        assert same_answers(index.search(queries, k), fewer)


def test_batch_answers_equal_single_answers(kind, rng):
    index, _ = filled(kind, rng)
    queries = unit(rng, 33, DIM)
    together = index.search(queries, 20)
    for place in range(len(queries)):
        alone = index.search(queries[place : place + 1], 20)
        assert same_answers(alone, tuple(part[place : place + 1] for part in together))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_filter_returns_the_best_allowed_rows(kind, rng, share):
    index, model = filled(kind, rng, count=3000)
    ids = model.ids()
    some = rng.choice(ids, int(share * len(ids)), replace=False)
    unknown = np.array([5, BIG + 1, BIG + 10**7], dtype=np.int64)
    allowed = np.sort(np.concatenate([some, unknown]))
    for k in (1, 10, 4000):
        assert check_search(index, model, unit(rng, 5, DIM), k, allowed=allowed) >= kind.recall


def test_filter_of_no_or_unknown_ids_finds_nothing(kind, rng):
    index, _ = filled(kind, rng)
    for allowed in (np.empty(0, dtype=np.int64), np.array([1, 2, 3])):
        assert index.search(unit(rng, 2, DIM), 5, allowed=allowed)[1].shape == (2, 0)


def test_filter_does_not_find_removed_ids(kind, rng):
    index, model = filled(kind, rng)
    gone = model.ids()[::2]
    index.remove(gone)
    model.remove(gone)
    allowed = np.sort(np.concatenate([gone, model.ids()[:100]]))
    assert check_search(index, model, unit(rng, 5, DIM), 200, allowed=allowed) == 1.0


Step = st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(0, 120), unique=True, max_size=60))


@settings(max_examples=25)
@given(steps=st.lists(Step, max_size=12), seed=st.integers(0, 100))
@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.missing], ids=lambda kind: kind.name)
def test_any_sequence_of_changes_leaves_what_the_model_has(kind, steps, seed):
    rng = np.random.default_rng(seed)
    index, model = kind.make(DIM), Model()
    for what, wanted in steps:
        ids = np.array(wanted, dtype=np.int64)
        if what == "add":
            ids = ids[[id_ not in model.rows for id_ in wanted]] if wanted else ids
            vectors = unit(rng, len(ids), DIM)
            index.add(ids, vectors)
            model.add(ids, vectors)
        else:
            index.remove(ids)
            model.remove(ids)
        if rng.random() < 0.3:
            kind.prepare(index)
    assert len(index) == len(model.rows)
    assert index.ids().tolist() == model.ids().tolist()
    assert check_search(index, model, unit(rng, 2, DIM), 10) >= min(kind.recall, 0.5)
    assert check_search(index, model, unit(rng, 2, DIM), 10, allowed=np.arange(0, 120, 3)) >= min(kind.recall, 0.5)


def test_removed_ids_can_be_added_with_other_vectors(kind, rng):
    index, model = filled(kind, rng)
    ids = model.ids()[100:300]
    vectors = unit(rng, len(ids), DIM)
    for target in (index, model):
        target.remove(ids)
        target.add(ids, vectors)
    assert check_search(index, model, vectors[:20], 10) >= kind.recall
    np.testing.assert_array_equal(index.vectors(ids), vectors)


BAD = {
    "NaN": lambda ids, vectors: (ids, np.where(np.arange(DIM) == 3, np.nan, vectors)),
    "inf": lambda ids, vectors: (ids, np.where(np.arange(DIM) == 3, np.inf, vectors)),
    "a wrong dimension": lambda ids, vectors: (ids, vectors[:, :-1]),
    "too few vectors": lambda ids, vectors: (ids, vectors[:-1]),
    "a flat vector": lambda ids, vectors: (ids[:1], vectors[0]),
    "an id that is present": lambda ids, vectors: (np.append(ids[:-1], BIG), vectors),
    "an id that is given twice": lambda ids, vectors: (np.append(ids[:-1], ids[0]), vectors),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_invalid_vectors_are_refused_and_change_nothing(kind, rng, bad):
    index, model = filled(kind, rng)
    queries = unit(rng, 3, DIM)
    before = index.search(queries, 50)
    ids, vectors = bad(np.arange(4, dtype=np.int64), unit(rng, 4, DIM))
    with pytest.raises(ValueError, match=r"finite|shape|index already|twice"):
        index.add(ids, vectors.astype(np.float32))
    assert index.ids().tolist() == model.ids().tolist()
    assert same_answers(index.search(queries, 50), before)


@pytest.mark.parametrize("queries", [np.ones((2, DIM + 1)), np.ones(DIM), np.full((1, DIM), np.nan)])
def test_invalid_queries_are_refused(kind, rng, queries):
    index, _ = filled(kind, rng)
    with pytest.raises(ValueError, match=r"finite|shape"):
        index.search(queries.astype(np.float32), 5)


def test_vectors_are_returned_unchanged(kind, rng):
    index, model = filled(kind, rng)
    some = rng.permutation(model.ids())[:50]
    np.testing.assert_array_equal(index.vectors(some), [model.rows[id_] for id_ in some.tolist()])
    np.testing.assert_array_equal(index.vectors(some[[0, 0, 1]]), [model.rows[int(some[place])] for place in (0, 0, 1)])
    with pytest.raises(KeyError):
        index.vectors(np.array([some[0], 17]))


def test_removed_vectors_are_not_returned(kind, rng):
    index, model = filled(kind, rng)
    gone = model.ids()[:1]
    index.remove(gone)
    with pytest.raises(KeyError):
        index.vectors(gone)


def test_sample_does_not_depend_on_order_of_adding(kind, rng):
    index, model = filled(kind, rng)
    ids = model.ids()
    other = kind.make(DIM)
    for id_ in reversed(range(0, 600, 60)):
        part = ids[id_ : id_ + 60]
        other.add(part, np.stack([model.rows[each] for each in part.tolist()]))
    np.testing.assert_array_equal(index.sample(64), other.sample(64))
    np.testing.assert_array_equal(index.sample(64), index.sample(64))


def test_sample_is_spread_evenly_and_follows_changes(kind, rng):
    index, model = filled(kind, rng)
    ids = model.ids()
    place = {model.rows[id_].tobytes(): number for number, id_ in enumerate(ids.tolist())}
    places = np.array([place[vector.tobytes()] for vector in index.sample(60)])
    assert (np.diff(places) > 0).all()
    assert np.diff(places).max() <= 2 * 600 / 60
    assert places[0] == 0
    assert places[-1] == 599
    index.remove(ids[300:])
    assert {place[vector.tobytes()] for vector in index.sample(1000)} == set(range(300))


def test_saved_index_loads_equal(kind, rng, tmp_path):
    index, model = filled(kind, rng)
    gone = model.ids()[5:100:3]
    index.remove(gone)
    model.remove(gone)
    queries = unit(rng, 8, DIM)
    index.save(tmp_path)
    loaded = type(index).load(tmp_path)
    assert loaded.kind == index.kind
    assert loaded.ids().tolist() == index.ids().tolist() == model.ids().tolist()
    np.testing.assert_array_equal(loaded.vectors(model.ids()), index.vectors(model.ids()))
    np.testing.assert_array_equal(loaded.sample(30), index.sample(30))
    if kind.recall == 1.0:
        assert same_answers(loaded.search(queries, 40), index.search(queries, 40))
    assert check_search(loaded, model, queries, 40) >= kind.recall


def test_changing_a_loaded_index_leaves_its_files_alone(kind, rng, tmp_path):
    index, model = filled(kind, rng)
    queries = unit(rng, 4, DIM)
    index.save(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    loaded = type(index).load(tmp_path)
    fresh, gone = np.arange(50, dtype=np.int64), model.ids()[::4]
    vectors = unit(rng, 50, DIM)
    for target in (loaded, model):
        target.add(fresh, vectors)
        target.remove(gone)
    assert check_search(loaded, model, np.concatenate([queries, vectors[:4]]), 20) >= kind.recall
    assert loaded.ids().tolist() == model.ids().tolist()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    again = tmp_path / "again"
    again.mkdir()
    loaded.save(again)
    assert check_search(type(index).load(again), model, queries, 20) >= kind.recall


def test_empty_index_is_saved_and_loaded(kind, rng, tmp_path):
    kind.make(DIM).save(tmp_path)
    index, model = type(kind.make(DIM)).load(tmp_path), Model()
    assert len(index) == 0
    ids, vectors = np.arange(5, dtype=np.int64), unit(rng, 5, DIM)
    index.add(ids, vectors)
    model.add(ids, vectors)
    assert check_search(index, model, vectors, 3) == 1.0


def test_folder_without_index_is_refused(kind, rng, tmp_path):
    with pytest.raises((OSError, ValueError)):
        type(kind.make(DIM)).load(tmp_path)


def test_truncated_file_is_refused(kind, rng, tmp_path):
    index, _ = filled(kind, rng)
    index.save(tmp_path)
    largest = max(tmp_path.iterdir(), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    with pytest.raises((OSError, ValueError)):
        type(index).load(tmp_path)


def test_two_threads_search_while_one_adds_and_removes(kind, rng):
    """Half of the vectors stay: every answer has true scores, and holds the best of those that stay."""
    index, model = filled(kind, rng)
    staying = model.ids()[:300]
    queries = unit(rng, 4, DIM)
    wrong: list[str] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            scores, ids = index.search(queries, 10, allowed=staying)
            first = index.search(queries, 10)
            exact = same_answers((scores, ids), expected) and (first[0][:, 0] >= expected[0][:, 0]).all()
            found = np.isin(ids, staying).all() and np.isin(ids, expected[1]).mean() >= kind.recall
            if not (exact if kind.recall == 1 else found):
                wrong.append(f"{ids} {first}")

    expected = index.search(queries, 10, allowed=staying)
    coming, vectors = np.arange(400, dtype=np.int64), unit(rng, 400, DIM)
    leaving = model.ids()[300:]
    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(8):
        index.add(coming[50 * turn : 50 * turn + 50], vectors[50 * turn : 50 * turn + 50])
        index.remove(leaving[40 * turn : 40 * turn + 40])
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    model.add(coming, vectors)
    model.remove(leaving)
    index.remove(leaving)
    assert check_search(index, model, queries, 20) >= kind.recall
