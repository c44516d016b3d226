"""Which module may import which, and what is loaded when."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import ModuleType

import pytest

import bindsearch

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"bindsearch": "bindsearch", "encoders": "bindsearch.encoders", "indexes": "bindsearch.indexes"}
"""Top-level folder -> the package that it is installed as."""
OPEN_TO_ADAPTERS = {"bindsearch.types", "bindsearch.errors", "bindsearch.ports"}
MAX_ROOT_FILES = 10

CONTRACT = {"types", "errors", "ports"}
GROUND = {*CONTRACT, "core"}
ALLOWED_IMPORTS = {
    # the contract of adapters, and what every room may use
    "types": set(),
    "errors": set(),
    "ports": {"types"},
    "core": {"types", "errors"},
    "registry": GROUND,
    "results": {"types", "errors", "core"},
    # files come in: media -> spaces -> ingest -> storage -> indexing
    "media": GROUND,
    "spaces": GROUND | {"registry", "media"},
    "storage": GROUND,
    "ingest": GROUND | {"media", "spaces", "storage"},
    "indexing": GROUND | {"registry", "spaces", "storage"},
    # a search: query -> calibration -> retrieval -> explain
    "query": GROUND | {"media", "spaces", "storage"},
    "calibration": GROUND | {"storage", "query"},
    "retrieval": GROUND | {"results", "storage", "query", "calibration"},
    "explain": GROUND | {"results", "media", "spaces", "storage", "query", "calibration", "retrieval"},
    # models and their evaluation
    "duplicates": GROUND,
    "evaluation": GROUND | {"media", "spaces", "storage", "duplicates"},
    "zeroshot": GROUND | {"media", "spaces", "evaluation"},
    "training": GROUND | {"media", "spaces"},
}
"""Room, or file at the root of `bindsearch/` -> the rooms whose modules it may import."""
ROOMS_BELOW = {*ALLOWED_IMPORTS}
ALLOWED_IMPORTS |= {
    # one collection as a whole, and what uses it
    "library": ROOMS_BELOW - {"training", "evaluation", "duplicates"},
    "integrations": {*ROOMS_BELOW, "library", "bindsearch"},
    "cli": {*ROOMS_BELOW, "library", "integrations", "bindsearch"},
    "__main__": {"cli"},
    "bindsearch": {"types", "errors", "results", "spaces", "ingest", "query", "library", "storage"},
}
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

SOURCES = [file for folder in PACKAGES for file in sorted((ROOT / folder).rglob("*.py"))]


# Engine and adapters ----------------------------------------------------------------------------------------------


def breaches(source: str, module: str) -> list[str]:
    """Return the imports of a module that break the rule for engine and adapters, as absolute names."""
    adapter = module.startswith(("bindsearch.encoders.", "bindsearch.indexes."))
    return [name for name, relative in imported(source, module) if not allowed(name, module, relative, adapter)]


def allowed(name: str, module: str, relative: bool, adapter: bool) -> bool:
    if not adapter:
        return not within(name, {"bindsearch.encoders", "bindsearch.indexes", "encoders", "indexes"})
    if relative:
        return within(name, {package_of(module), *OPEN_TO_ADAPTERS})
    return within(name, OPEN_TO_ADAPTERS) or not within(name, {"bindsearch", "encoders", "indexes"})


def within(name: str, packages: set[str]) -> bool:
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def package_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imported(source: str, module: str) -> Iterator[tuple[str, bool]]:
    """Yield the absolute names that a module imports anywhere in it, and whether the import is relative."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            start = ".".join([*package, *([node.module] if node.module else [])])
            yield from ((f"{start}.{alias.name}", node.level > 0) for alias in node.names)


def module_of(file: Path) -> str:
    """Return the import name of a file, with `__init__`, so that the part before the last dot is its package."""
    folder, *rest = file.relative_to(ROOT).with_suffix("").parts
    return ".".join([PACKAGES[folder], *rest])


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_engine_and_adapters_are_separate(file):
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
def test_an_import_across_engine_and_adapters_is_found(module, source, breach):
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
def test_allowed_imports_of_adapters_pass(module, source):
    assert breaches(source, module) == []


# Rooms ------------------------------------------------------------------------------------------------------------


def room_of(name: str) -> str:
    """Return the room of a module, or the name of a file at the root of `bindsearch/`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def graph_of(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """Return which modules of ours each module imports: at its top, inside functions, or for type checkers only."""
    names = {module.removesuffix(".__init__") for module in sources}

    def module_in(name: str) -> str:
        while name and name not in names:
            name = name.rpartition(".")[0]
        return name

    return {
        (name := module.removesuffix(".__init__")): {
            found for imported_name, _ in imported(source, module) if (found := module_in(imported_name))
        }
        - {name}
        for module, source in sources.items()
    }


def room_breaches(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the imports between rooms that `ALLOWED_IMPORTS` does not allow."""
    return [
        f"{module} imports {other}"
        for module, others in graph.items()
        for other in sorted(others)
        if room_of(other) not in {room_of(module), *ALLOWED_IMPORTS.get(room_of(module), ())}
    ]


def find_circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one import circle; none if there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return graph_of({module_of(file): file.read_text(encoding="utf-8") for file in SOURCES})


def test_rooms_import_only_rooms_that_the_table_allows(graph):
    engine = {name: others for name, others in graph.items() if room_of(name) not in PACKAGES.keys() - {"bindsearch"}}
    assert len(engine) > 100
    assert room_breaches(engine) == []


def test_the_table_names_every_room_and_has_no_circle(graph):
    assert {room_of(name) for name in graph} - {"encoders", "indexes"} == ALLOWED_IMPORTS.keys()
    assert find_circle(ALLOWED_IMPORTS) == []


@pytest.mark.parametrize(
    ("module", "source", "breach"),
    [
        ("bindsearch.media.image", "from bindsearch.query.language import text", "bindsearch.query.language"),
        ("bindsearch.storage.ledger", "def f():\n    import bindsearch.library.library", "bindsearch.library.library"),
        ("bindsearch.query.filters", "from ..retrieval import search", "bindsearch.retrieval.search"),
        ("bindsearch.ingest.report", "if TYPE_CHECKING:\n    from bindsearch import cli", "bindsearch.cli"),
        ("bindsearch.types", "from bindsearch.core.files import replacing", "bindsearch.core.files"),
        ("bindsearch.new_room.file", "from bindsearch.types import Item", "bindsearch.types"),
    ],
)
def test_a_forbidden_import_between_rooms_is_found(module, source, breach):
    planted = graph_of({module: source, breach: ""})
    assert room_breaches(planted) == [f"{module} imports {breach}"]


def test_no_files_import_each_other_in_a_circle(graph):
    assert find_circle(graph) == []


@pytest.mark.parametrize(
    "back",
    [
        "from bindsearch.a.one import f",
        "def g():\n    from bindsearch.a import one",
        "if TYPE_CHECKING:\n    import bindsearch.a.one",
        "from ..a.one import f",
    ],
)
def test_a_planted_import_circle_is_found(back):
    sources = {"bindsearch.a.one": "from bindsearch.b.two import g", "bindsearch.b.three": back}
    sources["bindsearch.b.two"] = "from . import three"
    circle = find_circle(graph_of(sources))
    assert set(circle) == {"bindsearch.a.one", "bindsearch.b.two", "bindsearch.b.three"}


def test_few_files_lie_at_the_root_of_the_package():
    files = [path.name for path in (ROOT / "bindsearch").iterdir() if path.is_file()]
    assert len(files) <= MAX_ROOT_FILES, files


# What is loaded when ----------------------------------------------------------------------------------------------

WATCH = """
import sys

class Watch:
    requested = set()

    def find_spec(self, name, path=None, target=None):
        self.requested.add(name.partition(".")[0])

sys.meta_path.insert(0, Watch())
try:
    {statement}
except SystemExit as end:
    assert not end.code, end.code
import json
print()
print(json.dumps(sorted(Watch.requested)))
"""


def requested_modules(statement: str, *arguments: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter tries to import for a statement, installed or not."""
    command = [sys.executable, "-c", WATCH.format(statement=statement), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def third_party(names: set[str]) -> set[str]:
    return names - sys.stdlib_module_names - {"bindsearch", "org"}  # `copy` asks for Jython's org.python


def test_loaded_and_missing_modules_are_both_recorded():
    requested = requested_modules(
        "import bindsearch.types, importlib.util; importlib.util.find_spec('no_such_package')"
    )
    assert {"numpy", "no_such_package"} <= third_party(requested)


def test_import_bindsearch_loads_only_the_standard_library():
    assert third_party(requested_modules("import bindsearch")) == set()


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_loads_only_the_standard_library(verb):
    requested = requested_modules(
        "from bindsearch.cli import main; sys.exit(main())", *([verb] if verb else []), "--help"
    )
    assert third_party(requested) == set()


def test_no_module_of_the_engine_imports_an_extra():
    engine = [module_of(file).removesuffix(".__init__") for file in SOURCES if file.is_relative_to(ROOT / "bindsearch")]
    requested = requested_modules(f"import {', '.join(name for name in engine if not name.endswith('__main__'))}")
    assert "numpy" in requested
    assert requested & EXTRAS == set()


# The public names -------------------------------------------------------------------------------------------------


def test_all_is_sorted_and_complete():
    assert list(bindsearch.__all__) == sorted(set(bindsearch.__all__))
    public = {name: getattr(bindsearch, name) for name in bindsearch.__all__}
    assert public.keys() <= set(dir(bindsearch))
    ours = {name for name, value in vars(bindsearch).items() if not name.startswith("_") and is_ours(value)}
    assert ours <= public.keys()


def is_ours(value: object) -> bool:
    return not isinstance(value, ModuleType) and getattr(value, "__module__", "").startswith("bindsearch")


def test_type_checkers_see_the_public_names():
    source = (ROOT / "bindsearch" / "__init__.py").read_text(encoding="utf-8")
    names = [name for name, _ in imported(source, "bindsearch.__init__") if name.startswith("bindsearch.")]
    assert sorted(name.rpartition(".")[2] for name in names) == sorted(bindsearch.__all__)


def test_an_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = bindsearch.no_such_name


def test_the_package_init_is_short():
    assert len((ROOT / "bindsearch" / "__init__.py").read_text(encoding="utf-8").splitlines()) < 40
