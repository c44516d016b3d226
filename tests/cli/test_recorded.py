"""The output of the whole command line on the sample collection, as recorded in `recorded/`.

`RECORD=1 pytest tests/cli/test_recorded.py` records it anew; look at the difference before you commit it. Words
must be the same; numbers, which another version of a decoder may move a little, must be near.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from pathlib import Path

import pytest

from bindsearch.cli import VERBS, main

RECORDED = Path(__file__).parent / "recorded"
RECORD = "RECORD" in os.environ

SESSIONS = {
    "index": """
        bindsearch index night --library new.library
        bindsearch index night -l new.library
        bindsearch index night -l new.library --meta place=harbour
        bindsearch index -l new.library --json
        bindsearch index samples -l other.library
        bindsearch index samples -l other.library
        bindsearch index -l other.library --retry
        bindsearch index -l other.library --quiet
    """,
    "search": """
        bindsearch search a dark night with stars -k 5
        bindsearch search "blue sea" --modality audio,video -k 4
        bindsearch search samples/sounds/weather/rain.mp3 --modality image -k 3
        bindsearch search "blue sea" + samples/sounds/weather/wind.mp3 - 0.5:summer -k 3
        bindsearch search "samples/sounds/town/siren.mp3#t=2,4" -k 2
        bindsearch search campfire -k 1
        bindsearch search "pumpkin soup" --ext md,txt -k 2
        bindsearch search snow --under samples/photos/nature --since 2001-02-03 -k 2
        bindsearch search snow --raw -k 3 --quiet
        bindsearch search "green forest" --max-expect 0.01
        bindsearch search "green forest" --max-expect 1e-30
        bindsearch search "orange pumpkins" -k 2 --json
        bindsearch search rain --where place=harbour
    """,
    "similar": """
        bindsearch similar samples/sounds/weather/rain.mp3 --modality image -k 3
        bindsearch similar samples/photos/nature/fire.jpg -k 2
        bindsearch similar samples/videos/boat_on_the_blue_sea.mp4 -k 2 --json
    """,
    "classify": """
        bindsearch classify samples/sounds/weather --labels "rain,thunder,sea waves,wind"
        bindsearch classify samples/photos/garden/red_apple.jpg --labels apple,forest --template "a photo of a {}" -k 1
        bindsearch classify samples/sounds/town/siren.mp3 --labels @labels.txt --json
        bindsearch classify samples/photos/broken.jpg samples/photos/night/campfire.jpg --labels fire,snow
    """,
    "status": """
        bindsearch status
        bindsearch status --quarantine
        bindsearch status --json
    """,
    "doctor": """
        bindsearch doctor
        bindsearch doctor --quick --json
        bindsearch doctor --repair
    """,
    "export": """
        bindsearch export vectors.jsonl
        bindsearch export vectors.npy --json
        bindsearch export vectors.csv
    """,
    "forget": """
        bindsearch index night -l forget.library --quiet
        bindsearch forget night/campfire.jpg -l forget.library
        bindsearch forget night -l forget.library --json
        bindsearch forget night -l forget.library
        bindsearch forget --gone -l forget.library
    """,
    "spaces": """
        bindsearch spaces
        bindsearch spaces --json
    """,
    "train": """
        bindsearch train no.csv --out hearing
        bindsearch train labels.txt --out hearing
    """,
}


def test_every_verb_is_recorded():
    assert set(SESSIONS) == {verb.__name__.rpartition(".")[2] for verb in VERBS}


@pytest.mark.parametrize("verb", SESSIONS)
def test_recorded_output(verb, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("BINDSEARCH_LIBRARY", "media.library")
    now = "".join(transcript(line.strip(), capsys) for line in SESSIONS[verb].strip().splitlines())
    now = normalised(now, place)
    file = RECORDED / f"{verb}.txt"
    if RECORD:
        file.write_text(now, encoding="utf-8")
    assert_alike(now, file.read_text(encoding="utf-8"))


def transcript(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Give what a terminal would show: the command, its output, its messages, and how it ended if not well."""
    status = main(shlex.split(line)[1:])
    out, err = capsys.readouterr()
    messages = "".join(f"! {message}\n" for message in err.splitlines())
    return f"$ {line}\n{out}{messages}" + (f"[{status}]\n\n" if status else "\n")


def normalised(told: str, place: Path) -> str:
    """Replace what differs from run to run and from machine to machine."""
    told = told.replace(str(place), "/home/ana")
    told = re.sub(r"took [\d.]+ s", "took 1.0 s", told)
    told = re.sub(r'"elapsed": [^,]+', '"elapsed": 1.0', told)
    told = re.sub(r'"(fingerprint|hash)": "[0-9a-f]+"', r'"\1": "..."', told)
    told = re.sub(r'"(ledger|index)_bytes": \d+', r'"\1_bytes": 100000', told)
    return re.sub(r"[\d.]+ [kM]B (ledger|index)", r"100 kB \1", told)


NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: (?:million|billion))?")


def assert_alike(now: str, recorded: str) -> None:
    for line, before in zip(now.splitlines(), recorded.splitlines(), strict=True):
        assert NUMBER.sub("N", line).split() == NUMBER.sub("N", before).split()
        for number, was in zip(NUMBER.findall(line), NUMBER.findall(before), strict=True):
            assert near(value(number), value(was)), f"{number} was {was} in: {before}"


def value(number: str) -> float:
    digits, _, scale = number.replace(",", "").partition(" ")
    return float(digits) * {"": 1, "million": 1e6, "billion": 1e9}[scale]


def near(number: float, was: float) -> bool:
    """Let cosines differ in the second digit, and expectations, which are exponents of them, by a factor of two."""
    return math.isclose(number, was, abs_tol=0.02) or (number > 0 and was > 0 and 0.5 <= number / was <= 2)


@pytest.mark.parametrize(
    ("now", "recorded"),
    [
        ("1  1 in 40  0.70  a.png", "1  1 in 390  0.70  a.png"),
        ("1  0.70  a.png", "1  0.75  b.png"),
        ("a\nb", "a"),
        ("-0.50", "0.50"),
    ],
)
def test_a_difference_is_seen(now, recorded):
    with pytest.raises((AssertionError, ValueError)):
        assert_alike(now, recorded)
