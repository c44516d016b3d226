"""`bindsearch forget`: take files out of the library."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, complain
from bindsearch.cli.wording import counted
from bindsearch.errors import BadQuery

DESCRIPTION = """\
Take files, or all files below folders, and their vectors out of the library. The files themselves stay where they
are; those in an indexed folder are added again by the next `bindsearch index`, unless they are moved away or get a name
that begins with a dot. With --gone, drop the vectors that are kept for deleted files.
"""


RETURNING = (
    "what still lies in an indexed folder comes back with the next `bindsearch index`: to keep it out, move it away, "
    "or begin its name with a dot"
)


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "forget",
        help="take files out of the library",
        usage="%(prog)s PATH ... | --gone [options]",
        description=DESCRIPTION,
        gathers="paths",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file, or a folder with everything below it")
    parser.add_argument("--gone", action="store_true", help="drop what is kept for files that are gone")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Forget and print how much; return 1 if there was nothing to forget."""
    from bindsearch.library.library import Library

    if not args.paths and not args.gone:
        raise BadQuery("say what to forget: files, folders, or --gone")
    with Library.open(args.library, create=False) as library:
        paths = library.forget(args.paths) if args.paths else 0
        items = library.forget_gone() if args.gone else 0
        returning = paths and _still_indexed(args.paths, library.status().indexed_folders)
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps({"paths": paths, "gone": items}))
    elif not args.quiet and (paths or items):
        told = [counted(paths, "file")] if args.paths else []
        told += [f"what was kept of {counted(items, 'item')}"] if args.gone else []
        screen.write(f"forgot {' and '.join(told)}")
        if returning:
            complain(RETURNING)
    if paths or items:
        return DONE
    complain("nothing to forget: the library knows nothing there" if args.paths else "nothing is gone")
    return FAILED


def _still_indexed(paths: Sequence[str], roots: Sequence[Path]) -> bool:
    """Whether the next `index` comes by any of these."""
    from bindsearch.core.paths import absolute

    return any(place.exists() and not {*roots}.isdisjoint(place.parents) for place in absolute(paths))
