"""`bindsearch similar`: find what is like a file."""

from __future__ import annotations

import argparse

from bindsearch.cli.listing import show
from bindsearch.cli.parser import Parser, Verbs, add_common, add_ranking, tags_of, where_of

DESCRIPTION = """\
Find what is like a file, of its own kind or of any other: the picture of a sound, the sound of a picture. The file
need not be in the library; if it is, it is left out of the answer.
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
        help="find what is like a file",
        usage="%(prog)s FILE [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("file", metavar="FILE", help="a picture, sound, video or text")
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Search by the file and list what was found."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        hits = library.similar(
            args.file,
            k=args.k,
            modality=args.modality,
            under=args.under,
            since=args.since,
            ext=args.ext,
            where=where_of(args),
            tag=tags_of(args),
            raw=args.raw,
        )
    return show(hits, args)
