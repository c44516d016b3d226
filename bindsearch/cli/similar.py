"""`bindsearch similar`: find files that are similar to a file."""

from __future__ import annotations

import argparse

from bindsearch.cli.listing import show
from bindsearch.cli.parser import Parser, Verbs, add_common, add_ranking
from bindsearch.cli.search import request_of

DESCRIPTION = """\
Find files similar to a file, of the same or another modality: images that match a sound, sounds that match an image.
FILE does not have to be in the library; if it is, it and its copies are not listed.
"""
EPILOG = """\
examples:
  bindsearch similar bark.wav --modality image
  bindsearch similar IMG_2041.jpg -k 30 --under ~/Pictures
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "similar",
        help="find files similar to a file",
        usage="%(prog)s FILE [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="an image, sound, video or text")
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search by the file and list the results."""
    from bindsearch.library.library import Library
    from bindsearch.query.language import file

    with Library.open(args.library, create=False) as library:
        hits = library.similar(request_of(file(args.file), args))
    return show(hits, args)
