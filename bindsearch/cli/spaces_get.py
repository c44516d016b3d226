"""`bindsearch spaces get`: download the weights of a space."""

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
    from bindsearch.spaces.catalogue import SpaceWeights, WeightFile
    from bindsearch.spaces.download import ProgressCallback

DESCRIPTION = """\
Download the weight files of a space that are missing on this machine, resuming interrupted downloads. Sizes and
checksums are verified. The licence is shown before the first download and has to be accepted once.
"""
EPILOG = """\
examples:
  bindsearch spaces get clap:laion/clap-htsat-unfused
  bindsearch spaces get imagebind --accept-licence

Weights are stored in your data folder, or in the folder that BINDSEARCH_WEIGHTS names; those from the Hugging Face hub
are stored in its own cache.
"""
REDRAW_SECONDS, LINE_SECONDS = 0.2, 10.0


def add(verbs: Verbs) -> None:
    """Add the verb below `spaces`."""
    parser: Parser = verbs.add_parser(
        "get",
        help="download the weights of a space",
        usage="%(prog)s NAME [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.add_argument("name", metavar="NAME", help="the space (see `bindsearch spaces`)")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence without a prompt")
    parser.add_argument(
        "--commercial", action="store_true", help="refuse weights whose licence does not allow commercial use"
    )
    parser.add_argument("--offline", action="store_true", help="do not use the network, only report what is missing")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Download the weights, and print the path of each file."""
    from bindsearch.spaces.catalogue import find_weights
    from bindsearch.spaces.fetch import fetch_weights

    weights = find_weights(args.name)
    screen = Screen.of(sys.stdout)
    _show_licence(weights, quiet=args.quiet)

    def accept(weights: SpaceWeights) -> bool:
        return args.accept_licence or _ask(weights)

    def on_progress(file: WeightFile) -> ProgressCallback:
        return _ProgressLine(file.name, quiet=args.quiet).show

    for file, path in fetch_weights(
        weights, accept=accept, commercial=args.commercial, offline=args.offline, on_progress=on_progress
    ):
        screen.write(_line(weights, file, path, as_json=args.json))
    if not weights.files and not args.quiet and not args.json:
        screen.write(f"{weights.space} {weights.terms}: nothing to fetch")
    return DONE


def _line(weights: SpaceWeights, file: WeightFile, path: Path, *, as_json: bool) -> str:
    if not as_json:
        return f"{file.name}: {shown(path)}"
    fields = {"space": weights.space, "file": file.name, "path": str(path), "licence": weights.licence}
    return json.dumps(fields | {"commercial": weights.commercial})


def _show_licence(weights: SpaceWeights, *, quiet: bool) -> None:
    if quiet or not weights.files:
        return
    sys.stderr.write(f"{weights.space}: {weights.licence_summary}. {weights.terms}\n")


def _ask(weights: SpaceWeights) -> bool:
    """Ask on a terminal; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Accept the licence of {weights.space} ({weights.licence})? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


class _ProgressLine:
    """Shows the progress of one file: a line that is redrawn on a terminal, a new line now and then elsewhere."""

    def __init__(self, name: str, *, quiet: bool) -> None:
        self._screen = Screen.of(sys.stderr)
        self._name, self._quiet = name, quiet
        self._interval = REDRAW_SECONDS if self._screen.terminal else LINE_SECONDS
        self._next = time.monotonic() + self._interval

    def show(self, have: int, whole: int) -> None:
        """Write the progress if the last write is long enough ago."""
        now, done = time.monotonic(), have >= whole
        if self._quiet or (now < self._next and not (done and self._screen.terminal)):
            return
        self._next = now + self._interval
        start, end = ("\r\x1b[K", "\n" if done else "") if self._screen.terminal else ("", "\n")
        self._screen.stream.write(f"{start}{self._name}  {_share(have, whole)}{end}")
        self._screen.stream.flush()


def _share(have: int, whole: int) -> str:
    from bindsearch.spaces.locate import format_bytes

    return f"{100 * have // whole}% of {format_bytes(whole)}" if whole else format_bytes(have)
