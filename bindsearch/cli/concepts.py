"""`bindsearch concepts`: save queries under names."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, complain, escaped

DESCRIPTION = """\
Save a query under a name, for use in other queries as `concept:NAME`. Its parts, files and words, are added up.
Concepts are stored in the library, and a migration to another space keeps them.
"""
EPILOG = """\
examples:
  bindsearch concepts add harbour a.jpg b.wav "masts in fog"
  bindsearch search concept:harbour - people
  bindsearch concepts list
  bindsearch concepts remove harbour
"""


def add(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser: Parser = verbs.add_parser(
        "concepts", help="save queries under names", usage="%(prog)s [VERB]", description=DESCRIPTION, epilog=EPILOG
    )
    add_common(parser)
    parser.set_defaults(run=show)
    inner = parser.add_subparsers(title="verbs", metavar="VERB", prog="bindsearch concepts")
    adding = _verb(inner, "add", save, "save a concept, replacing any of the same name")
    adding.add_argument("name", metavar="NAME", help="letters, digits, - and _")
    adding.add_argument(
        "parts", nargs="+", metavar="PART", help="a file, or text as one argument; `0.5:` before it is its weight"
    )
    removing = _verb(inner, "remove", forget, "delete a concept")
    removing.add_argument("name", metavar="NAME", help="the concept to delete")
    _verb(inner, "list", show, "list the concepts (the default)")


def _verb(verbs: Verbs, name: str, run: Callable[[argparse.Namespace], int], words: str) -> Parser:
    parser: Parser = verbs.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
    add_common(parser)
    parser.set_defaults(run=run)
    return parser


def show(args: argparse.Namespace) -> int:
    """List the concepts and their parts."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        found = list(library.concepts.values())
    screen = Screen.of(sys.stdout)
    for concept in found:
        if args.json:
            screen.write(json.dumps(concept.summary()))
        else:
            screen.write(f"{screen.styled(concept.name, 'bold')} = {escaped(str(concept.parts))}")
    if not found and not args.json and not args.quiet:
        complain("no concepts are saved: `bindsearch concepts add NAME PART...` saves one")
    return 0


def save(args: argparse.Namespace) -> int:
    """Save a concept and confirm it."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        known = args.name in library.concepts
        concept = library.concepts.add(args.name, *args.parts)
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(concept.summary()))
    elif not args.quiet:
        screen.write(f"{'replaced' if known else 'saved'}: write concept:{concept.name} in a query")
    return 0


def forget(args: argparse.Namespace) -> int:
    """Delete a concept."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        library.concepts.remove(args.name)
    if args.json:
        Screen.of(sys.stdout).write(json.dumps({"removed": args.name}))
    return 0
