from __future__ import annotations

from stress_readers import search_during_indexing


def test_readers_never_see_a_torn_library(tmp_path):
    report = search_during_indexing(tmp_path, readers=2, rounds=3)
    assert report.searches > 10
    assert report.problems == []
