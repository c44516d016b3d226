"""`bindsearch classify`: tell which of some labels fits a file best, without training."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED, PARTLY
from bindsearch.cli.parser import Parser, Verbs, add_common, at_least_one
from bindsearch.cli.screen import Screen, address, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted, percent, reason
from bindsearch.errors import BadQuery, LibraryNotFound, MediaError, UnsupportedMedia

if TYPE_CHECKING:
    from bindsearch.spaces import Space
    from bindsearch.zeroshot import Prediction

DESCRIPTION = """\
Tell which of some labels fits each file best, by the embedding space alone: nothing is trained, and no library is
needed. Labels compete: their percentages add up to 100.
"""
EPILOG = """\
examples:
  bindsearch classify *.wav --labels dog,siren,rain
  bindsearch classify ~/Recordings --labels @birds.txt --template "the song of a {}" -k 1
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "classify",
        help="label files without training",
        usage="%(prog)s FILE ... --labels A,B,... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="files",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a file, or a folder with all that is below it")
    parser.add_argument(
        "--labels", required=True, metavar="A,B,...|@FILE", help="the labels, or a file with one label a line"
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="WORDS",
        help="how to say a label, {} in its place; can be given again",
    )
    parser.add_argument("-k", type=at_least_one, default=3, metavar="N", help="show the N best labels (3)")
    parser.add_argument("--space", metavar="NAME", help="the space to use, if not the library's or the built-in one")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Classify file by file; give 3 if some cannot be read, 1 if there was none."""
    from bindsearch.zeroshot import Classifier

    classifier = Classifier(_space(args), _labels(args.labels), templates=args.template)
    screen = Screen.of(sys.stdout)
    width = max(columns(escaped(label)) for label in classifier.labels)
    done = failed = 0
    for path, told in _files(args.files):
        try:
            if told:
                raise MediaError(told)
            ranked = classifier.predict(path)[: args.k]
        except UnsupportedMedia as error:
            if not _was_named(path, args.files):
                continue  # a folder may hold anything
            failed += _complain(path, error)
        except (MediaError, OSError) as error:
            failed += _complain(path, error)
        else:
            done += 1
            screen.write(_as_json(path, ranked) if args.json else _line(path, ranked, width, screen))
    if not done and not failed:
        complain("nothing to classify was found")
    elif failed and not args.quiet:
        complain(f"{counted(failed, 'file')} could not be classified")
    return PARTLY if failed else DONE if done else FAILED


def _space(args: argparse.Namespace) -> Space:
    """Give the space that is named, else the library's if there is one, else the built-in one."""
    from bindsearch.library import Library
    from bindsearch.registry import default_space
    from bindsearch.spaces import Space

    if args.space:
        return Space.named(args.space)
    try:
        with Library.open(args.library, create=False) as library:
            return library.space
    except LibraryNotFound:
        if args.library:
            raise
        return Space.named(default_space())


def _labels(words: str) -> list[str]:
    if not words.startswith("@"):
        return [label for label in words.split(",") if label.strip()]
    try:
        return Path(words[1:]).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadQuery(f"{shown(words[1:])}: the labels are not in UTF-8 ({error.reason})") from error


def _files(named: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Give every file, folders walked, with the trouble there was in looking at it."""
    from bindsearch.media import Trouble, walk

    for found in walk([Path(os.path.expanduser(name)) for name in named]):
        yield found.path, found.reason if isinstance(found, Trouble) else ""


def _was_named(path: Path, named: Sequence[str]) -> bool:
    return str(path) in {os.path.abspath(os.path.expanduser(name)) for name in named}


def _complain(path: Path, error: Exception) -> int:
    told = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    complain(f"{shown(path)}: {escaped(reason(str(path), told))}")
    return 1


def _line(path: Path, ranked: Sequence[Prediction], width: int, screen: Screen) -> str:
    cells = [f"{percent(each.probability)} {padded(escaped(each.label), width)}" for each in ranked]
    cells[0] = screen.styled(cells[0], "bold")
    return "  ".join([*cells, screen.linked(shown(path), address(path))])


def _as_json(path: Path, ranked: Sequence[Prediction]) -> str:
    labels = [
        {"label": each.label, "probability": round(each.probability, 6), "score": round(each.score, 6)}
        for each in ranked
    ]
    return json.dumps({"path": str(path), "labels": labels})
