"""The contract of candidate generators: what they name, and that they are saved and loaded."""

from __future__ import annotations

import numpy as np
import pytest
from bindsearch.indexes.approximate.candidates import RotatedVectors
from bindsearch.indexes.approximate.hnsw_graph import HnswGraph
from bindsearch.indexes.approximate.ivf_lists import IvfLists
from bindsearch.indexes.gpu.faiss_candidates import FaissGpuIvfLists
from bindsearch.indexes.gpu.faiss_probe import FaissGpus
from bindsearch.indexes.scan.int8_codes import Int8Coder
from index_model import unit
from third_party import LeadingDimensions

from bindsearch.ports import CandidateGenerator, VectorSource
from bindsearch.types import SearchEffort

DIM = 24
COUNT = 700
EFFORT = SearchEffort(share=1.0, candidates=64)


def gpu_lists_on_cpu(source: VectorSource) -> FaissGpuIvfLists:
    return FaissGpuIvfLists.build(source, gpus=FaissGpus(None))


@pytest.fixture
def source():
    rng = np.random.default_rng(17)
    return RotatedVectors(unit(rng, COUNT, DIM, around=unit(rng, 20, DIM)), Int8Coder(DIM))


@pytest.fixture(params=[LeadingDimensions.build, IvfLists.build, HnswGraph.build, gpu_lists_on_cpu])
def generator(request, source):
    if request.param != LeadingDimensions.build:
        pytest.importorskip("faiss", reason="faiss is not installed")
    return request.param(source)


@pytest.fixture
def queries(source):
    return source.coder.rotate(unit(np.random.default_rng(18), 9, DIM))


def test_generator_keeps_the_protocol(generator):
    assert isinstance(generator, CandidateGenerator)
    assert len(generator) == COUNT


@pytest.mark.parametrize("share", [None, 0.5])
def test_candidates_are_distinct_rows_within_the_mask(generator, queries, share):
    mask = None if share is None else np.random.default_rng(19).random(COUNT) < share
    rows, sufficient = generator.candidates(queries, effort=EFFORT, wanted=5, mask=mask)
    assert rows.shape == (len(queries), EFFORT.candidates)
    assert sufficient.all()
    for row in rows:
        named = row[row >= 0]
        assert len(set(named.tolist())) == len(named) >= 5
        assert named.max() < COUNT
        assert mask is None or mask[named].all()


def test_candidates_include_most_of_the_nearest_rows(generator, source, queries):
    rows, _ = generator.candidates(queries, effort=EFFORT, wanted=5, mask=None)
    true = np.argsort(-(queries @ source.sample(COUNT).T), axis=1)[:, :5]
    assert np.mean([np.isin(*pair).mean() for pair in zip(true, rows, strict=True)]) > 0.85


def test_saved_generator_loads_equal(generator, queries, tmp_path):
    generator.save(tmp_path / generator.file_name)
    loaded = type(generator).load(tmp_path / generator.file_name)
    assert len(loaded) == COUNT
    loaded._gpus = getattr(generator, "_gpus", None)  # otherwise the GPUs of this machine, if there are any
    before, after = (each.candidates(queries, effort=EFFORT, wanted=5, mask=None) for each in (generator, loaded))
    np.testing.assert_array_equal(after.rows, before.rows)
    np.testing.assert_array_equal(after.sufficient, before.sufficient)


def test_source_reads_all_rows_in_order(source):
    everything = source.coder.rotate(source.vectors)
    np.testing.assert_allclose(np.concatenate([*source.batches(64)]), everything, atol=1e-6)
    np.testing.assert_allclose(source.sample(COUNT), everything, atol=1e-6)
    np.testing.assert_allclose(source.sample(7), everything[[0, 116, 233, 349, 466, 582, 699]], atol=1e-6)
    assert (len(source), source.dim) == (COUNT, DIM)
