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
Embed the whole library again in another space, from the files themselves. The old space answers searches until all
is done; then the library switches at once. The migration can be stopped or killed at any time: the same command, or
`bindsearch migrate` alone, continues it. The old space is kept for --rollback until --drop-old or the next migration.
"""
EPILOG = """\
examples:
  bindsearch migrate --space imagebind
  bindsearch migrate                          # go on where it was stopped
  bindsearch compare "rain on a roof"         # what both spaces find
  bindsearch migrate --rollback               # and again: forward

Files that are not there now, as on a drive that is not plugged in, hold the switch up; --allow-missing leaves them
to the next `bindsearch index` that finds them. What changed since is left to the next `bindsearch index` too.
"""
SHOWN = 10


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "migrate",
        help="move the library to another space",
        usage="%(prog)s [--space NAME | --rollback | --drop-old | --cancel] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--space", metavar="NAME", help="the space to go to (see `bindsearch spaces`)")
    what.add_argument("--rollback", action="store_true", help="go back to the space that is kept, and keep the other")
    what.add_argument("--drop-old", action="store_true", help="remove the space that is kept, and free its room")
    what.add_argument("--cancel", action="store_true", help="remove what a migration has made so far")
    parser.add_argument("--allow-missing", action="store_true", help="switch although some files cannot be read now")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Migrate, roll back or drop; return 3 if missing files prevented the switch."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        if args.drop_old or args.cancel:
            freed = library.drop_old() if args.drop_old else library.cancel_migration()
            return _tell(args, f"freed {size(freed)}", {"freed": freed})
        if args.rollback:
            words = "back to space {}; `bindsearch index` embeds what came since"
            before = list(library.tags)
            space = library.rollback()
            if lost := [label for label in before if label not in library.tags]:
                words += f"; tags that this space lacks: {', '.join(map(escaped, lost))}"
            return _tell(args, words.format(space), {"space": space, "tags_dropped": lost})
        return _migrate(library, args)


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


def _tell(args: argparse.Namespace, words: str, plain: dict[str, Any]) -> int:
    screen = Screen.of(sys.stdout)
    if args.json:
        screen.write(json.dumps(plain))
    elif not args.quiet:
        screen.write(words)
    return DONE


def _summarise(report: MigrationReport, screen: Screen) -> None:
    counts = [f"{report.embedded:,} embedded"]
    if report.done_before:
        counts.append(f"{report.done_before:,} done before")
    counts += [f"{number:,} {kind} that it does not take" for kind, number in report.not_taken.items()]
    screen.write(screen.styled(" · ".join(counts), "bold"))
    screen.write(f"{counted(report.segments, 'segment')} · took {span(report.elapsed)}")
    if report.tags_again:
        screen.write(f"tags worked out anew: {', '.join(map(escaped, report.tags_again))}")
    if report.tags_dropped:
        dropped = ", ".join(map(escaped, report.tags_dropped))
        screen.write(f"tags dropped, which hang on examples or tuning in space {report.before}: {dropped}")
    if report.stopped:
        screen.write(f"stopped: `bindsearch migrate` goes on from here; space {report.before} answers until then")
    elif report.switched:
        screen.write(f"space {report.space} answers now; {report.before} is kept (`bindsearch migrate --rollback`)")
    else:
        screen.write(
            f"space {report.before} still answers: plug in what is missing, or let `bindsearch index` note what was"
        )
        screen.write(
            "moved or deleted, and go on with `bindsearch migrate`; --allow-missing switches without these files"
        )


def _complain(report: MigrationReport, screen: Screen) -> None:
    if report.missing:
        screen.write(screen.styled(f"{counted(len(report.missing), 'file')} cannot be embedded now:", "yellow"))
    for path, told in list(report.missing.items())[:SHOWN]:
        screen.write(f"  {shown(path)}: {escaped(reason(str(path), told))}")
    if len(report.missing) > SHOWN:
        screen.write(f"  and {len(report.missing) - SHOWN:,} more: bindsearch migrate --json")
