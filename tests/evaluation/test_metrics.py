"""Measures against values worked by hand, against slow code, and against every order there is."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from bindsearch.evaluation.metrics import METRICS, interval, mean, rank_items

RELEVANT = [True, False, True, False, False, True]
"""Right ones at ranks 1, 3 and 6."""
BY_HAND = {
    "R@1": 1.0,
    "R@5": 2 / 3,
    "R@10": 1.0,
    "hit@5": 1.0,
    "P@10": 3 / 6,
    "mAP": (1 / 1 + 2 / 3 + 3 / 6) / 3,
    "nDCG@10": (1 + 1 / 2 + 1 / math.log2(7)) / (1 + 1 / math.log2(3) + 1 / 2),
    "top-1": 1.0,
    "top-5": 1.0,
}


def slow(name: str, relevant_at: list[bool]) -> float:
    right = [rank for rank, relevant in enumerate(relevant_at, 1) if relevant]
    k = int(name.rpartition("@")[2].rpartition("-")[2]) if name != "mAP" else 0
    early = [rank for rank in right if rank <= k]
    if name == "mAP":
        return sum(sum(each <= rank for each in right) / rank for rank in right) / len(right)
    if name.startswith("R@"):
        return len(early) / min(k, len(right))
    if name.startswith("P@"):
        return len(early) / min(k, len(relevant_at))
    if name.startswith("nDCG"):
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(right)) + 1))
        return sum(1 / math.log2(rank + 1) for rank in early) / ideal
    return float(bool(early))


@pytest.mark.parametrize("name", BY_HAND)
def test_by_hand(name):
    assert METRICS[name].of(np.array([RELEVANT]))[0] == pytest.approx(BY_HAND[name])


@pytest.mark.parametrize("name", METRICS)
@given(relevant_at=st.lists(st.booleans(), min_size=1, max_size=25).filter(any))
def test_equals_a_plain_implementation(name, relevant_at):
    assert METRICS[name].of(np.array([relevant_at]))[0] == pytest.approx(slow(name, relevant_at))


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("right", "items"), [(1, 1), (1, 6), (3, 6), (6, 6), (2, 7)])
def test_chance_is_the_mean_over_all_orders(name, right, items):
    places = itertools.combinations(range(items), right)
    every = [[place in chosen for place in range(items)] for chosen in places]
    expected = METRICS[name].of(np.array(every)).mean()
    assert METRICS[name].by_chance(np.array([float(right)]), items)[0] == pytest.approx(expected)


@pytest.mark.parametrize("name", METRICS)
def test_a_query_without_items_of_its_own_counts_nowhere(name):
    values = METRICS[name].of(np.array([[False, False], [True, False]]))
    assert np.isnan(values[0])
    assert mean(values) == values[1]


def test_mean_of_nothing_is_nothing():
    assert math.isnan(mean(np.array([np.nan])))


@given(st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=1, max_size=6), st.integers(0, 9))
def test_order_is_by_score(scores, seed):
    table = np.array(scores, dtype=np.float32)
    order = rank_items(table, seed=seed)
    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(4), (len(scores), 1)))
    assert (np.diff(np.take_along_axis(table, order, axis=1), axis=1) <= 0).all()


def test_ties_are_broken_by_chance():
    """A space that gives all the same score finds the first of ten one time in ten, not always and not never."""
    firsts = [int(rank_items(np.zeros((1, 10), np.float32), seed=seed)[0, 0]) for seed in range(300)]
    assert 10 <= firsts.count(0) <= 55


# Intervals --------------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(0.3, 0.1, 400)
    low, high = interval(values)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.001)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_what_is_of_one_group_is_no_further_evidence():
    few = np.random.default_rng(2).normal(size=30)
    copied, groups = np.repeat(few, 20), np.repeat(np.arange(30), 20)
    assert interval(copied, groups) == pytest.approx(interval(few))
    assert np.diff(interval(copied))[0] < 0.4 * np.diff(interval(few))[0]


def test_weights_count():
    values = np.array([0.0, 0.0, 1.0])
    assert mean(values, np.array([1.0, 1.0, 2.0])) == 0.5
    low, high = interval(np.tile(values, 50), weights=np.tile([0.5, 0.5, 1.0], 50))
    assert low < 0.5 < high


def test_the_interval_is_seeded():
    values = np.random.default_rng(3).random(50)
    assert interval(values, seed=1) == interval(values, seed=1) != interval(values, seed=2)


def test_no_interval_of_nothing():
    assert all(math.isnan(end) for end in interval(np.array([np.nan])))
