"""The documentation is current: the page of the command line, the examples of README and docstrings."""

from __future__ import annotations

import argparse
import doctest
import importlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import make_docs
import pytest
from transcripts import assert_alike, transcript

from bindsearch.cli import build_parser, main

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"bindsearch": "bindsearch", "encoders": "bindsearch.encoders", "indexes": "bindsearch.indexes"}
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERBS = {"index", "search", "similar", "classify", "eval", "status", "doctor", "export", "forget", "spaces", "train"}
LENIENT = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def folder(samples, tmp_path, monkeypatch) -> Path:
    """The current folder while examples run, with the sample collection in `samples`."""
    shutil.copytree(samples, tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# The command line -------------------------------------------------------------------------------------------------


def test_cli_page_is_current():
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == make_docs.page()


def test_every_verb_has_a_section_and_a_description():
    sections = re.findall(r"^## bindsearch (\S+)$", make_docs.page(), re.MULTILINE)
    assert set(sections) >= VERBS
    assert len(sections) == len(set(sections))
    assert [parser.prog for parser in make_docs.parsers(build_parser()) if not parser.description] == []


def test_every_option_has_help():
    without_help = [
        f"{parser.prog} {action.dest}"
        for parser in make_docs.parsers(build_parser())
        for action in parser._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]
    assert without_help == []


def test_cli_page_is_independent_of_the_terminal(monkeypatch):
    expected = make_docs.page()
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert make_docs.page() == expected


def test_an_outdated_page_is_reported_and_rewritten(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_docs, "TARGET", tmp_path / "cli.md")
    assert make_docs.main(["--check"]) == 1
    assert make_docs.main([]) == 0
    assert make_docs.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old", encoding="utf-8")
    assert make_docs.main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err


# The README and other pages ---------------------------------------------------------------------------------------


def blocks(text: str, *languages: str) -> list[str]:
    fences = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [body for language, body in fences if language in languages]


def commands(shell: str) -> list[str]:
    """Return the `bindsearch ...` lines, each up to a pipe, a redirection or a comment."""
    return re.findall(r"^(?:\$ |  )?(bindsearch .*?)(?=\s+[|>#&]|$)", shell.replace("\\\n", " "), re.MULTILINE)


def shell_of(page: str) -> str:
    return "\n".join(blocks(page, "console", "sh", "bash", "shell"))


SHOWN = [
    pytest.param(line, id=f"{where}: {line}")
    for where, shell in {
        "README.md": shell_of(README),
        **{page.name: shell_of(page.read_text(encoding="utf-8")) for page in sorted((ROOT / "docs").glob("*.md"))},
        **{parser.prog: parser.epilog or "" for parser in make_docs.parsers(build_parser())},
    }.items()
    for line in commands(shell)
]


@pytest.mark.parametrize("line", SHOWN)
def test_documented_commands_parse(line):
    _, *words = shlex.split(line)
    try:
        build_parser().parse_args(words)
    except SystemExit as end:  # --help and --version end with 0
        if end.code:
            pytest.fail(f"not a command: {line}")


def test_the_readme_begins_with_index_and_search():
    first = commands(shell_of("\n".join([*README.splitlines()[:60], "```", ""])))
    assert {line.split()[1] for line in first} >= {"index", "search"}


def test_readme_python_examples_run(folder, monkeypatch):
    monkeypatch.setenv("BINDSEARCH_SPACE", "pocket")  # as a reader would
    examples = blocks(README, "python", "pycon")
    assert examples
    names: dict[str, object] = {"__name__": "readme"}
    for number, example in enumerate(examples):
        if ">>>" in example:
            name = f"README.md, example {number}"
            names |= run_doctest(doctest.DocTestParser().get_doctest(example, names, name, "README.md", 0))
        else:
            exec(compile(example, f"README.md, example {number}", "exec", dont_inherit=True), names)


def test_readme_output_is_what_the_program_prints(folder, monkeypatch, capsys):
    monkeypatch.setenv("BINDSEARCH_SPACE", "pocket")
    assert main(["index", "samples", "--quiet"]) == 0
    capsys.readouterr()
    (console,) = blocks(README, "console")
    printed = "".join(transcript(line, capsys).rstrip("\n") + "\n" for line in commands(console))
    assert_alike(printed, console)


# Docstrings -------------------------------------------------------------------------------------------------------


def modules_with_examples() -> Iterator[str]:
    for folder, package in PACKAGES.items():
        for file in sorted((ROOT / folder).rglob("*.py")):
            if re.search(r"^\s*>>> ", file.read_text(encoding="utf-8"), re.MULTILINE):
                yield ".".join([package, *file.relative_to(ROOT / folder).with_suffix("").parts])


def test_docstring_examples_run(folder):
    names = list(modules_with_examples())
    assert "bindsearch.library.library" in names
    for name in names:
        module = importlib.import_module(name.removesuffix(".__init__"))
        tests = doctest.DocTestFinder(exclude_empty=True).find(module, name)
        assert sum(len(test.examples) for test in tests) > 0, name
        for test in tests:
            run_doctest(test)


def run_doctest(test: doctest.DocTest) -> dict[str, object]:
    """Run an example and return the names that it defines."""
    output: list[str] = []
    runner = doctest.DocTestRunner(optionflags=LENIENT, verbose=False)
    runner.run(test, out=output.append, clear_globs=False)
    assert runner.failures == 0, "".join(output)
    return test.globs


def test_a_wrong_example_is_found():
    parse = doctest.DocTestParser().get_doctest
    assert run_doctest(parse(">>> x = 1 + 1\n>>> x\n2\n", {}, "planted", "planted", 0))["x"] == 2
    with pytest.raises(AssertionError, match=r"Expected:\s+3\s+Got:\s+2"):
        run_doctest(parse(">>> 1 + 1\n3\n", {}, "planted", "planted", 0))
