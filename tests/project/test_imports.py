"""Who imports whom, and what is loaded when."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import bindsearch

ROOT = Path(__file__).resolve().parents[2]
ROOMS = {"bindsearch": "bindsearch", "encoders": "bindsearch.encoders", "indexes": "bindsearch.indexes"}
OPEN_TO_ADAPTERS = {"bindsearch.types", "bindsearch.errors", "bindsearch.ports"}
EXTRAS = {
    *("datasets", "faiss", "mteb", "open_clip", "pyarrow"),
    *("safetensors", "torch", "torchaudio", "torchvision", "transformers"),
}
VERBS = [
    "index",
    "search",
    "similar",
    "why-not",
    "concepts",
    "classify",
    "tag",
    "eval",
    "status",
    "doctor",
    "export",
    "forget",
    "spaces",
    "migrate",
    "compare",
    "train",
]

SOURCES = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


# The import rule --------------------------------------------------------------------------------------------------


def breaches(source: str, module: str) -> list[str]:
    """The imports of a module that the rule forbids, as absolute names."""
    adapter = module.startswith(("bindsearch.encoders.", "bindsearch.indexes."))
    return [name for name, relative in imported(source, module) if not allowed(name, module, relative, adapter)]


def allowed(name: str, module: str, relative: bool, adapter: bool) -> bool:
    if not adapter:
        return not within(name, {"bindsearch.encoders", "bindsearch.indexes", "encoders", "indexes"})
    if relative:
        return within(name, {room_of(module), *OPEN_TO_ADAPTERS})
    return within(name, OPEN_TO_ADAPTERS) or not within(name, {"bindsearch", "encoders", "indexes"})


def within(name: str, places: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imported(source: str, module: str) -> Iterator[tuple[str, bool]]:
    """Absolute names of what a module imports anywhere in it, and whether it says so relatively."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((f"{start}.{alias.name}", node.level > 0) for alias in node.names)


def module_of(file: Path) -> str:
    """The name that a file is imported by, with `__init__` kept, so that its package is what comes before."""
    room, *rest = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([ROOMS[room], *rest])


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_import_rule_is_kept(file):
    assert breaches(file.read_text(encoding="utf-8"), module_of(file)) == []


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        ("bindsearch.library", "import bindsearch.encoders.toy", "bindsearch.encoders.toy"),
        ("bindsearch.library", "def f():\n    from .indexes import exact", "bindsearch.indexes.exact"),
        ("bindsearch.library", "from . import encoders", "bindsearch.encoders"),
        ("bindsearch.cli.search", "from ..encoders.toy import see", "bindsearch.encoders.toy.see"),
        ("bindsearch.library", "from encoders import toy", "encoders.toy"),
        ("bindsearch.encoders.toy", "from bindsearch import media", "bindsearch.media"),
        ("bindsearch.encoders.toy", "import bindsearch", "bindsearch"),
        ("bindsearch.encoders.toy", "from ..ledger import Ledger", "bindsearch.ledger.Ledger"),
        ("bindsearch.encoders.toy", "from ..indexes import exact", "bindsearch.indexes.exact"),
        ("bindsearch.indexes.flat", "from bindsearch.indexes.exact import rank", "bindsearch.indexes.exact.rank"),
    ],
)
def test_a_breach_of_the_import_rule_is_seen(module, source, breach):
    assert breaches(source, module) == [breach]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("bindsearch.cli.search", "from bindsearch.library import Library\nfrom ..query import parse"),
        ("bindsearch.encoders.toy", "from bindsearch.types import Piece\nfrom bindsearch import ports\nimport torch"),
        ("bindsearch.encoders.toy.encoder", "from .vocabulary import WORDS\nfrom . import vocabulary"),
        ("bindsearch.indexes.gpu.flat", "from ..exact import rank\nfrom bindsearch.errors import IndexUnavailable"),
    ],
)
def test_what_the_import_rule_allows_passes(module, source):
    assert breaches(source, module) == []


# What is loaded when ----------------------------------------------------------------------------------------------

WATCH = """
import sys

class Watch:
    asked = set()

    def find_spec(self, name, path=None, target=None):
        self.asked.add(name.partition(".")[0])

sys.meta_path.insert(0, Watch())
try:
    {statement}
except SystemExit as end:
    assert not end.code, end.code
import json
print()
print(json.dumps(sorted(Watch.asked)))
"""


def asked_for(statement: str, *arguments: str) -> set[str]:
    """Top-level packages that a fresh interpreter looks for when it runs a statement, be they installed or not."""
    command = [sys.executable, "-c", WATCH.format(statement=statement), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def foreign(names: set[str]) -> set[str]:
    return names - sys.stdlib_module_names - {"bindsearch", "org"}  # `copy` asks for Jython's org.python


def test_the_watch_sees_what_is_loaded_and_what_is_missing():
    asked = asked_for("import bindsearch.types, importlib.util; importlib.util.find_spec('no_such_package')")
    assert {"numpy", "no_such_package"} <= foreign(asked)


def test_import_bindsearch_loads_the_standard_library_only():
    assert foreign(asked_for("import bindsearch")) == set()


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_loads_the_standard_library_only(verb):
    asked = asked_for("from bindsearch.cli import main; sys.exit(main())", *([verb] if verb else []), "--help")
    assert foreign(asked) == set()


def test_no_module_of_the_engine_asks_for_an_extra():
    engine = [module_of(file).removesuffix(".__init__") for file in SOURCES if file.is_relative_to(ROOT / "bindsearch")]
    asked = asked_for(f"import {', '.join(name for name in engine if not name.endswith('__main__'))}")
    assert "numpy" in asked
    assert asked & EXTRAS == set()


# The public names -------------------------------------------------------------------------------------------------


def test_all_is_sorted_and_names_what_is_public():
    assert list(bindsearch.__all__) == sorted(set(bindsearch.__all__))
    public = {name: getattr(bindsearch, name) for name in bindsearch.__all__}
    assert public.keys() <= set(dir(bindsearch))
    ours = {name for name, value in vars(bindsearch).items() if not name.startswith("_") and is_ours(value)}
    assert ours <= public.keys()


def is_ours(value: object) -> bool:
    return not isinstance(value, ModuleType) and getattr(value, "__module__", "").startswith("bindsearch")


def test_type_checkers_see_the_same_names():
    source = (ROOT / "bindsearch" / "__init__.py").read_text(encoding="utf-8")
    seen = [name for name, _ in imported(source, "bindsearch.__init__") if name.startswith("bindsearch.")]
    assert sorted(name.rpartition(".")[2] for name in seen) == sorted(bindsearch.__all__)


def test_a_name_that_is_not_public_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = bindsearch.no_such_name


def test_the_front_door_is_short():
    assert len((ROOT / "bindsearch" / "__init__.py").read_text(encoding="utf-8").splitlines()) < 40
