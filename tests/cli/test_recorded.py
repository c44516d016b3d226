"""The output of the whole command line on the sample collection, as recorded in `recorded/`.

`RECORD=1 pytest tests/cli/test_recorded.py` records it again; review the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from transcripts import assert_alike, transcript

from bindsearch.cli import VERBS

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
        bindsearch search dark night --and rain --modality image --why -k 2
        bindsearch search night --not rain --not "blue sea" -k 3
        bindsearch search night --not night
        bindsearch search snow - 0.5:night --more-like 2 --less-like 3 --why -k 2
        bindsearch search snow --more-like 2000
        bindsearch search "orange pumpkins" + sun --why -k 1 --json
    """,
    "similar": """
        bindsearch similar samples/sounds/weather/rain.mp3 --modality image -k 3
        bindsearch similar samples/photos/nature/fire.jpg -k 2
        bindsearch similar samples/videos/boat_on_the_blue_sea.mp4 -k 2 --json
    """,
    "why-not": """
        bindsearch why-not samples/sounds/weather/thunder_rumble.wav a dark night
        bindsearch why-not samples/photos/night/campfire.jpg night --not fire
        bindsearch why-not samples/photos/night/campfire.jpg night --modality audio --ext png
        bindsearch why-not samples/photos/night/campfire.jpg night --max-expect 0.01 -k 30 --json
        bindsearch why-not samples/photos/broken.jpg night
        bindsearch why-not labels.txt night
        bindsearch why-not gone.jpg night
    """,
    "concepts": """
        bindsearch index night -l concepts.library --quiet
        bindsearch concepts -l concepts.library
        bindsearch concepts add harbour samples/videos/boat_on_the_blue_sea.mp4 "0.5:masts in fog" -l concepts.library
        bindsearch concepts add "my harbour" sea -l concepts.library
        bindsearch concepts list -l concepts.library
        bindsearch search concept:harbour - stars -l concepts.library --why -k 2
        bindsearch search stars + concept:harbor -l concepts.library
        bindsearch concepts remove harbour -l concepts.library
        bindsearch concepts --json -l concepts.library
    """,
    "classify": """
        bindsearch classify samples/sounds/weather --labels "rain,thunder,sea waves,wind"
        bindsearch classify samples/photos/garden/red_apple.jpg --labels apple,forest --template "a photo of a {}" -k 1
        bindsearch classify samples/sounds/town/siren.mp3 --labels @labels.txt --json
        bindsearch classify samples/photos/broken.jpg samples/photos/night/campfire.jpg --labels fire,snow
        bindsearch classify samples/sounds/weather --labels rain,thunder --background "wind,sea waves,bell" -k 1
        bindsearch classify samples/photos/night samples/photos/garden --truth folders --sensitivity -k 2
        bindsearch classify samples/photos/night --labels set:animal
        bindsearch classify --examples samples/photos --labels night,garden --save dark.classifier
        bindsearch classify samples/photos/night --load dark.classifier -k 1
        bindsearch classify samples/photos/night
    """,
    "tag": """
        bindsearch index night -l tagged.library --quiet
        bindsearch tag -l tagged.library
        bindsearch tag --labels fire,stars,sea -l tagged.library
        bindsearch tag night/campfire.jpg -l tagged.library
        bindsearch search night "tag:fire>0.01" -l tagged.library -k 3
        bindsearch search night --where "tag:fire<=1%" -l tagged.library -k 1 --quiet
        bindsearch search night "tag:fir>0.8" -l tagged.library
        bindsearch search night + snow tag:fire>high -l tagged.library
        bindsearch tag --remove stars -l tagged.library
        bindsearch tag --remove --json -l tagged.library
    """,
    "eval": """
        bindsearch eval samples/sounds
        bindsearch eval samples/photos --as folders --classes
        bindsearch eval samples/sounds/weather --quiet --against samples/sounds
        bindsearch eval samples/sounds/weather --confusion confusion.png --quiet
        bindsearch eval samples/notes
        bindsearch eval samples/sounds --as esc
        bindsearch eval nowhere
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
    "migrate": """
        bindsearch migrate
        bindsearch migrate --space toy
        bindsearch migrate --rollback
        bindsearch migrate --drop-old
        bindsearch migrate --cancel --space toy
    """,
    "compare": """
        bindsearch compare rain on a roof
        bindsearch compare
    """,
    "train": """
        bindsearch train no.csv --out audio-tower
        bindsearch train labels.txt --out audio-tower
    """,
}


def name_of(verb) -> str:
    return verb.__name__.rpartition(".")[2].replace("_", "-")


def test_every_verb_is_recorded():
    assert set(SESSIONS) == {name_of(verb) for verb in VERBS}


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


def normalised(text: str, place: Path) -> str:
    """Replace what differs between runs and machines."""
    text = text.replace(str(place), "/home/ana")
    text = re.sub(r"took [\d.]+ s", "took 1.0 s", text)
    text = re.sub(r"built in [\d.]+ s", "built in 1.0 s", text)
    text = re.sub(r"(\nfaiss +).*", r"\1...", text)
    text = re.sub(r'"build_s": [^,]+', '"build_s": 1.0', text)
    text = re.sub(r'"built": "[^"]+"', '"built": "2026-05-31T18:00:00+00:00"', text)
    text = re.sub(r'"devices": {[^{}]*}', '"devices": {}', text)
    text = re.sub(r"takes about \d+ ms", "takes about 0 ms", text)
    text = re.sub(r'"elapsed": [^,]+', '"elapsed": 1.0', text)
    text = re.sub(r'"(fingerprint|hash)": "[0-9a-f]+"', r'"\1": "..."', text)
    text = re.sub(r'"(ledger|index)_bytes": \d+', r'"\1_bytes": 100000', text)
    return re.sub(r"[\d.]+ [kM]B (ledger|index)", r"100 kB \1", text)


@pytest.mark.parametrize(
    ("now", "recorded"),
    [
        ("1  1 in 40  0.70  a.png", "1  1 in 390  0.70  a.png"),
        ("1  0.70  a.png", "1  0.75  b.png"),
        ("a\nb", "a"),
        ("-0.50", "0.50"),
    ],
)
def test_difference_is_detected(now, recorded):
    with pytest.raises((AssertionError, ValueError)):
        assert_alike(now, recorded)
