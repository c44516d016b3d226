from __future__ import annotations

import pytest
from stress_kill import trial


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_runs_end_in_the_same_library_as_an_uninterrupted_one(tmp_path):
    kills, faults = trial(tmp_path, times=5, files=150, seed=1)
    assert kills == 5
    assert faults == []


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_nothing_is_lost_when_indexes_are_made_anew_by_a_process_that_is_killed(tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    from stress_rebuild import STAGES, trial as trial_of_rebuilding

    kills, faults = trial_of_rebuilding(tmp_path, times=5, texts=4, seed=1)
    assert kills == dict.fromkeys(STAGES, 1)
    assert faults == []
