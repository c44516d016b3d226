from __future__ import annotations

import pytest
from trial_kill import trial


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_runs_end_in_the_same_library_as_an_uninterrupted_one(tmp_path):
    kills, faults = trial(tmp_path, times=5, files=150, seed=1)
    assert kills == 5
    assert faults == []
