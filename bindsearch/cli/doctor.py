"""`bindsearch doctor`: check the library and repair it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, escaped
from bindsearch.cli.wording import counted

if TYPE_CHECKING:
    from bindsearch.library.doctor import Drift

DESCRIPTION = """\
Check that files, ledger and indexes agree. Faults are listed, and the exit status is 1. With --repair, they are
repaired; the next `bindsearch index` embeds what is lost. Files that were changed or deleted since the last
`bindsearch index` are not faults: they are only counted, and the exit status stays 0.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "doctor", help="check that files, ledger and indexes agree", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument("--repair", action="store_true", help="repair the faults")
    parser.add_argument(
        "--quick", action="store_true", help="do not read files to compare their content with the ledger"
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, and repair with --repair; return 1 if faults remain."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        status = library.status()
        findings = library.doctor(repair=args.repair, read_files=not args.quick)
        drift = library.drift()
    screen = Screen.of(sys.stdout)
    if args.json:
        fields = {"findings": findings, "repaired": args.repair, "items": status.items, "segments": status.segments}
        screen.write(json.dumps(fields | asdict(drift)))
    else:
        for finding in findings:
            screen.write(escaped(finding))
        if not args.quiet:
            examined = f"{counted(status.items, 'item')}, {counted(status.segments, 'segment')}"
            screen.write(_verdict(len(findings), examined, repaired=args.repair))
            if drift.changed or drift.gone:
                screen.write(_drifted(drift))
    return FAILED if findings and not args.repair else DONE


def _drifted(drift: Drift) -> str:
    changed = [f"{counted(drift.changed, 'file')} changed"] if drift.changed else []
    gone = [f"{counted(drift.gone, 'file is', 'files are')} gone"] if drift.gone else []
    return f"since they were indexed, {' and '.join(changed + gone)}: run `bindsearch index` to update"


def _verdict(faults: int, examined: str, *, repaired: bool) -> str:
    if not faults:
        return f"no fault found in {examined}"
    if repaired:
        return f"repaired {counted(faults, 'fault')}; `bindsearch index` embeds what was lost"
    return f"{counted(faults, 'fault')} found in {examined}; `bindsearch doctor --repair` repairs them"
