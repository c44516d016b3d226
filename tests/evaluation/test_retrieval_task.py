"""Retrieval tasks with known scores, and their controls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bindsearch.core.vectors import unit
from bindsearch.evaluation.retrieval_task import RetrievalTask, concept_permutations, score_task


def scores_of(retrieval, names, *, seed=0):
    return {score.metric: score for score in score_task(retrieval, names, data="data", task="task", seed=seed)}


def perfect(classes, each):
    """Return a task whose clips have the vectors of their labels."""
    labels = np.eye(classes, dtype=np.float32)
    codes = np.repeat(np.arange(classes), each)
    return RetrievalTask(labels[codes], codes, labels, np.arange(classes), np.arange(len(codes)))


def test_the_control_of_a_perfect_space_is_chance():
    found = scores_of(perfect(20, 3), ["top-1", "mAP"])
    assert (found["top-1"].score, found["top-1"].low, found["top-1"].high) == (1, 1, 1)
    assert found["top-1"].chance == pytest.approx(1 / 20)
    assert found["top-1"].control == pytest.approx(1 / 20, abs=0.02)
    assert found["top-1"].above_chance == 1


def test_a_constant_space_scores_chance():
    retrieval = perfect(40, 25)
    blind = RetrievalTask(
        unit(np.random.default_rng(0).normal(size=(1000, 40))),
        *(retrieval.query_concepts, retrieval.items, retrieval.item_concepts, retrieval.groups),
    )
    found = scores_of(blind, ["top-1"])["top-1"]
    assert found.low <= found.chance <= found.high


@given(st.integers(2, 30), st.integers(0, 100))
def test_concept_permutations_are_permutations(classes, seed):
    concepts = np.arange(classes) * 2
    tables = concept_permutations(concepts, 1, seed=seed)
    assert all(sorted(table[concepts].tolist()) == concepts.tolist() for table in tables)


def test_permutations_keep_one_concept_on_average():
    """One concept keeps its place on average, so that the control is chance and not below it."""
    concepts = np.arange(12)
    tables = [table for seed in range(20) for table in concept_permutations(concepts, 1, seed=seed)]
    assert np.mean([(table == concepts).sum() for table in tables]) == pytest.approx(1, abs=0.15)


def test_the_control_is_chance_with_equal_concept_weights():
    """Ten clips of one concept and one of another: always predicting the first gains nothing."""
    codes = np.array([0] * 10 + [1])
    items = np.eye(2, dtype=np.float32)[np.array([0] * 12 + [1] * 4)]
    queries = np.tile(np.array([[1.0, 0.0]], np.float32), (11, 1))
    truth = np.array([0] * 12 + [1] * 4)
    retrieval = RetrievalTask(queries, codes, items, truth, np.arange(11), by_concept=True)
    found = scores_of(retrieval, ["P@10"])["P@10"]
    assert (found.score, found.chance) == (pytest.approx(0.5), pytest.approx(0.5))
    assert found.control == pytest.approx(0.5)


def test_an_item_may_have_several_labels():
    truth = np.array([[1, 1], [1, 0], [0, 1]], dtype=np.bool_)
    items = unit(np.array([[1, 1], [1, 0], [0, 1]]))
    retrieval = RetrievalTask(np.eye(2, dtype=np.float32), np.arange(2), items, truth, np.arange(2))
    assert scores_of(retrieval, ["mAP", "R@1"])["mAP"].score == 1


def test_queries_without_relevant_items_are_ignored():
    eye = np.eye(3, dtype=np.float32)
    retrieval = RetrievalTask(eye, np.arange(3), eye[:2], np.arange(2), np.arange(3))
    found = scores_of(retrieval, ["R@1"])["R@1"]
    assert (found.queries, found.items, found.score) == (2, 2, 1)
    assert (
        score_task(
            RetrievalTask(eye[2:], np.array([2]), eye[:2], np.arange(2), np.zeros(1, int)),
            ["R@1"],
            data="",
            task="",
            seed=0,
        )
        == []
    )


def test_scores_do_not_depend_on_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    rows = [unit(rng.normal(size=(count, 8))) for count in (57, 33)]
    codes = [rng.integers(0, 5, count) for count in (57, 33)]
    retrieval = RetrievalTask(rows[0], codes[0], rows[1], codes[1], np.arange(57))
    whole = scores_of(retrieval, ["mAP", "R@5"])
    monkeypatch.setattr("bindsearch.evaluation.retrieval_task.BLOCK_PAIRS", 33 * 5)
    for name, score in scores_of(retrieval, ["mAP", "R@5"]).items():
        assert (score.score, score.low) == pytest.approx((whole[name].score, whole[name].low))
        assert score.control == pytest.approx(whole[name].control)
