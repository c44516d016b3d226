"""`bindsearch migrate`: move a library to another space, and back."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from bindsearch.cli.faults import DONE, PARTLY
from bindsearch.cli.interrupt import Interrupt
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.progress import Bar
from bindsearch.cli.screen import Screen, escaped, shown
from bindsearch.cli.wording import counted, reason, size, span

if TYPE_CHECKING:
    from bindsearch.library.library import Library
    from bindsearch.library.migration import MigrationReport

DESCRIPTION = """\
Embed all files of the library again, in another space. Searches use the old space until the new one is complete;
then the library switches to it at once. A migration can be stopped or killed at any time: `bindsearch migrate`
continues it. The old space is kept for --rollback until --drop-old or the next migration.
"""
EPILOG = """\
examples:
  bindsearch migrate --space imagebind
  bindsearch migrate                          # continue a migration that was stopped
  bindsearch compare "rain on a roof"         # search both spaces
  bindsearch migrate --rollback               # return to the old space; once more, to the new one

The library does not switch while files are missing, for example on a drive that is not connected. --allow-missing
switches without them; the next `bindsearch index` that finds them embeds them. It also embeds files that changed
during the migration.
"""
MAX_FILES_SHOWN = 10


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "migrate",
        help="move the library to another space",
        usage="%(prog)s [--space NAME | --rollback | --drop-old | --cancel] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--space", metavar="NAME", help="the new space (see `bindsearch spaces`)")
    action.add_argument(
        "--rollback", action="store_true", help="return to the previous space, and keep the current one"
    )
    action.add_argument("--drop-old", action="store_true", help="delete the previous space to free disk space")
    action.add_argument("--cancel", action="store_true", help="cancel the pending migration and delete its vectors")
    parser.add_argument("--allow-missing", action="store_true", help="switch even if some files cannot be read")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Migrate, roll back or drop; return 3 if files are missing."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        if args.drop_old or args.cancel:
            freed = library.drop_old() if args.drop_old else library.cancel_migration()
            return _confirm(args, f"freed {size(freed)}", {"freed": freed})
        return _roll_back(library, args) if args.rollback else _migrate(library, args)


def _roll_back(library: Library, args: argparse.Namespace) -> int:
    before = list(library.tags)
    space = library.rollback()
    message = f"returned to space {space}; `bindsearch index` embeds files that were added or changed since"
    if dropped := [label for label in before if label not in library.tags]:
        message += f"; tags that this space lacks: {', '.join(map(escaped, dropped))}"
    return _confirm(args, message, {"space": space, "tags_dropped": dropped})


def _migrate(library: Library, args: argparse.Namespace) -> int:
    with Interrupt() as interrupt, Bar(sys.stderr, quiet=args.quiet) as bar:
        report = library.migrate(
            args.space, allow_missing=args.allow_missing, progress=bar.show, stop=interrupt.requested
        )
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(report.as_json()))
    else:
        if not args.quiet:
            _summarise(report, screen)
        _complain(report, Screen.of(sys.stderr))
    if report.stopped:
        return interrupt.status
    return PARTLY if report.missing else DONE


def _confirm(args: argparse.Namespace, message: str, as_json: dict[str, Any]) -> int:
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(as_json))
    elif not args.quiet:
        screen.write(message)
    return DONE


def _summarise(report: MigrationReport, screen: Screen) -> None:
    counts = [f"{report.embedded:,} embedded"]
    if report.done_before:
        counts.append(f"{report.done_before:,} embedded before")
    counts += [
        f"{number:,} {modality} not supported by {report.space}" for modality, number in report.unsupported.items()
    ]
    screen.write(screen.styled(" · ".join(counts), "bold"))
    screen.write(f"{counted(report.segments, 'segment')} · took {span(report.elapsed)}")
    if report.tags_recomputed:
        screen.write(f"recomputed tags: {', '.join(map(escaped, report.tags_recomputed))}")
    if report.tags_dropped:
        dropped = ", ".join(map(escaped, report.tags_dropped))
        screen.write(f"dropped tags, which space {report.space} cannot recompute from their words: {dropped}")
    if report.stopped:
        screen.write(f"stopped: `bindsearch migrate` continues; until it is done, searches use space {report.before}")
    elif report.switched:
        screen.write(f"switched to space {report.space}; `bindsearch migrate --rollback` returns to {report.before}")
    else:
        screen.write(f"not switched: searches still use space {report.before}, because files are missing")
        screen.write(
            "run `bindsearch migrate` again when they are back; if they were moved or deleted, run `bindsearch index`"
        )
        screen.write("first; `bindsearch migrate --allow-missing` switches without them")


def _complain(report: MigrationReport, screen: Screen) -> None:
    if report.missing:
        screen.write(screen.styled(f"{counted(len(report.missing), 'file')} could not be embedded:", "yellow"))
    for path, message in list(report.missing.items())[:MAX_FILES_SHOWN]:
        screen.write(f"  {shown(path)}: {escaped(reason(str(path), message))}")
    if len(report.missing) > MAX_FILES_SHOWN:
        screen.write(f"  and {len(report.missing) - MAX_FILES_SHOWN:,} more (`bindsearch migrate --json` lists all)")
