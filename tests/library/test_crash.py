from __future__ import annotations

import lmdb
import pytest
from stress_kill import trial

import bindsearch


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_index_runs_end_in_the_same_library(tmp_path):
    kills, faults = trial(tmp_path, times=5, files=150, seed=1)
    assert kills == 5
    assert faults == []


def test_index_completes_a_ledger_killed_at_its_creation(tmp_path, media):
    library = tmp_path / "my.library"
    (library / "ledger").mkdir(parents=True)
    lmdb.open(str(library / "ledger"), max_dbs=20).close()  # the environment exists, its tables do not
    with bindsearch.open(library) as opened:
        assert opened.index(media).added == 9
        assert opened.doctor() == []


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_rebuilds_lose_nothing(tmp_path):
    pytest.importorskip("faiss", reason="faiss is not installed")
    from stress_rebuild import STAGES, trial as trial_of_rebuilding

    kills, faults = trial_of_rebuilding(tmp_path, times=5, texts=4, seed=1)
    assert kills == dict.fromkeys(STAGES, 1)
    assert faults == []
