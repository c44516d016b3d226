"""`bindsearch tag`: label everything in the library, for filters."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli.classify import NO_LABELS, add_labels
from bindsearch.cli.faults import DONE, FAILED, PARTLY
from bindsearch.cli.parser import Parser, Verbs, add_common, listed
from bindsearch.cli.progress import Bar
from bindsearch.cli.screen import Screen, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted, percent
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.library.library import Library
    from bindsearch.library.tags import Tag
    from bindsearch.zeroshot import Classifier

DESCRIPTION = """\
Label everything in the library, now and when it is indexed later. Each label becomes a tag with a probability, on
which queries and --where can filter. The labels compete with each other and with a list of background labels. No file
is read again. Without options, list the tags; with FILE, show the tags of these files.
"""
EPILOG = """\
examples:
  bindsearch tag --labels dog,cat,siren
  bindsearch search "a walk in the park" "tag:dog>0.8"
  bindsearch search rain --where "tag:siren<0.1"
  bindsearch tag --load pets.classifier          # a classifier that `bindsearch classify --save` saved
  bindsearch tag ~/Pictures/rex.jpg
  bindsearch tag --remove siren

tag:dog is short for tag:dog>=0.5. A file that was not tagged with a label meets no condition on it. Tags stay when
files move or are indexed again. `bindsearch migrate` recomputes them in the new space, and drops those that depend on
examples or tuning.
"""
ALL = ("*",)
NO_BACKGROUND = (
    "was saved without --none: every item is tagged with one of its labels, even if none fits; "
    "`bindsearch classify ... --none --save FILE` saves a classifier that tags only what fits"
)


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "tag",
        help="label the library for filters",
        usage="%(prog)s [--labels A,B,... | --load FILE | --remove [A,B,...] | FILE ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="files",
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="show the tags of these files")
    add_labels(parser)
    add(
        "--load",
        metavar="FILE",
        help="tag with a saved classifier; it has background labels if it was saved with --none",
    )
    add("--no-background", action="store_true", help="let the labels compete with each other only")
    add("--remove", type=listed, nargs="?", const=ALL, metavar="A,B,...", help="remove these tags, or all of them")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tag, remove, or show."""
    from bindsearch.library.library import Library

    actions = [args.labels is not None, args.load is not None, args.remove is not None, bool(args.files)]
    if sum(actions) > 1:
        raise BadQuery("use only one of --labels, --load, --remove and FILE")
    if (args.template or args.no_background) and args.labels is None:
        raise BadQuery(f"--template and --no-background need --labels; {NO_LABELS}")
    screen = Screen.of(sys.stdout)
    with Library.open(args.library, create=False) as library:
        if args.labels is not None or args.load is not None:
            return _tag(library, args, screen)
        if args.remove is not None:
            return _remove(library, args, screen)
        return _of_files(library, args, screen) if args.files else _list(library, args, screen)


def _tag(library: Library, args: argparse.Namespace, screen: Screen) -> int:
    classifier = _classifier(library, args)
    if args.load is not None and not classifier.background and not args.quiet:
        complain(f"{shown(args.load)} {NO_BACKGROUND}")
    with Bar(sys.stderr, quiet=args.quiet) as bar:
        labels = library.tag(classifier, progress=bar.show)
    _show([tag for tag in library.tags.counted() if tag.label in labels], args, screen)
    return DONE


def _classifier(library: Library, args: argparse.Namespace) -> Classifier:
    from bindsearch.zeroshot.label_sets import read_labels

    if args.load is not None:
        return library.load_classifier(Path(args.load).expanduser())
    return library.classifier(read_labels(args.labels), templates=args.template, none=not args.no_background)


def _remove(library: Library, args: argparse.Namespace, screen: Screen) -> int:
    removed = library.tags.remove(None if args.remove == ALL else args.remove)
    if args.json:
        screen.write(json.dumps({"removed": removed}))
    elif not args.quiet and removed:
        screen.write(f"removed: {', '.join(map(escaped, removed))}")
    if not removed:
        complain("there are no tags to remove")
    return DONE if removed else FAILED


def _list(library: Library, args: argparse.Namespace, screen: Screen) -> int:
    found = library.tags.counted()
    _show(found, args, screen)
    if not found and not args.json and not args.quiet:
        complain("there are no tags: `bindsearch tag --labels A,B,...` adds tags")
    return DONE


def _show(found: Sequence[Tag], args: argparse.Namespace, screen: Screen) -> None:
    width = max((columns(escaped(tag.label)) for tag in found), default=0)
    for tag in found:
        if args.json:
            screen.write(json.dumps(tag.as_json()))
        elif not args.quiet:
            label = screen.styled(padded(escaped(tag.label), width), "bold")
            screen.write(f"{label}  {counted(tag.items, 'item')} of {tag.tagged:,}")


def _of_files(library: Library, args: argparse.Namespace, screen: Screen) -> int:
    failed = 0
    for name in args.files:
        path = Path(name).expanduser()
        try:
            tags = library.tags.of(path)
        except BadQuery as error:
            complain(escaped(str(error)))
            failed += 1
            continue
        if args.json:
            rounded = {label: round(value, 6) for label, value in tags.items()}
            screen.write(json.dumps({"path": str(path.absolute()), "tags": rounded}))
        else:
            words = "  ".join(f"{percent(value).strip()} {escaped(label)}" for label, value in tags.items())
            screen.write(f"{shown(path)}: {words or 'no tags'}")
    return PARTLY if failed else DONE
