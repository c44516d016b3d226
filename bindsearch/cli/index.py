"""`bindsearch index`: bring the library up to date with files and folders."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindsearch.cli.faults import DONE, PARTLY
from bindsearch.cli.interrupt import Interrupt
from bindsearch.cli.parser import Parser, Verbs, add_common, pair, positive
from bindsearch.cli.progress import Bar
from bindsearch.cli.screen import Screen, escaped, shown
from bindsearch.cli.wording import counted, reason, share, span

if TYPE_CHECKING:
    from bindsearch.ingest.report import Report
    from bindsearch.types import SpaceSpec

DESCRIPTION = """\
Bring the library up to date with files and folders: new and changed files are decoded and embedded, moved files
are recognised by their content, and deleted files are removed. Without PATH, the same folders as before are indexed.
The library is created if it does not exist. Links are followed. Hidden files and folders are skipped, unless PATH
names them.
"""
EPILOG = """\
examples:
  bindsearch index ~/Pictures ~/Recordings
  bindsearch index ~/Recordings/2026 --meta project=harbour --meta by=Ana
  bindsearch index                            # all folders again

Ctrl-C stops cleanly. Repeat the command to continue where it stopped.
"""
COUNTS = ("added", "changed", "moved", "copied", "returned", "unchanged", "removed", "ignored")
MAX_FAILURES_SHOWN = 10
MAX_KINDS_SHOWN = 8
SWITCHES = {
    "centring": "centre and whiten text queries before scoring (default: on)",
    "hubness": "penalise hubs, which score high for any query (default: off)",
}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "index",
        help="add files and folders to the library",
        usage="%(prog)s [PATH ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="paths",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file, or a folder with everything below it")
    parser.add_argument("--space", metavar="NAME", help="create the library with this space (see `bindsearch spaces`)")
    parser.add_argument(
        "--commercial",
        action="store_true",
        help="from now on, allow only spaces whose licence permits commercial use",
    )
    parser.add_argument(
        "--meta",
        action="append",
        type=pair,
        metavar="KEY=VALUE",
        help="store this metadata with each file, for --where; repeatable",
    )
    parser.add_argument("--retry", action="store_true", help="also retry the unreadable files in quarantine")
    parser.add_argument(
        "--rebuild-index",
        metavar="KIND",
        help="rebuild the indexes: `exact`, `ivf`, `hnsw`, another registered kind, or `auto` to choose by size",
    )
    _add_settings(parser)
    add_common(parser)
    parser.set_defaults(run=run)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("settings of the indexes (stored in the library)")
    group.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory limit of all indexes together, as in 2GB; `auto` for no limit (default: auto)",
    )
    group.add_argument(
        "--recall",
        type=positive,
        metavar="R",
        help="target recall of the ten best results (default: 0.99); 1 for exact search",
    )
    group.add_argument("--device", metavar="NAME", help="search on `cpu` or `cuda`; `auto` chooses (default: auto)")
    group = parser.add_argument_group("settings of the ranking (stored in the library)")
    for name, description in SWITCHES.items():
        group.add_argument(f"--{name}", choices=("on", "off"), metavar="on|off", help=description)


def run(args: argparse.Namespace) -> int:
    """Index and show progress; return 3 if files failed."""
    from bindsearch.indexing.generations import AUTO
    from bindsearch.ingest.indexed_folders import existing_paths
    from bindsearch.library.library import Library
    from bindsearch.registry import load_index

    changed_settings = _changed_settings(args)
    if args.rebuild_index not in (None, AUTO):
        load_index(args.rebuild_index)  # fail before files are read
    create = bool(existing_paths(args.paths))  # fail before a library is created for a mistyped folder
    with (
        Library.open(args.library, space=args.space, create=create, commercial=args.commercial) as library,
        Interrupt() as interrupt,
        Bar(sys.stderr, quiet=args.quiet) as bar,
    ):
        if changed_settings:
            library.settings = replace(library.settings, **changed_settings)
        _print_licence(library.space.spec, quiet=args.quiet)
        report = library.index(
            args.paths or None,
            metadata=dict(args.meta) if args.meta else None,
            retry=args.retry,
            progress=bar.show,
            stop=interrupt.requested,
        )
        if args.rebuild_index and not report.stopped:
            library.rebuild_index(args.rebuild_index, progress=bar.show)
    if args.json:
        sys.stdout.write(json.dumps(as_json(report)) + "\n")
    elif not args.quiet:
        _summarise(report, Screen.of(sys.stdout))
    if not args.json:
        _complain(report, Screen.of(sys.stderr))
    if report.stopped:
        return interrupt.status
    return PARTLY if report.quarantined or report.deferred else DONE


def _print_licence(spec: SpaceSpec, *, quiet: bool) -> None:
    """Print the licence of a space that must not be used commercially."""
    if not spec.commercial and not quiet:
        sys.stderr.write(f"space {spec.name}: licence {spec.licence}, not for commercial use\n")


def _changed_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given on the command line. Raises `BadQuery` for invalid values."""
    from bindsearch.storage.settings import Settings, bytes_in

    changed_settings = {name: getattr(args, name) for name in ("recall", "device") if getattr(args, name) is not None}
    if args.memory is not None:
        changed_settings["memory"] = bytes_in(args.memory)
    for name in SWITCHES:
        if getattr(args, name) is not None:
            changed_settings[name] = getattr(args, name) == "on"
    Settings(**changed_settings)
    return changed_settings


def as_json(report: Report) -> dict[str, object]:
    """Return plain values, ready for `json.dumps`."""
    fields = asdict(report) | {"coverage": round(report.coverage, 6), "processed": report.processed}
    fields |= {name: round(fields[name], 3) for name in ("elapsed", "media_seconds", "covered_seconds")}
    for name in ("quarantined", "deferred"):
        fields[name] = {str(path): why for path, why in fields[name].items()}
    return fields


def _summarise(report: Report, screen: Screen) -> None:
    counts = [f"{getattr(report, name):,} {name}" for name in COUNTS if getattr(report, name)]
    screen.write(screen.styled(" · ".join(counts) or "no files found", "bold"))
    facts = [f"took {span(report.elapsed)}"]
    if report.media_seconds:
        facts.insert(0, f"{span(report.media_seconds)} of sound and video, {share(report.coverage)} covered")
    if report.decoded:
        facts.insert(0, f"{counted(report.decoded, 'file')} decoded into {counted(report.segments, 'segment')}")
    screen.write(" · ".join(facts))
    if report.ignored_kinds:
        screen.write(f"ignored: {_kind_counts(report.ignored_kinds)}")
    if report.still_quarantined:
        files = counted(report.still_quarantined, "file")
        screen.write(f"{files} still unreadable: `bindsearch status --quarantine` shows why, --retry reads them again")
    if report.stopped:
        screen.write("stopped: run the same command to continue")


def _kind_counts(kinds: Mapping[str, int]) -> str:
    """Return the number of files of each kind, most frequent first."""
    most = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(_kinds(kind, count) for kind, count in most[:MAX_KINDS_SHOWN])
    further = len(most) - MAX_KINDS_SHOWN
    return f"{listed} and {counted(further, 'more kind')}" if further > 0 else listed


def _kinds(kind: str, count: int) -> str:
    from bindsearch.ingest.report import BROKEN_LINK

    return counted(count, "broken link") if kind == BROKEN_LINK else f"{count:,} {escaped(kind)}"


def _complain(report: Report, screen: Screen) -> None:
    _list(report.quarantined, "cannot be read", "bindsearch status --quarantine", screen)
    _list(report.deferred, "could not be read this time and will be retried", "bindsearch index --json", screen)


def _list(failures: dict[Path, str], heading: str, more: str, screen: Screen) -> None:
    if failures:
        screen.write(screen.styled(f"{counted(len(failures), 'file')} {heading}:", "yellow"))
    for path, message in list(failures.items())[:MAX_FAILURES_SHOWN]:
        screen.write(f"  {shown(path)}: {escaped(reason(str(path), message))}")
    if len(failures) > MAX_FAILURES_SHOWN:
        screen.write(f"  and {len(failures) - MAX_FAILURES_SHOWN:,} more (`{more}` lists all)")
