"""The recall certificate, and tuning an index that finds too little or does too much."""

from __future__ import annotations

import numpy as np
import pytest
from index_model import unit

pytest.importorskip("faiss", reason="faiss is not installed")
from bindsearch.indexes.approximate.ivf import IvfIndex
from bindsearch.indexes.approximate.recall import Recall, RecallCertificate, certify, tune
from bindsearch.indexes.choose import bytes_per_segment, choose

from bindsearch.types import SearchEffort

DIM = 32


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.fixture
def index(rng):
    index = IvfIndex(DIM, min_generator_rows=64, effort=SearchEffort(share=1 / 32, candidates=64))
    index.add(np.arange(4000), unit(rng, 4000, DIM, around=unit(rng, 400, DIM)))
    index.build()
    return index


@pytest.fixture
def queries(index, rng):
    return {"sound": index.sample(40), "text": unit(rng, 40, DIM)}


def true_recall(index, queries, k):
    vectors = index.vectors(index.ids()).astype(np.float64)
    true = np.argsort(-(queries.astype(np.float64) @ vectors.T), axis=1)[:, :k]
    return np.mean([np.isin(*pair).mean() for pair in zip(true, index.search(queries, k)[1], strict=True)])


def test_certificate_measures_each_origin_of_queries(index, queries):
    certificate = certify(index, queries)
    for origin, asked in queries.items():
        assert certificate.at10[origin].share == pytest.approx(true_recall(index, asked, 10), abs=1e-9)
        assert certificate.at100[origin].share == pytest.approx(true_recall(index, asked, 100), abs=1e-9)
        assert certificate.at10[origin].low <= certificate.at10[origin].share <= certificate.at10[origin].high
    assert certificate.queries == 80


def test_too_few_lists_are_noticed_and_raised(index, queries):
    planted = certify(index, queries)
    assert not planted.holds
    assert planted.worst == planted.at10["text"].share < planted.at10["sound"].share
    tuned = tune(index, queries)
    assert tuned.holds
    assert index.effort == tuned.effort != planted.effort
    assert true_recall(index, queries["text"], 10) >= 0.99


def test_effort_that_finds_more_than_the_target_is_lowered(rng):
    index = IvfIndex(DIM, min_generator_rows=64, effort=SearchEffort(share=0.5, candidates=512))
    around = unit(rng, 8, DIM)
    index.add(np.arange(3000), unit(rng, 3000, DIM, around=around))
    index.build()
    certificate = tune(index, {"sound": unit(rng, 60, DIM, around=around)}, target=0.9)
    assert certificate.holds
    assert certificate.effort == index.effort
    assert index.effort.share < 0.5
    assert index.effort.candidates == 512


def test_tuning_without_queries_changes_nothing(index):
    before = index.effort
    assert tune(index, {"text": np.empty((0, DIM), dtype=np.float32)}).holds
    assert index.effort == before


def test_effort_is_not_lowered_to_just_above_the_target(index, queries):
    index.effort = SearchEffort(share=0.5, candidates=512)
    assert tune(index, queries).worst >= 0.995


def test_bits_that_separate_too_little_are_refined(rng):
    """Queries far off the distribution, whose scores differ by less than one bit a dimension can show."""
    middle = 8 * unit(rng, 1, 64)
    vectors = middle + unit(rng, 6000, 64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = IvfIndex(64, min_generator_rows=64, effort=SearchEffort(share=1 / 4, candidates=128))
    index.add(np.arange(6000), vectors.astype(np.float32))
    index.build()
    coarse = index._snapshot.blocks[0].generator.bits
    queries = {"text": unit(rng, 40, 64)}
    assert not certify(index, queries).holds
    assert tune(index, queries).holds
    assert (coarse, index._snapshot.blocks[0].generator.bits) == (1, 4)


def test_refined_bits_are_saved_and_kept_by_the_next_build(rng, tmp_path):
    index = IvfIndex(DIM, min_generator_rows=64)
    index.add(np.arange(500), unit(rng, 500, DIM))
    assert index.refine()
    assert not index.refine()
    index.save(tmp_path)
    loaded = IvfIndex.load(tmp_path)
    loaded._min_generator_rows = 64
    loaded.add(np.arange(500, 600), unit(rng, 100, DIM))
    loaded.build()
    assert loaded._snapshot.blocks[0].generator.bits == 4


def test_target_of_one_finds_everything(index, queries):
    assert tune(index, queries, target=1.0).worst == 1.0


def test_effort_is_saved_with_the_index(index, queries, tmp_path):
    tune(index, queries)
    index.save(tmp_path)
    assert IvfIndex.load(tmp_path).effort == index.effort


def test_certificate_is_plain_values():
    values = RecallCertificate(at10={"text": Recall(0.95, 0.9, 0.98)}, queries=60).as_json()
    assert (values["worst"], values["holds"], values["at10"]) == (
        0.95,
        False,
        {"text": {"share": 0.95, "low": 0.9, "high": 0.98}},
    )


@pytest.mark.parametrize(
    ("count", "recall", "has_faiss", "kind"),
    [
        (1_000, 0.99, True, "exact"),
        (1_000_000, 0.99, True, "exact"),
        (3_000_000, 0.99, True, "ivf"),
        (3_000_000, 1.0, True, "exact"),
        (3_000_000, 0.99, False, "exact"),
    ],
)
def test_choice_follows_size_recall_and_faiss(count, recall, has_faiss, kind):
    assert choose(count, 512, recall=recall, has_faiss=has_faiss, gpu_bytes=0).kind == kind


def test_bytes_per_segment_match_the_files(index, tmp_path):
    index.save(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size / len(index) == pytest.approx(bytes_per_segment("ivf", DIM), rel=0.15)
