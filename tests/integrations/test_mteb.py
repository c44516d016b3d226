"""Small local tasks run end to end through the real package `mteb`, without a network."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from media_files import picture, sound, tone

from bindsearch.cli import main

needs_mteb = pytest.mark.skipif(
    importlib.util.find_spec("mteb") is None, reason="needs the extra: pip install 'bindsearch[mteb]'"
)
COLOURS = ["red", "green", "blue", "yellow", "violet", "orange"]
THINGS = ["door", "boat", "shirt", "wall", "cup"]
PITCHES = {"a low rumble": 80.0, "a high whistle": 4000.0}


def task(folder: Path, corpus: list[dict], queries: list[dict], relevant: list[tuple[str, str]]) -> Path:
    """Write a task in the layout of BEIR."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *(f"{query}\t{document}\t1" for query, document in relevant)]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def texts(folder: Path, *, right: bool = True) -> Path:
    """Write a task of thirty texts about things of six colours, with right relevance or shifted by one colour."""
    named = [(colour, thing) for colour in COLOURS for thing in THINGS]
    answers = COLOURS if right else [*COLOURS[3:], *COLOURS[:3]]
    return task(
        folder,
        [{"_id": f"{colour}-{thing}", "title": thing, "text": f"It is {colour}."} for colour, thing in named],
        [{"_id": colour, "text": f"something {colour}"} for colour in COLOURS],
        [(colour, f"{answer}-{thing}") for colour, answer in zip(COLOURS, answers, strict=True) for thing in THINGS],
    )


def pictures(folder: Path) -> Path:
    for colour in COLOURS:
        picture(folder / f"{colour}.png", colour)
    return task(
        folder,
        [{"_id": colour, "image": f"{colour}.png"} for colour in COLOURS],
        [{"_id": f"q-{colour}", "text": colour} for colour in COLOURS],
        [(f"q-{colour}", colour) for colour in COLOURS],
    )


def sounds(folder: Path) -> Path:
    for name, hertz in PITCHES.items():
        sound(folder / f"{name}.wav", tone(hertz, 3.0))
    return task(
        folder,
        [{"_id": name, "audio": f"{name}.wav"} for name in PITCHES],
        [{"_id": f"q-{name}", "text": name} for name in PITCHES],
        [(f"q-{name}", name) for name in PITCHES],
    )


def run_eval(folders: list[Path], home: Path, *, through: str) -> dict[str, dict]:
    """Run the command in a process of its own, without a network, and return the scores by task."""
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(home / "hub"), "MTEB_CACHE": str(home)}
    names = ["eval", "mteb", *map(str, folders), "--space", "toy", "--through", through, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "bindsearch", *names], capture_output=True, text=True, env=os.environ | offline
    )
    assert done.returncode == 0, done.stderr
    return {scores["task"]: scores for scores in map(json.loads, done.stdout.splitlines())}


@needs_mteb
@pytest.mark.parametrize("through", ["encoder", "library"])
def test_local_tasks_run_through_the_package(tmp_path, home, through):
    folders = [texts(tmp_path / "texts"), pictures(tmp_path / "pictures"), sounds(tmp_path / "sounds")]
    scores = run_eval([*folders, texts(tmp_path / "wrong", right=False)], home, through=through)
    assert set(scores) == {"texts", "pictures", "sounds", "wrong"}
    for name in ("texts", "pictures", "sounds"):
        assert scores[name]["score"] > 0.95, name
        assert scores[name]["measure"] == "ndcg_at_10"
    assert scores["wrong"]["score"] < 0.5
    assert scores["texts"]["scores"]["recall_at_5"] > 0.9


@needs_mteb
def test_encoder_and_library_agree(tmp_path, home):
    folder = texts(tmp_path / "texts")
    one, other = (run_eval([folder], home, through=through)["texts"]["scores"] for through in ("encoder", "library"))
    assert one["map_at_10"] == pytest.approx(other["map_at_10"], abs=0.05)


def test_a_missing_task_is_reported(capsys):
    assert main(["eval", "mteb"]) != 0
    assert "name a task of mteb, or a folder with corpus.jsonl" in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("mteb") is not None, reason="is about a machine without mteb")
def test_a_missing_package_is_named(capsys):
    assert main(["eval", "mteb", "NFCorpus", "--space", "toy"]) == 1
    assert "pip install 'bindsearch[mteb]'" in capsys.readouterr().err


@needs_mteb
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("corpus.jsonl", "cannot be read as lines of JSON"),
        ("qrels.tsv", "has no qrels.tsv"),
        ("queries.jsonl", "cannot be read as lines of JSON"),
    ],
)
def test_an_invalid_task_folder_is_reported(tmp_path, spoil, message):
    from bindsearch.errors import BadQuery
    from bindsearch.integrations.mteb_tasks import local_task

    folder = texts(tmp_path / "texts")
    (folder / spoil).unlink()
    with pytest.raises(BadQuery, match=message):
        local_task(folder)
