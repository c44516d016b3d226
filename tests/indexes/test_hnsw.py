"""What the HNSW index promises beyond the contract: size, removal, filters, and what is re-scored."""

from __future__ import annotations

import numpy as np
import pytest
from index_model import same_answers, unit

pytest.importorskip("faiss", reason="faiss is not installed")
from bindsearch.indexes.approximate import hnsw_graph
from bindsearch.indexes.approximate.hnsw import HnswIndex
from bindsearch.indexes.choose import bytes_per_segment

from bindsearch.types import SearchEffort

DIM = 32
COUNT = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(13)


@pytest.fixture
def index(rng):
    index = HnswIndex(DIM, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=64))
    index.add(np.arange(COUNT), unit(rng, COUNT, DIM, around=unit(rng, 200, DIM)))
    index.build()
    return index


def recall(index, queries, allowed=None):
    pair = (search(queries, 10, allowed=allowed)[1] for search in (index.search_exactly, index.search))
    return np.mean([np.isin(*each).mean() for each in zip(*pair, strict=True)])


def fully_scanned(index, queries, monkeypatch, allowed=None):
    """Search, and return the parts of which every row was scanned."""
    parts = []
    scan = type(index._scan).__call__
    monkeypatch.setattr(
        type(index._scan), "__call__", lambda self, part, *rest: (parts.append(part), scan(self, part, *rest))[1]
    )
    index.search(queries, 10, allowed=allowed)
    return parts


def test_walk_finds_nearly_all_without_full_scan(index, rng, monkeypatch):
    queries = np.concatenate([index.sample(20), unit(rng, 20, DIM)])
    assert recall(index, queries) > 0.95
    assert fully_scanned(index, queries, monkeypatch) == []


def test_removed_rows_are_walked_through_but_not_returned(index, rng, monkeypatch):
    queries = index.sample(30)
    gone = rng.permutation(COUNT)[: COUNT // 4]
    index.remove(gone)
    assert not np.isin(index.search(queries, 10)[1], gone).any()
    assert recall(index, queries) > 0.95
    assert fully_scanned(index, queries, monkeypatch) == []


def test_small_filter_is_scanned_fully(index, rng, monkeypatch):
    queries = index.sample(30)
    allowed = np.sort(rng.permutation(COUNT)[: COUNT // 10])
    assert same_answers(index.search(queries, 10, allowed=allowed), index.search_exactly(queries, 10, allowed=allowed))
    assert len(fully_scanned(index, queries, monkeypatch, allowed)) == 1


def test_bytes_per_segment_match_the_files(index, tmp_path):
    index.save(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size / COUNT == pytest.approx(bytes_per_segment("hnsw", DIM), rel=0.15)


def test_storage_of_many_graphs_is_freed_once(rng):
    """Building a graph replaces its storage: each storage must have one owner."""
    vectors = unit(rng, 200, DIM)
    for _ in range(20):
        index = HnswIndex(DIM, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=40))
        index.add(np.arange(200), vectors)
        index.build()
        assert index.search(vectors[:2], 1)[1][:, 0].tolist() == [0, 1]


def test_rows_that_bits_cannot_have_misjudged_are_not_named(index, rng, monkeypatch):
    queries = np.concatenate([index.sample(40), unit(rng, 40, DIM)])
    block = index._snapshot.blocks[0]
    few, unpruned = [], []
    for deviations, named in ((hnsw_graph.MAX_DEVIATIONS, few), (np.inf, unpruned)):
        monkeypatch.setattr(hnsw_graph, "MAX_DEVIATIONS", deviations)
        rotated = index._scan.coder.rotate(queries)
        found = block.generator.candidates(rotated, effort=index.effort, wanted=5, mask=None)
        named.extend([*found.rows, index.search(queries, 5)])
    assert same_answers(few.pop(), unpruned.pop())
    counts = np.array([[(rows >= 0).sum() for rows in named] for named in (few, unpruned)])
    assert (counts[1] == 64).all()
    assert (counts[0] >= 5).all()
    assert counts[0].mean() < 32


def test_deviation_of_scores_follows_from_steps(index, rng):
    """Scores by six bits differ from scores by floats with the standard deviation that is assumed."""
    generator, queries = index._snapshot.blocks[0].generator, unit(rng, 200, DIM)
    rotated = index._scan.coder.rotate(queries)
    decoded = np.stack([generator._index.storage.reconstruct(row) for row in range(500)])
    errors = rotated @ (index._snapshot.blocks[0].vectors[:500] @ index._scan.coder.rotation - decoded).T
    assumed = generator._max_misjudgement(rotated) / hnsw_graph.MAX_DEVIATIONS / np.sqrt(2)
    assert np.sqrt((errors**2).mean()) == pytest.approx(np.sqrt((assumed**2).mean()), rel=0.1)


def test_wider_walk_finds_more(rng):
    vectors = unit(rng, COUNT, DIM)
    index = HnswIndex(DIM, min_generator_rows=64)
    index.add(np.arange(COUNT), vectors)
    index.build()
    queries = unit(rng, 60, DIM)

    def found(breadth):
        index.effort = SearchEffort(share=1.0, candidates=20, breadth=breadth)
        return recall(index, queries)

    assert found(20) < found(320)
