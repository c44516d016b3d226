"""`bindsearch export`: write segments and their vectors for other tools."""

from __future__ import annotations

import argparse
import json
import sys

from bindsearch.cli.parser import Parser, Verbs, add_common, target
from bindsearch.cli.screen import Screen, shown
from bindsearch.cli.wording import counted

DESCRIPTION = """\
Write every segment with its vector. The extension chooses the format: X.parquet and X.jsonl hold rows and vectors
together; X.npy holds the vectors as float32, and X.rows.jsonl next to it holds the rows in the same order.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "export", help="write all vectors to a file", usage="%(prog)s FILE [options]", description=DESCRIPTION
    )
    parser.add_argument("file", type=target, metavar="FILE", help="the file to write: *.parquet, *.jsonl or *.npy")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the file, and print the number of segments."""
    from bindsearch.library.export import export
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        segments = export(library, args.file)
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps({"file": str(args.file), "segments": segments}))
    elif not args.quiet:
        screen.write(f"{counted(segments, 'segment')} written to {shown(args.file)}")
    return 0
