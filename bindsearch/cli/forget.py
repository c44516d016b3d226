"""`bindsearch forget`: remove files from the library."""

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
Remove files, and everything below folders, from the library; the files themselves are not touched. Those in an indexed
folder are added again by the next `bindsearch index`, unless they are moved away or hidden (renamed to begin with a
dot). With --gone, delete the vectors that are kept for files that no longer exist.
"""
RETURNING = (
    "the next `bindsearch index` adds files in indexed folders again: to prevent it, move them away, or hide them "
    "with a name that begins with a dot"
)


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "forget",
        help="remove files from the library",
        usage="%(prog)s PATH ... | --gone [options]",
        description=DESCRIPTION,
        gathers="paths",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file, or a folder with everything below it")
    parser.add_argument("--gone", action="store_true", help="delete what is kept for files that no longer exist")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Forget and print how much; return 1 if there was nothing to forget."""
    from bindsearch.library.library import Library

    if not args.paths and not args.gone:
        raise BadQuery("name the files or folders to forget, or use --gone")
    with Library.open(args.library, create=False) as library:
        paths = library.forget(args.paths) if args.paths else 0
        items = library.forget_gone() if args.gone else 0
        returning = paths and _still_indexed(args.paths, library.status().indexed_folders)
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps({"paths": paths, "gone": items}))
    elif not args.quiet and (paths or items):
        forgotten = [counted(paths, "file")] if args.paths else []
        forgotten += [f"{counted(items, 'item')} without files"] if args.gone else []
        screen.write(f"forgot {' and '.join(forgotten)}")
        if returning:
            complain(RETURNING)
    if paths or items:
        return DONE
    complain("nothing to forget: no such file in the library" if args.paths else "nothing to forget: all files exist")
    return FAILED


def _still_indexed(paths: Sequence[str], folders: Sequence[Path]) -> bool:
    """Whether any of the paths exists in an indexed folder, so that the next `index` adds it again."""
    from bindsearch.core.paths import absolute

    return any(path.exists() and not {*folders}.isdisjoint(path.parents) for path in absolute(paths))
