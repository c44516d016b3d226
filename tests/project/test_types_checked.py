"""The type check covers engine and adapters in one run, and checks adapters against their ports."""

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

from bindsearch.ports import Encoder
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors

class {name}:
    spec: SpaceSpec

    def prepare(self, piece: Piece) -> Any:
        return piece
{rest}
planted: Encoder = {name}()
"""
ENCODE = """
    def encode(self, modality: Modality, batch: Sequence[Any]) -> {returns}:
        raise RuntimeError
"""

INDEX = """
from bindsearch.ports import Index
from bindsearch.types import Ids, Vectors

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
    "encoders/planted_without_encode.py": ENCODER.format(name="WithoutEncode", rest=""),
    "encoders/planted_returns_text.py": ENCODER.format(name="ReturnsText", rest=ENCODE.format(returns="str")),
    "indexes/planted_unsearchable.py": INDEX,
}
CORRECT = {"encoders/planted_correct.py": ENCODER.format(name="Correct", rest=ENCODE.format(returns="Vectors"))}


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, set[str]]:
    """Return the error codes that the check reports for each file of a copy with all planted errors."""
    copy = tmp_path_factory.mktemp("planted")
    for name in ("bindsearch", "encoders", "indexes"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "scripts/dev/check_types.py"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    for name, source in (PLANTED | CORRECT).items():
        (copy / name).write_text(source)
    cache = request.config.cache.mkdir("mypy")  # pytest's own, which makes the next run short
    command = [sys.executable, copy / "scripts" / "dev" / "check_types.py", f"--cache-dir={cache}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1, done.stdout
    found: dict[str, set[str]] = {}
    for file, code in re.findall(r"^(\S+?):\d+: error: .* \[([\w-]+)\]$", done.stdout, re.MULTILINE):
        found.setdefault(file, set()).add(code)
    return found


@pytest.mark.parametrize("file", [name for name, source in PLANTED.items() if source == WRONG])
def test_a_wrong_type_is_found_in_every_folder(errors, file):
    assert errors[file] == {"return-value"}


@pytest.mark.parametrize("file", [name for name, source in PLANTED.items() if source != WRONG])
def test_an_incomplete_adapter_is_a_type_error(errors, file):
    assert errors[file] == {"assignment"}


def test_an_adapter_that_implements_its_port_passes(errors):
    assert not errors.keys() & CORRECT.keys()
