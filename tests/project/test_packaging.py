"""The wheel, the source distribution, and the package that is installed from the wheel."""

from __future__ import annotations

import fnmatch
import hashlib
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"bindsearch": "bindsearch", "encoders": "bindsearch/encoders", "indexes": "bindsearch/indexes"}
NOT_SOURCE = ignore_patterns(".*", "build", "dist", "demo", "*.egg-info", "__pycache__", "*.library")


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(source: Path, folder: Path, *kinds: str) -> Path:
    """Build with the installed setuptools, so that nothing is downloaded; return the output folder."""
    run(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", folder, ".", cwd=source)
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, because a build leaves files in its source folder."""
    return copytree(ROOT, tmp_path_factory.mktemp("source") / "bindsearch", ignore=NOT_SOURCE)


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, and a wheel that was built from it."""
    return build(source, tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (file,) = built.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and the packages of this one, except its editable bindsearch."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, symlinks=True)
    python = home / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=home)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # a .pth file inside these folders is not followed, so the editable bindsearch stays out
    (packages / "packages.pth").write_text("\n".join(here))
    return home


def contents(wheel: Path) -> dict[str, str]:
    """Return the digest of every file by name, without the list of files and the name of the builder."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(("/RECORD", "/WHEEL"))]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


def test_the_wheel_contains_every_module(source, wheel):
    expected = {
        f"{place}/{file.relative_to(source / folder).as_posix()}": hashlib.sha256(file.read_bytes()).hexdigest()
        for folder, place in PACKAGES.items()
        for file in (source / folder).rglob("*.py")
    }
    assert {name: digest for name, digest in contents(wheel).items() if name.endswith(".py")} == expected
    assert "bindsearch/encoders/toy/encoder.py" in expected
    assert "bindsearch/indexes/exact.py" in expected


def test_the_wheel_contains_only_declared_data(source, wheel):
    with (source / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["tool"]["setuptools"]["package-data"]
    patterns = [f"{package.replace('.', '/')}/{pattern}" for package, names in declared.items() for pattern in names]
    data = {name for name in contents(wheel) if not name.endswith(".py") and ".dist-info/" not in name}
    assert "bindsearch/py.typed" in data
    assert {name for name in data if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)} == set()
    assert [pattern for pattern in patterns if not fnmatch.filter(data, pattern)] == []


def test_the_wheel_installs_only_the_package(wheel):
    names = contents(wheel)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"bindsearch"}
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


def test_source_distribution_and_checkout_build_the_same_wheel(source, wheel, tmp_path):
    (direct,) = build(source, tmp_path, "--wheel").glob("*.whl")
    assert contents(direct) == contents(wheel)


def test_the_source_distribution_contains_its_tests(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {
        "Makefile",
        "constraints.txt",
        "tests/conftest.py",
        "data/make_samples.py",
        "scripts/dev/make_docs.py",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("build/", "dist/"))]


LOADING = """
import sys
import bindsearch
from bindsearch.registry import load_index, load_space
for module in ("bindsearch", type(load_space("toy")).__module__, load_index("exact").__module__):
    print(sys.modules[module].__file__)
"""


def test_the_installed_package_loads_its_own_adapters(installed, tmp_path):
    printed = run(installed / "bin" / "python", "-I", "-W", "error", "-c", LOADING, cwd=tmp_path)
    inside = [Path(line).relative_to(installed).parts[-2:] for line in printed.splitlines()]
    assert inside == [("bindsearch", "__init__.py"), ("toy", "encoder.py"), ("indexes", "exact.py")]


def test_the_installed_command_prints_its_help(installed, tmp_path):
    command = installed / "bin" / "bindsearch"
    printed = run(installed / "bin" / "python", "-I", "-W", "error", command, "--help", cwd=tmp_path)
    assert printed.startswith("usage: bindsearch ")
