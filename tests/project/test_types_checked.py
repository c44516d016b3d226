"""The type check sees all three rooms at once, and knows the ports."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

WRONG = "from bindsearch.types import Vectors\n\n\ndef planted() -> Vectors:\n    return 'no vectors'\n"

ENCODER = """
from collections.abc import Sequence
from typing import Any

from bindsearch.ports import Encoder, Modality, Piece, SpaceSpec, Vectors

class {name}:
    spec: SpaceSpec

    def prepare(self, piece: Piece) -> Any:
        return piece
{rest}
planted: Encoder = {name}()
"""
ENCODE = """
    def encode(self, modality: Modality, batch: Sequence[Any]) -> {gives}:
        raise RuntimeError
"""

INDEX = """
from bindsearch.ports import Ids, Index, Vectors

class Unsearchable:
    kind = "unsearchable"

    def add(self, ids: Ids, vectors: Vectors) -> None:
        pass

planted: type[Index] = Unsearchable
"""

PLANTED = {
    "bindsearch/planted.py": WRONG,
    "bindsearch/media/planted.py": WRONG,
    "encoders/planted.py": WRONG,
    "indexes/planted.py": WRONG,
    "encoders/planted_mute.py": ENCODER.format(name="Mute", rest=""),
    "encoders/planted_wordy.py": ENCODER.format(name="Wordy", rest=ENCODE.format(gives="str")),
    "indexes/planted_unsearchable.py": INDEX,
}
SOUND = {"encoders/planted_sound.py": ENCODER.format(name="Sound", rest=ENCODE.format(gives="Vectors"))}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """File -> codes of the errors that the check gives for a copy of the three rooms with all plants."""
    copy = tmp_path_factory.mktemp("planted")
    for name in ("bindsearch", "encoders", "indexes"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "scripts/dev/check_types.py"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name, source in (PLANTED | SOUND).items():
        (copy / name).write_text(source)
    cache = request.config.cache.mkdir("mypy")  # pytest's, so that the next run is a short one
    command = [sys.executable, copy / "scripts" / "check_types.py", f"--cache-dir={cache}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1, done.stdout
    found: dict[str, set[str]] = {}
    for file, code in re.findall(r"^(\S+?):\d+: error: .* \[([\w-]+)\]$", done.stdout, re.MULTILINE):
        found.setdefault(file, set()).add(code)
    return found


@pytest.mark.parametrize("file", [name for name, source in PLANTED.items() if source == WRONG])
def test_a_wrong_type_is_seen_in_every_room(errors, file):
    assert errors[file] == {"return-value"}


@pytest.mark.parametrize("file", [name for name, source in PLANTED.items() if source != WRONG])
def test_a_breach_of_a_port_is_seen(errors, file):
    assert errors[file] == {"assignment"}


def test_what_keeps_the_port_passes(errors):
    assert not errors.keys() & SOUND.keys()
