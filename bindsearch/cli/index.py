"""`bindsearch index`: bring the library to what lies in folders now."""

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
Bring the library to what lies in files and folders now: new and changed files are decoded and embedded, moved
ones are recognised by their content, and what is gone is noted. Without PATH, do so where it was done before.
The library is made if there is none. Links are followed; hidden files and folders are left out unless they are named.
"""
EPILOG = """\
examples:
  bindsearch index ~/Pictures ~/Recordings
  bindsearch index ~/Recordings/2026 --meta project=harbour --meta by=Ana
  bindsearch index                            # once more, everywhere

Ctrl-C stops cleanly; the same command then goes on where it stopped.
"""
COUNTS = ("added", "changed", "moved", "copied", "returned", "unchanged", "removed", "ignored")
FAILURES_SHOWN = 10
KINDS_SHOWN = 8
SWITCHES = {
    "centring": "let what queries have in common, or vary in by chance, count less (on)",
    "hubness": "let what answers whatever is asked count less (off)",
}


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "index",
        help="take files and folders in",
        usage="%(prog)s [PATH ...] [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="paths",
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help="a file, or a folder with all that is below it")
    parser.add_argument("--space", metavar="NAME", help="make a new library with this space (see `bindsearch spaces`)")
    parser.add_argument(
        "--commercial",
        action="store_true",
        help="from now on, let only spaces into this library whose licences allow commercial use",
    )
    parser.add_argument(
        "--meta", action="append", type=pair, metavar="KEY=VALUE", help="note this with each file; can be given again"
    )
    parser.add_argument("--retry", action="store_true", help="try the files again that could not be read before")
    parser.add_argument(
        "--rebuild-index",
        metavar="KIND",
        help="make the indexes anew: `exact`, `ivf`, `hnsw`, or `auto` for what suits them",
    )
    group = parser.add_argument_group("what the indexes may cost (kept in the library)")
    group.add_argument(
        "--memory", metavar="SIZE", help="let all together need so much memory: 2GB; `auto` for no limit"
    )
    group.add_argument("--recall", type=positive, metavar="R", help="find this share of the ten best (0.99); 1: all")
    group.add_argument("--device", metavar="NAME", help="search on `cpu`, on `cuda`, or on what suits (`auto`)")
    group = parser.add_argument_group("in which order results come (kept in the library)")
    for name, told in SWITCHES.items():
        group.add_argument(f"--{name}", choices=("on", "off"), metavar="on|off", help=told)
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Index, showing progress; give 3 if files failed."""
    from bindsearch.indexing.generations import AUTO
    from bindsearch.ingest.indexed_folders import existing_paths
    from bindsearch.library.library import Library
    from bindsearch.registry import load_index

    wished = _wished(args)
    if args.rebuild_index not in (None, AUTO):
        load_index(args.rebuild_index)  # before files are read for nothing
    create = bool(existing_paths(args.paths))  # before a library is made for a mistyped folder
    with (
        Library.open(args.library, space=args.space, create=create, commercial=args.commercial) as library,
        Interrupt() as interrupt,
        Bar(sys.stderr, quiet=args.quiet) as bar,
    ):
        if wished:
            library.settings = replace(library.settings, **wished)
        _tell_licence(library.space.spec, quiet=args.quiet)
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


def _tell_licence(spec: SpaceSpec, *, quiet: bool) -> None:
    """Say what must not be done with a space, however its weights came to be on this machine."""
    if not spec.commercial and not quiet:
        sys.stderr.write(f"space {spec.name}: licence {spec.licence}, not for commercial use\n")


def _wished(args: argparse.Namespace) -> dict[str, Any]:
    """Return what is wished anew. Raises `BadQuery` for what makes no sense, before a library is made."""
    from bindsearch.storage.settings import Settings, bytes_in

    wished = {name: getattr(args, name) for name in ("recall", "device") if getattr(args, name) is not None}
    if args.memory is not None:
        wished["memory"] = bytes_in(args.memory)
    for name in SWITCHES:
        if getattr(args, name) is not None:
            wished[name] = getattr(args, name) == "on"
    Settings(**wished)
    return wished


def as_json(report: Report) -> dict[str, object]:
    """Plain values, ready for `json.dumps`."""
    told = asdict(report) | {"coverage": round(report.coverage, 6), "processed": report.processed}
    told |= {name: round(told[name], 3) for name in ("elapsed", "media_seconds", "covered_seconds")}
    for name in ("quarantined", "deferred"):
        told[name] = {str(path): why for path, why in told[name].items()}
    return told


def _summarise(report: Report, screen: Screen) -> None:
    counts = [f"{getattr(report, name):,} {name}" for name in COUNTS if getattr(report, name)]
    screen.write(screen.styled(" · ".join(counts) or "nothing to take in", "bold"))
    facts = [f"took {span(report.elapsed)}"]
    if report.media_seconds:
        facts.insert(0, f"{span(report.media_seconds)} of sound and video, {share(report.coverage)} covered")
    if report.decoded:
        facts.insert(0, f"{counted(report.decoded, 'file')} decoded into {counted(report.segments, 'segment')}")
    screen.write(" · ".join(facts))
    if report.ignored_kinds:
        screen.write(f"ignored: {_most(report.ignored_kinds)}")
    if report.still_quarantined:
        files = counted(report.still_quarantined, "file")
        screen.write(f"{files} still unreadable: `bindsearch status --quarantine` says why, --retry tries again")
    if report.stopped:
        screen.write("stopped: the same command goes on from here")


def _most(kinds: Mapping[str, int]) -> str:
    """Say how many there are of each kind, the most first."""
    most = sorted(kinds.items(), key=lambda pair: (-pair[1], pair[0]))
    told = ", ".join(_kinds(kind, count) for kind, count in most[:KINDS_SHOWN])
    return f"{told} and {counted(len(most) - KINDS_SHOWN, 'more kind')}" if len(most) > KINDS_SHOWN else told


def _kinds(kind: str, count: int) -> str:
    from bindsearch.ingest.report import BROKEN_LINK

    return counted(count, "link to nothing", BROKEN_LINK) if kind == BROKEN_LINK else f"{count:,} {escaped(kind)}"


def _complain(report: Report, screen: Screen) -> None:
    _list(report.quarantined, "cannot be read", "bindsearch status --quarantine", screen)
    _list(report.deferred, "could not be looked at, and will be tried again", "bindsearch index --json", screen)


def _list(failures: dict[Path, str], what: str, more: str, screen: Screen) -> None:
    if failures:
        screen.write(screen.styled(f"{counted(len(failures), 'file')} {what}:", "yellow"))
    for path, told in list(failures.items())[:FAILURES_SHOWN]:
        screen.write(f"  {shown(path)}: {escaped(reason(str(path), told))}")
    if len(failures) > FAILURES_SHOWN:
        screen.write(f"  and {len(failures) - FAILURES_SHOWN:,} more: {more}")
