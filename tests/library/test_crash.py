from __future__ import annotations

import lmdb
import pytest
from stress_kill import kill_index_runs

import bindsearch
from bindsearch.core.progress import BuildStage


@pytest.mark.skipif("sys.platform == 'win32'", reason="no kill -9")
def test_killed_index_runs_end_in_the_same_library(tmp_path):
    report = kill_index_runs(tmp_path, times=5, files=150, seed=1)
    assert report.kills == 5
    assert report.problems == []


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
    from stress_rebuild import kill_rebuilds

    report = kill_rebuilds(tmp_path, times=5, texts=4, seed=1)
    assert report.kills == dict.fromkeys(BuildStage, 1)
    assert report.problems == []
