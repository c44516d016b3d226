"""Write docs/cli.md from the help of every verb; with --check, say whether it is current instead."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from bindsearch.cli import build_parser

TARGET = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
INTRODUCTION = """\
# The command line

Written by `make docs` from the program's own help: change that, not this.
"""


class _SameEverywhere(argparse.HelpFormatter):
    """Formats help alike in every version of Python and on every terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Say `-k, --top N` where Python before 3.13 says `-k N, --top N`."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Return a parser and those of its verbs, and of theirs, in the order in which help lists them."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in dict.fromkeys(action.choices.values()):  # an alias is the same parser again
                yield from parsers(verb)


def page() -> str:
    """Return the text of docs/cli.md."""
    return "\n".join([INTRODUCTION, *(_section(parser) for parser in parsers(build_parser()))])


def _section(parser: argparse.ArgumentParser) -> str:
    kept = (argparse.RawDescriptionHelpFormatter, argparse.RawTextHelpFormatter)
    style = parser.formatter_class if isinstance(parser.formatter_class, type) else argparse.HelpFormatter
    bases = (_SameEverywhere, style) if issubclass(style, kept) else (_SameEverywhere,)
    parser.formatter_class = type("_Formatter", bases, {})
    parser.color = False  # read by Python 3.14 and later
    text = re.sub(r"[ \t]+$", "", parser.format_help(), flags=re.MULTILINE)
    return f"## {parser.prog}\n\n```text\n{text.strip()}\n```\n"


def main(arguments: list[str]) -> int:
    """Write the page, or with `--check` give 1 if the page is not current."""
    text = page()
    if arguments != ["--check"]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    if TARGET.exists() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print("docs/cli.md is not what the program's help says; write it anew with `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
