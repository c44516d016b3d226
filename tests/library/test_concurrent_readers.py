from __future__ import annotations

from stress_readers import trial


def test_readers_never_see_a_torn_library(tmp_path):
    answers, faults = trial(tmp_path, readers=2, rounds=3)
    assert answers > 10
    assert faults == []
