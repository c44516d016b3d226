"""The command line: one module per verb, which parses, calls the library once, and prints.

The engine is imported only when a verb runs, so that --help stays fast.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from bindsearch.cli import (
    classify,
    compare,
    concepts,
    doctor,
    eval,
    export,
    forget,
    index,
    migrate,
    search,
    similar,
    spaces,
    status,
    tag,
    train,
    why_not,
)
from bindsearch.cli.faults import guarded
from bindsearch.cli.parser import Parser, add_common
from bindsearch.cli.screen import never_fail_to_encode

VERBS = (
    index,
    search,
    similar,
    why_not,
    concepts,
    classify,
    tag,
    eval,
    status,
    doctor,
    export,
    forget,
    spaces,
    migrate,
    compare,
    train,
)

EPILOG = """\
getting started:
  bindsearch index ~/Pictures ~/Recordings
  bindsearch search "rain on a roof"
  bindsearch search waves + gulls.wav - crowd.jpg

exit status:
  0  done
  1  nothing found, or an expected error
  2  wrong usage: an unknown option, space or tag, or a file that does not exist
  3  finished, but some files failed
  130, 143  stopped by Ctrl-C or SIGTERM

Run `bindsearch VERB --help` for the options of a verb. Without --library, the library is the one named by
the environment variable BINDSEARCH_LIBRARY, else the one in your data folder.
"""


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line."""
    parser = Parser(
        prog="bindsearch",
        description="Find photos, sounds, videos and texts by meaning: any kind of query, any kind of result.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    add_common(parser)
    parser.set_defaults(library=None, json=False, quiet=False, traceback=False, run=None)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB")
    for verb in VERBS:
        verb.add(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status."""
    never_fail_to_encode(sys.stdout, sys.stderr)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not spin while files are decoded
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 2
    if arguments.run is None:
        parser.print_help(sys.stderr)
        return 2
    return guarded(arguments)


class _Version(argparse.Action):
    """Looks up the version only on demand: reading package metadata is slow."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"bindsearch {version('bindsearch')}\n")
        parser.exit()
