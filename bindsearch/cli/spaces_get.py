"""`bindsearch spaces get`: the weights of a space onto this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, shown

if TYPE_CHECKING:
    from bindsearch.spaces.download import MediaFacts
    from bindsearch.spaces.weights import File, Weights

DESCRIPTION = """\
Fetch what a space needs and this machine lacks, going on where an earlier try broke off. Sizes and checksums are
checked. The licence is shown before the first download, and has to be accepted once.
"""
EPILOG = """\
examples:
  bindsearch spaces get clap:laion/clap-htsat-unfused
  bindsearch spaces get imagebind --accept-licence

Weights lie in your data folder, or in BINDSEARCH_WEIGHTS; those from the hub in its own cache.
"""
REDRAW, LINE_EVERY = 0.2, 10.0


def add(verbs: Verbs) -> None:
    """Add the verb below `spaces`."""
    parser: Parser = verbs.add_parser(
        "get",
        help="fetch the weights of a space",
        usage="%(prog)s NAME [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="the space")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence without being asked")
    parser.add_argument(
        "--commercial", action="store_true", help="refuse weights whose licence does not allow commercial use"
    )
    parser.add_argument("--offline", action="store_true", help="do not use the network: say what is missing")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch, and say where each file lies."""
    from bindsearch.spaces.weights import find, get

    weights = find(args.name)
    screen = Screen.of(sys.stdout)
    _show_licence(weights, quiet=args.quiet)

    def accept(asked: Weights) -> bool:
        return args.accept_licence or _asked(asked)

    def told(file: File) -> MediaFacts:
        return _Meter(file.name, quiet=args.quiet).show

    for file, path in get(weights, accept=accept, commercial=args.commercial, offline=args.offline, told=told):
        screen.write(_line(weights, file, path, as_json=args.json))
    if not weights.files and not args.quiet and not args.json:
        screen.write(f"{weights.space} {weights.terms}: there is nothing to fetch")
    return DONE


def _line(weights: Weights, file: File, path: Path, *, as_json: bool) -> str:
    if not as_json:
        return f"{file.name}: {shown(path)}"
    told = {"space": weights.space, "file": file.name, "path": str(path), "licence": weights.licence}
    return json.dumps(told | {"commercial": weights.commercial})


def _show_licence(weights: Weights, *, quiet: bool) -> None:
    if quiet or not weights.files:
        return
    sys.stderr.write(f"{weights.space}: {weights.permit}. {weights.terms}\n")


def _asked(weights: Weights) -> bool:
    """Ask on a terminal; where there is none, nobody has said yes."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Accept the licence of {weights.space} ({weights.licence})? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class _Meter:
    """Shows how much of one file has come: a line that is redrawn on a terminal, one now and then elsewhere."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._screen = Screen.of(sys.stderr)
        self._name, self._quiet = name, quiet
        self._every = REDRAW if self._screen.terminal else LINE_EVERY
        self._next = time.monotonic() + self._every

    def show(self, have: int, whole: int) -> None:
        """Take notice; write if it is time to."""
        now, done = time.monotonic(), have >= whole
        if self._quiet or (now < self._next and not (done and self._screen.terminal)):
            return
        self._next = now + self._every
        start, end = ("\r\x1b[K", "\n" if done else "") if self._screen.terminal else ("", "\n")
        self._screen.stream.write(f"{start}{self._name}  {_share(have, whole)}{end}")
        self._screen.stream.flush()


def _share(have: int, whole: int) -> str:
    from bindsearch.spaces.weights import in_words

    return f"{100 * have // whole}% of {in_words(whole)}" if whole else in_words(have)
