"""What the graph promises beyond the contract: it is small, passes over what is gone, and gives way to looking."""

from __future__ import annotations

import numpy as np
import pytest
from index_model import same_answers, unit

pytest.importorskip("faiss", reason="faiss is not installed")
from bindsearch.indexes.approximate import hnsw_graph as _graph
from bindsearch.indexes.approximate.candidates import SearchEffort
from bindsearch.indexes.approximate.hnsw import HnswIndex
from bindsearch.indexes.choose import bytes_per_segment
from bindsearch.indexes.scan.shortlist import RowSelection

DIM = 32
COUNT = 4000


@pytest.fixture
def rng():
    return np.random.default_rng(13)


@pytest.fixture
def index(rng):
    index = HnswIndex(DIM, min_rows=64, effort=SearchEffort(share=1.0, candidates=64))
    index.add(np.arange(COUNT), unit(rng, COUNT, DIM, around=unit(rng, 200, DIM)))
    index.build()
    return index


def recall(index, queries, allowed=None):
    pair = (search(queries, 10, allowed=allowed)[1] for search in (index.search_exactly, index.search))
    return np.mean([np.isin(*each).mean() for each in zip(*pair, strict=True)])


def looked_at(index, queries, monkeypatch, allowed=None):
    """The parts of blocks of which everything was looked at."""
    everywhere = []
    looks = type(index._looks).__call__
    monkeypatch.setattr(
        type(index._looks), "__call__", lambda self, part, *rest: (everywhere.append(part), looks(self, part, *rest))[1]
    )
    index.search(queries, 10, allowed=allowed)
    return everywhere


def test_it_is_walked_and_finds_nearly_all(index, rng, monkeypatch):
    queries = np.concatenate([index.sample(20), unit(rng, 20, DIM)])
    assert recall(index, queries) > 0.95
    assert looked_at(index, queries, monkeypatch) == []


def test_what_was_removed_is_walked_through_and_not_named(index, rng, monkeypatch):
    queries = index.sample(30)
    gone = rng.permutation(COUNT)[: COUNT // 4]
    index.remove(gone)
    assert not np.isin(index.search(queries, 10)[1], gone).any()
    assert recall(index, queries) > 0.95
    assert looked_at(index, queries, monkeypatch) == []


def test_where_few_rows_count_everything_is_looked_at(index, rng, monkeypatch):
    queries = index.sample(30)
    allowed = np.sort(rng.permutation(COUNT)[: COUNT // 10])
    assert same_answers(index.search(queries, 10, allowed=allowed), index.search_exactly(queries, 10, allowed=allowed))
    assert len(looked_at(index, queries, monkeypatch, allowed)) == 1


def test_what_a_segment_takes_on_disk_is_what_was_said(index, tmp_path):
    index.save(tmp_path)
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size / COUNT == pytest.approx(bytes_per_segment("hnsw", DIM), rel=0.15)


def test_many_graphs_may_come_and_go(rng):
    """Storage changes hands while a graph is built: each is freed once."""
    vectors = unit(rng, 200, DIM)
    for _ in range(20):
        index = HnswIndex(DIM, min_rows=64, effort=SearchEffort(share=1.0, candidates=40))
        index.add(np.arange(200), vectors)
        index.build()
        assert index.search(vectors[:2], 1)[1][:, 0].tolist() == [0, 1]


def test_what_bits_cannot_have_misjudged_is_not_looked_at_again(index, rng, monkeypatch):
    queries = np.concatenate([index.sample(40), unit(rng, 40, DIM)])
    block = index._now.blocks[0]
    few, all_of_them = [], []
    for deviations, named in ((_graph.DEVIATIONS, few), (np.inf, all_of_them)):
        monkeypatch.setattr(_graph, "DEVIATIONS", deviations)
        found = block.generator.candidates(
            index._looks.coder.turn(queries), part=RowSelection.of(block, None), effort=index.effort, wanted=5
        )
        named.extend([*found.rows, index.search(queries, 5)])
    assert same_answers(few.pop(), all_of_them.pop())
    counts = np.array([[(rows >= 0).sum() for rows in named] for named in (few, all_of_them)])
    assert (counts[1] == 64).all()
    assert (counts[0] >= 5).all()
    assert counts[0].mean() < 32


def test_how_far_apart_bits_may_score_what_is_equally_good_is_told_from_their_steps(index, rng):
    """Scores by bits differ from scores by floats with the deviation that is assumed."""
    generator, queries = index._now.blocks[0].generator, unit(rng, 200, DIM)
    turned = index._looks.coder.turn(queries)
    said = np.stack([generator._walked.storage.reconstruct(row) for row in range(500)])
    wrong = turned @ (index._now.blocks[0].vectors[:500] @ index._looks.coder.rotation - said).T
    assumed = generator._doubt(turned) / _graph.DEVIATIONS / np.sqrt(2)
    assert np.sqrt((wrong**2).mean()) == pytest.approx(np.sqrt((assumed**2).mean()), rel=0.1)


def test_a_walk_may_see_more_than_it_names(rng):
    vectors = unit(rng, COUNT, DIM)
    index = HnswIndex(DIM, min_rows=64)
    index.add(np.arange(COUNT), vectors)
    index.build()
    queries = unit(rng, 60, DIM)

    def found(breadth):
        index.effort = SearchEffort(share=1.0, candidates=20, breadth=breadth)
        return recall(index, queries)

    assert found(20) < found(320)
